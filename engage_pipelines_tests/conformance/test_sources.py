"""What every till must do, whatever it is."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from engage_pipelines.connector import Entity, Source
from engage_pipelines.errors import CredentialsError, EngageError, IncompleteError
from engage_pipelines.ingest import Spool
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.conformance.conftest import Witness
from engage_pipelines_tests.conformance.vendors import ENTITIES, PROVEN, TILLS, WINDOWED, name_of
from engage_pipelines_tests.installation import WRONG_KEYS, calls_of, desk_of, fast_source, pull_and_load, rows
from engage_pipelines_tests.small_shop import DAYS


def _spool(desk: Desk, source: Source, entity: Entity) -> Spool:
    return Spool(desk.settings.data / "lake", source.name, entity.name)


def _route(source: Source, entity: Entity) -> str:
    return TILLS[source.name].routes[entity.name]


@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_a_pull_goes_through_all_pages(till: Sandbox, tmp_path: Path, source: Source, entity: Entity) -> None:
    desk = desk_of(till.url, tmp_path, square={"page_size": 2, "window_days": 31})
    pulled = desk.pull(source, entity, DAYS)
    records = TILLS[source.name].records[entity.name]
    assert pulled.records == records
    if entity.name not in TILLS[source.name].one_page:
        assert pulled.pages >= records // 2


@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_an_interrupted_pull_leaves_whole_windows_and_goes_on(
    till: Sandbox, tmp_path: Path, witness: Witness, source: Source, entity: Entity
) -> None:
    desk = desk_of(till.url, tmp_path, square={"window_days": 1, "in_flight": 1})
    whole = desk_of(till.url, tmp_path / "whole", square={"window_days": 1}).pull(source, entity, DAYS)
    calls = max(whole.calls - (1 if entity.per_location else 0), 1)
    till.add_fault(source.name, kind="status", status=500, route=_route(source, entity), after=calls // 2)
    with pytest.raises(EngageError) as caught:
        desk.pull(fast_source(source, attempts=2), entity, DAYS)
    witness.note(caught.value)
    finished = _spool(desk, source, entity).finished()
    assert len(finished) < whole.windows
    assert not entity.windowed or finished
    desk.load(source, entity, DAYS)

    till.clear_faults(source.name)
    desk.pull(source, entity, DAYS)
    assert len(_spool(desk, source, entity).finished()) == whole.windows
    assert not list(_spool(desk, source, entity).folder.glob("*.part"))


@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_a_missing_key_is_named_before_anything_is_sent(
    till: Sandbox, tmp_path: Path, source: Source, entity: Entity
) -> None:
    desk, before = desk_of(till.url, tmp_path, keys={}), calls_of(till, source.name)
    with pytest.raises(CredentialsError, match=source.secrets[0]):
        desk.pull(source, entity, DAYS)
    assert calls_of(till, source.name) == before


@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_a_wrong_key_is_not_tried_again_and_not_shown(
    till: Sandbox, tmp_path: Path, witness: Witness, source: Source, entity: Entity
) -> None:
    desk, before = desk_of(till.url, tmp_path, keys=WRONG_KEYS, square={"in_flight": 1}), calls_of(till, source.name)
    with pytest.raises(CredentialsError) as caught:
        desk.pull(source, entity, DAYS)
    witness.note(caught.value)
    # The next window may have left before the refusal of the first one was read.
    assert calls_of(till, source.name) <= before + 2
    assert _spool(desk, source, entity).finished() == []


@pytest.mark.parametrize(("source", "entity"), ENTITIES, ids=name_of)
def test_loading_twice_changes_nothing(till: Sandbox, tmp_path: Path, source: Source, entity: Entity) -> None:
    desk = desk_of(till.url, tmp_path)
    desk.pull(source, entity, DAYS)
    first = desk.load(source, entity, DAYS)
    tables = [f"select * exclude (load_id) from core.{name} order by all" for name in entity.tables]
    before = [rows(desk, query) for query in tables]
    desk.pull(source, entity, DAYS)
    second = desk.load(source, entity, DAYS)
    assert first.records == second.records == TILLS[source.name].records[entity.name]
    assert not entity.windowed or second.changed == 0
    assert [rows(desk, query) for query in tables] == before


@pytest.mark.parametrize(("source", "entity"), WINDOWED, ids=name_of)
def test_by_id_and_version_alone_a_record_of_core_is_recognised(
    till: Sandbox, tmp_path: Path, source: Source, entity: Entity
) -> None:
    desk = desk_of(till.url, tmp_path)
    desk.pull(source, entity, DAYS)
    desk.load(source, entity, DAYS)
    table, *_ = entity.tables
    kept = f"select * from core.{table} order by all"
    before = rows(desk, kept)
    assert before
    prefix = f"{source.name}:"
    known = {
        key.removeprefix(prefix) for (key,) in rows(desk, f"select {table.removesuffix('s')}_id from core.{table}")
    }
    for folder, _ in _spool(desk, source, entity).finished():
        _cut_down(folder / "records.ndjson.zst", known)
    again = desk.load(source, entity, DAYS)
    # A record that was read would have nothing but its head, and be refused or look changed.
    assert (again.changed, again.quarantined, again.records) == (0, 0, len(before))
    assert rows(desk, kept) == before


def _cut_down(file: Path, known: set[str]) -> None:
    """Leave of a spool the records that core has, and of them what tells one version from another."""
    with pa.CompressedInputStream(str(file), "zstd") as stream:
        records = [json.loads(line) for line in stream.read().splitlines()]
    with pa.CompressedOutputStream(str(file), "zstd") as stream:
        for record in records:
            if record["id"] in known:
                head = {name: record[name] for name in ("id", "location_id", "updated_at", "version") if name in record}
                stream.write(json.dumps(head).encode() + b"\n")


@pytest.mark.parametrize(("source", "entity"), PROVEN, ids=name_of)
def test_a_record_that_the_till_keeps_back_is_a_gap_and_no_success(
    till: Sandbox, tmp_path: Path, witness: Witness, source: Source, entity: Entity
) -> None:
    desk = desk_of(till.url, tmp_path, square={"window_days": 31, "in_flight": 1})
    desk.pull(source, next(e for e in source.entities if "stores" in e.tables), DAYS)
    till.add_fault(source.name, kind="missing_rows", route=_route(source, entity), times=1)
    desk.pull(source, entity, DAYS)
    with pytest.raises(IncompleteError) as caught:
        desk.load(source, entity, DAYS)
    witness.note(caught.value)
    assert rows(desk, "select sum(missing_count) from ops.completeness") == [(1,)]
    assert desk.bookmarks.through(source.name, entity.name) is None

    till.clear_faults(source.name)
    desk.pull(source, entity, DAYS)
    desk.load(source, entity, DAYS)
    assert rows(desk, "select bool_and(is_complete) from ops.completeness") == [(True,)]
    assert desk.bookmarks.through(source.name, entity.name) is not None


@pytest.mark.parametrize(("source", "entity"), WINDOWED, ids=name_of)
def test_a_record_on_the_border_of_two_days_is_in_core_once(
    sandbox: Sandbox, tmp_path: Path, source: Source, entity: Entity
) -> None:
    desk = desk_of(sandbox.url, tmp_path, square={"window_days": 1})
    days = (small_shop.FIRST_DAY + timedelta(days=2), small_shop.FIRST_DAY + timedelta(days=3))
    key = TILLS[source.name].put_at(sandbox, entity.name, desk.settings.midnight(days[1]))
    for day in days:
        desk.pull(source, entity, (day, day))
    pull_and_load(desk, days)
    table = next(iter(entity.tables))
    count = f"select count(*) from core.{table} where {table.removesuffix('s')}_id = '{source.name}:{key}'"
    if entity.name == "refunds":
        count = f"select count(*) from core.{table} where transaction_id like '%{key}%'"
    assert rows(desk, count) == [(1,)]
