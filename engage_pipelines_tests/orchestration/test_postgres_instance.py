"""The Dagster instance on Postgres: opened from our own dagster.yaml, it keeps runs, events and partitions there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import RunsFilter
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

from engage_pipelines_tests.postgres import fresh_postgres

CONFIG = Path(__file__).parents[2] / "dagster.yaml"
DAYS = ["2024-04-01", "2024-04-02", "2024-04-03"]


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(DAYS), backfill_policy=dg.BackfillPolicy.single_run())
def sales(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    context.log.info("a line of the run")
    return dg.MaterializeResult(metadata={"rows": 7})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of an instance whose storage is an empty Postgres database."""
    shutil.copy(CONFIG, tmp_path)
    with fresh_postgres() as url:
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        yield tmp_path


def test_the_instance_opens_on_an_empty_database_and_leaves_no_sqlite_behind(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert isinstance(instance.run_storage, PostgresRunStorage)
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        assert instance.get_runs_count() == 0
    assert not list(home.rglob("*.db"))


def test_a_run_and_its_events_are_read_back_by_the_next_process(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}
        run_id = dg.materialize([sales], instance=instance, tags=tags).run_id
    with dg.DagsterInstance.from_config(str(home)) as again:
        (run,) = again.get_runs(RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        assert run.run_id == run_id
        assert any(entry.user_message == "a line of the run" for entry in again.all_logs(run_id))
        assert again.get_materialized_partitions(sales.key) == set(DAYS)
        latest = again.get_latest_materialization_event(sales.key)
        assert latest is not None
        assert latest.asset_materialization is not None
        assert latest.asset_materialization.metadata["rows"].value == 7


def test_the_instance_opens_from_its_own_description(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("kept", ["a"])
        with dg.DagsterInstance.from_ref(instance.get_ref()) as again:
            assert again.get_dynamic_partitions("kept") == ["a"]
