"""A structure names what the SQL of its entity reads, and nothing else: each value within a record costs memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import duckdb
import pytest

from engage_pipelines.connector import Entity, Source
from engage_pipelines.settings import parse_settings
from engage_pipelines.warehouse import Warehouse
from engage_pipelines.warehouse.database import Connection, bare, register_currencies, set_variables
from engage_pipelines.warehouse.structure import struct_type
from engage_pipelines_tests.conformance.vendors import ENTITIES, name_of


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Connection]:
    with Warehouse(tmp_path).connection() as connection:
        register_currencies(connection)
        connection.execute("create temp table stores as from core.stores")
        yield connection


@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_every_field_that_is_read_of_a_record_is_used(
    source: Source, entity: Entity, core: Connection, tmp_path: Path
) -> None:
    settings = parse_settings({"operator": {"time_zone": "UTC"}}, tmp_path / "engage.toml")
    set_variables(core, {**source.options().model_dump(), **settings.sql_variables})
    structure = json.loads((source.folder / entity.structure).read_text())
    statements = list(_statements(source, entity))
    assert _can_run(core, structure, statements)
    unused = [".".join(leaf) for leaf in _leaves(structure) if _is_unused(core, structure, leaf, statements)]
    assert unused == []


def _is_unused(core: Connection, structure: dict[str, Any], leaf: tuple[str, ...], statements: list[str]) -> bool:
    """Whether the SQL can do without a value, and whatever type it has."""
    if len(leaf) == 1:
        # A field of the record itself may be named only to be known: others are told as unknown.
        return False
    # Where structs are put together, one may lack what the others have, but not all, and not in another type.
    namesakes = [other for other in _leaves(structure) if other[-2:] == leaf[-2:]]
    return all(
        _can_run(core, changed, statements)
        for changed in (_without(structure, leaf), _without(structure, *namesakes), _spoilt(structure, leaf))
    )


def _statements(source: Source, entity: Entity) -> Iterator[str]:
    # What the load reads by itself.
    read = [entity.record_id]
    if entity.windowed:
        read += [entity.modified_at, entity.version]
    if entity.prove:
        read.append("location_id")
    yield f"select {', '.join(read)} from raw"
    for file in (entity.checks, *entity.tables.values()):
        yield bare((source.folder / file).read_text())


def _can_run(connection: Connection, structure: dict[str, Any], statements: list[str]) -> bool:
    connection.execute(f"create or replace temp table raw as select unnest(null::{struct_type(structure)}) limit 0")
    try:
        for statement in statements:
            connection.execute(f"explain {statement}")
    except duckdb.Error:
        return False
    return True


def _leaves(structure: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the values are; a list's element is called `[]`."""
    if isinstance(structure, dict):
        for name, child in structure.items():
            yield from _leaves(child, (*path, name))
    elif isinstance(structure, list):
        yield from _leaves(structure[0], (*path, "[]"))
    else:
        yield path


def _without(structure: dict[str, Any], *leaves: tuple[str, ...]) -> dict[str, Any]:
    """The structure without some values, and without whatever held nothing else."""
    found = deepcopy(structure)
    for leaf in leaves:
        for holder, name in reversed(_way(found, leaf)):
            if name == "[]":
                continue
            del holder[name]
            if holder:
                break
    return found


def _spoilt(structure: dict[str, Any], leaf: tuple[str, ...]) -> dict[str, Any]:
    """The structure with a value of a type that hardly anything can be done with."""
    found = deepcopy(structure)
    holder, name = _way(found, leaf)[-1]
    holder[0 if name == "[]" else name] = "MAP(TINYINT, TINYINT)"
    return found


def _way(structure: dict[str, Any], leaf: tuple[str, ...]) -> list[tuple[Any, str]]:
    """What holds a value, from the record down, each with the name of the next."""
    at: Any = structure
    holders = []
    for name in leaf:
        holders.append((at, name))
        at = at[0] if name == "[]" else at[name]
    return holders
