"""The instance's storage: SQLite unless told otherwise, and bursts of events that read like single ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._check import CheckError
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from engage_pipelines.orchestration.instance_storage import BurstEventLogStorage, InstanceStorage
from engage_pipelines.settings import instance_url

KEY, OTHER = dg.AssetKey(["core", "transactions"]), dg.AssetKey(["core", "payments"])
DAYS = [f"2024-04-{day:02}" for day in range(1, 21)]


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[SqliteEventLogStorage]:
    storage = SqliteEventLogStorage(str(tmp_path / "parent"))
    yield storage
    storage.dispose()


@pytest.fixture
def burst(tmp_path: Path) -> Iterator[BurstEventLogStorage]:
    storage = BurstEventLogStorage(str(tmp_path / "burst"))
    yield storage
    storage.dispose()


def _event(key: dg.AssetKey, day: str, run_id: str = "run-1", number: int = 0) -> dg.EventLogEntry:
    materialization = dg.AssetMaterialization(
        asset_key=key, partition=day, metadata={"rows": number}, tags={"dagster/data_version": f"v{number}"}
    )
    return dg.EventLogEntry(
        error_info=None, user_message="", level=10, run_id=run_id, timestamp=1_700_000_000.0 + number,
        step_key="load_transactions", job_name="nightly",
        dagster_event=DagsterEvent(
            "ASSET_MATERIALIZATION", "nightly", step_key="load_transactions",
            event_specific_data=StepMaterializationData(materialization),
        ),
    )  # fmt: skip


def _plain(number: int, run_id: str = "run-1") -> dg.EventLogEntry:
    return dg.EventLogEntry(
        error_info=None, user_message=f"message {number}", level=20, run_id=run_id,
        timestamp=1_700_000_500.0 + number, step_key=None, job_name="nightly",
    )  # fmt: skip


def _events() -> list[dg.EventLogEntry]:
    found = [_plain(0)]
    for number, day in enumerate(DAYS):
        found += [_event(KEY, day, number=2 * number), _event(OTHER, day, number=2 * number + 1)]
    return [*found, _plain(1), _event(KEY, DAYS[0], "run-2", 99)]


def _everything(storage: SqliteEventLogStorage) -> dict[str, object]:
    """What the UI and the daemon read."""
    latest = storage.get_latest_materialization_events([KEY, OTHER])
    records = {key: storage.fetch_materializations(key, limit=1000).records for key in (KEY, OTHER)}
    assets = storage.get_asset_records([KEY, OTHER])
    return {
        "partitions": {key: storage.get_materialized_partitions(key) for key in (KEY, OTHER)},
        "latest": {key: (e.run_id, e.timestamp, e.asset_materialization) for key, e in latest.items() if e},
        "by partition": storage.get_latest_storage_id_by_partition(
            KEY, dg.DagsterEventType.ASSET_MATERIALIZATION
        ).keys(),
        "records": {key: [(r.run_id, r.partition_key, r.timestamp) for r in found] for key, found in records.items()},
        "logs": {run: [e.to_json() for e in storage.get_logs_for_run(run)] for run in ("run-1", "run-2")},
        "assets": sorted(storage.all_asset_keys()),
        "last runs": {r.asset_entry.asset_key: r.asset_entry.last_run_id for r in assets},
        "tags": storage.get_event_tags_for_asset(KEY),
    }


def test_a_batch_reads_like_the_same_events_one_by_one(
    parent: SqliteEventLogStorage, burst: BurstEventLogStorage
) -> None:
    for event in _events():
        parent.store_event(event)
    burst.store_event_batch(_events())
    # Plain messages of a batch are stored ahead of the others.
    expected, found = _everything(parent), _everything(burst)
    logs, burst_logs = expected.pop("logs"), found.pop("logs")
    assert found == expected
    assert isinstance(logs, dict)
    assert isinstance(burst_logs, dict)
    assert {run: sorted(texts) for run, texts in burst_logs.items()} == {r: sorted(t) for r, t in logs.items()}


def test_a_batch_that_cannot_be_stored_leaves_nothing_of_it(burst: BurstEventLogStorage) -> None:
    no_event: Any = SimpleNamespace(run_id="run-1", is_dagster_event=False)
    with pytest.raises(CheckError):
        burst.store_event_batch([_plain(0), no_event])
    assert burst.get_logs_for_run("run-1") == []
    burst.store_event_batch([_plain(1)])
    assert [entry.user_message for entry in burst.get_logs_for_run("run-1")] == ["message 1"]


def test_single_events_inside_a_burst_are_all_there(parent: SqliteEventLogStorage, burst: BurstEventLogStorage) -> None:
    events = [event for event in _events() if event.run_id == "run-1"]
    for event in events:
        parent.store_event(event)
    with burst.burst("run-1"):
        for event in events:
            burst.store_event(event)
    assert _everything(burst) == _everything(parent)


def test_a_burst_that_fails_leaves_nothing_and_the_next_one_works(burst: BurstEventLogStorage) -> None:
    def fail() -> None:
        with burst.burst("run-1"):
            burst.store_event(_event(KEY, DAYS[0]))
            raise RuntimeError("made up")

    with pytest.raises(RuntimeError):
        fail()
    assert burst.get_materialized_partitions(KEY) == set()
    with burst.burst("run-1"):
        burst.store_event(_event(KEY, DAYS[1]))
    burst.store_event(_event(KEY, DAYS[2]))
    assert burst.get_materialized_partitions(KEY) == {DAYS[1], DAYS[2]}


def test_another_thread_waits_for_the_end_of_a_burst_and_has_no_part_in_it(burst: BurstEventLogStorage) -> None:
    other = threading.Thread(target=lambda: burst.store_event(_event(KEY, DAYS[1], number=1)))

    def fail() -> None:
        with burst.burst("run-1"):
            burst.store_event(_event(KEY, DAYS[0]))
            other.start()
            # It cannot end before the burst does.
            other.join(0.2)
            assert other.is_alive()
            raise RuntimeError("made up")

    with pytest.raises(RuntimeError):
        fail()
    other.join()
    assert burst.get_materialized_partitions(KEY) == {DAYS[1]}


def test_a_burst_of_years_takes_seconds(burst: BurstEventLogStorage) -> None:
    began = time.process_time()
    with burst.burst("run-1"):
        burst.store_event_batch([_event(KEY, f"d{number}", number=number) for number in range(5_000)])
    assert time.process_time() - began < 10
    assert len(burst.get_materialized_partitions(KEY)) == 5_000


def _check_planned(storage: SqliteEventLogStorage, days: dg.StaticPartitionsDefinition) -> list[tuple[str, str | None]]:
    """Plan a check in a run of many days and end it; what is known of it then."""
    subset = days.empty_subset().with_partition_keys(DAYS)
    planned = AssetCheckEvaluationPlanned(asset_key=KEY, check_name="adds_up", partitions_subset=subset)
    evaluated = AssetCheckEvaluation(asset_key=KEY, check_name="adds_up", passed=True, metadata={})
    for number, (kind, data) in enumerate((
        ("ASSET_CHECK_EVALUATION_PLANNED", planned), ("ASSET_CHECK_EVALUATION", evaluated)
    )):  # fmt: skip
        storage.store_event(
            dg.EventLogEntry(
                error_info=None, user_message="", level=10, run_id="run-1", timestamp=1_700_000_000.0 + number,
                step_key="check", job_name="nightly",
                dagster_event=DagsterEvent(kind, "nightly", step_key="check", event_specific_data=data),
            )
        )  # fmt: skip
    records = storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, "adds_up"), limit=100)
    return [(record.status.value, record.partition) for record in records]


def test_a_check_in_a_run_of_many_days_is_one_that_ends(burst: BurstEventLogStorage) -> None:
    assert _check_planned(burst, dg.StaticPartitionsDefinition(DAYS)) == [("SUCCEEDED", None)]


def test_dagster_itself_would_note_it_for_each_day_and_never_end_these(parent: SqliteEventLogStorage) -> None:
    # Once this fails, our own way of storing it can go.
    noted = _check_planned(parent, dg.StaticPartitionsDefinition(DAYS))
    assert sorted(noted, key=str) == [("PLANNED", day) for day in DAYS] + [("SUCCEEDED", None)]


def test_few_files_stay_open_however_many_runs_there_are(burst: BurstEventLogStorage) -> None:
    for number in range(30):
        burst.store_event(_event(KEY, DAYS[number % 20], f"run-{number}", number))
    assert len(burst._engines) <= 8
    assert [len(burst.get_logs_for_run(f"run-{number}")) for number in range(30)] == [1] * 30


def test_two_processes_see_each_others_events(burst: BurstEventLogStorage) -> None:
    other = BurstEventLogStorage(burst._base_dir)
    for number, storage in enumerate((burst, other, burst, other)):
        storage.store_event(_event(KEY, DAYS[number], number=number))
    assert burst.get_materialized_partitions(KEY) == other.get_materialized_partitions(KEY) == set(DAYS[:4])
    other.dispose()


def test_an_instance_that_was_wiped_is_empty_and_usable(burst: BurstEventLogStorage) -> None:
    burst.store_event(_event(KEY, DAYS[0]))
    burst.wipe()
    assert burst.get_logs_for_run("run-1") == []
    burst.store_event(_event(KEY, DAYS[1]))
    assert len(burst.get_logs_for_run("run-1")) == 1
    assert burst.get_materialized_partitions(KEY) == {DAYS[1]}


def test_the_instance_is_sqlite_where_nothing_else_is_said(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert isinstance(instance.event_log_storage, BurstEventLogStorage)
    assert (tmp_path / "dagster" / "history").is_dir()
    assert instance.get_ref().storage_data.class_name == "InstanceStorage"
    assert not instance.telemetry_enabled


def test_two_runs_at_once_one_step_per_pool_and_dead_runs_are_noticed(instance: dg.DagsterInstance) -> None:
    concurrency = instance.get_concurrency_config()
    assert concurrency.run_queue_config is not None
    assert concurrency.run_queue_config.max_concurrent_runs == 2
    assert concurrency.pool_config.default_pool_limit == 1
    assert instance.run_monitoring_enabled
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 2


def test_the_same_instance_opens_from_its_own_description(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("kept", ["a"])
    with dg.DagsterInstance.from_ref(instance.get_ref()) as again:
        assert again.get_dynamic_partitions("kept") == ["a"]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_a_postgres_url_gets_the_driver_that_dagster_needs(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"{scheme}://somebody:pass@127.0.0.1:1/none")
    assert instance_url() == "postgresql+psycopg2://somebody:pass@127.0.0.1:1/none"


def test_the_storage_is_postgres_when_its_url_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgres://somebody:pass@127.0.0.1:nonsense/none")
    # No such port: that Postgres is asked for at all is what can be seen without a server.
    with pytest.raises(ValueError, match="nonsense"):
        InstanceStorage.from_config_value(None, {"base_dir": str(tmp_path / "unused")})
    assert not (tmp_path / "unused").exists()
