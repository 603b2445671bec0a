"""What connectors declare is there, and nothing lies beside it that nobody reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Destination, Entity, Source, Stream
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.sources import SOURCES
from engage_pipelines_tests.conformance.vendors import ENTITIES, PLATFORMS, STREAMS, TILLS, name_of

DOCS = Path(__file__).parents[2] / "docs" / "connectors"
CONNECTORS: list[Source | Destination] = [*SOURCES, *DESTINATIONS]


def test_the_suite_knows_every_connector() -> None:
    assert {source.name for source in SOURCES} == set(TILLS)
    assert {destination.name for destination in DESTINATIONS} == set(PLATFORMS)
    for source, entity in ENTITIES:
        assert entity.name in TILLS[source.name].routes
        assert entity.name in TILLS[source.name].records
    for destination, stream in STREAMS:
        assert stream.name in PLATFORMS[destination.name].kinds
        assert stream.rows or stream.name in PLATFORMS[destination.name].routes


@pytest.mark.parametrize("connector", CONNECTORS, ids=name_of)
def test_every_declared_file_is_there_and_every_file_is_declared(connector: Source | Destination) -> None:
    declared = _files_of(connector)
    present = {file.name for kind in ("*.sql", "*.json") for file in connector.folder.glob(kind)}
    assert declared == present


def _files_of(connector: Source | Destination) -> set[str]:
    if isinstance(connector, Source):
        return {file for entity in connector.entities for file in _files_of_entity(entity)}
    return {file for stream in connector.streams for file in (stream.sql, stream.rows, stream.correction) if file}


def _files_of_entity(entity: Entity) -> list[str]:
    return [entity.structure, entity.checks, *entity.tables.values(), *([entity.proof] if entity.proof else [])]


@pytest.mark.parametrize("connector", CONNECTORS, ids=name_of)
def test_the_docs_page_names_every_option_and_secret(connector: Source | Destination) -> None:
    page = (DOCS / f"{connector.name}.md").read_text()
    wanted = [*connector.options.model_fields, *connector.secrets]
    assert [name for name in wanted if f"`{name}`" not in page] == []


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_every_stream_says_what_happens_after_a_crash_and_why(destination: Destination, stream: Stream) -> None:
    page = (DOCS / f"{destination.name}.md").read_text()
    assert f"`{stream.name}`" in page or f"`{destination.name}/{stream.name}`" in page
    assert len(stream.in_doubt.reason.split()) >= 5
    heading = next(
        part for part in page.split("\n## ") if part.lower().startswith(("after a crash", "when a run dies"))
    )
    assert "sent again" in heading or "resend" in heading or "hold" in heading
    assert len(stream.summary.split()) >= 3


@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_every_entity_fills_known_tables_and_is_in_the_docs(source: Source, entity: Entity) -> None:
    assert all(f"core.{name}" in TABLE_BY_NAME for name in entity.tables)
    assert f"`{entity.name}`" in (DOCS / f"{source.name}.md").read_text()
    assert (entity.prove is None) == (entity.proof is None)


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_every_stream_follows_streams_that_exist(destination: Destination, stream: Stream) -> None:
    order = [each.name for each in destination.streams]
    assert f"core.{stream.selects}" in TABLE_BY_NAME
    assert set(stream.after) <= set(order)
    assert all(order.index(name) < order.index(stream.name) for name in stream.after)


@pytest.mark.parametrize("connector", CONNECTORS, ids=name_of)
def test_options_are_frozen_and_strict(connector: Source | Destination) -> None:
    config: dict[str, Any] = dict(connector.options.model_config)
    assert config["frozen"] is True
    assert config["extra"] == "forbid"


@pytest.mark.parametrize("file", sorted({f for c in CONNECTORS for f in c.folder.glob("*.sql")}), ids=lambda f: f.name)
def test_every_sql_file_starts_with_what_it_gives(file: Path) -> None:
    assert file.read_text().startswith("--")
