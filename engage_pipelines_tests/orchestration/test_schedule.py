"""The nightly schedule and the partitions, also in the nights in which the clocks change."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from engage_pipelines.definitions import build_defs
from engage_pipelines.orchestration.partitions import each_day, months_before
from engage_pipelines_tests.installation import desk_of

LONDON = ZoneInfo("Europe/London")


def _definitions(tmp_path: Path, zone: str = "Europe/London", **changes: object) -> dg.Definitions:
    content = {"operator": {"time_zone": zone}, **changes}
    return build_defs(desk=desk_of("http://127.0.0.1:9", tmp_path, keys={}, **content))


@pytest.mark.parametrize(
    ("at", "partition"),
    [
        (datetime(2024, 3, 31, 2, tzinfo=LONDON), "2024-03-30"),
        (datetime(2024, 4, 1, 2, tzinfo=LONDON), "2024-03-31"),
        (datetime(2024, 10, 27, 2, tzinfo=LONDON), "2024-10-26"),
        (datetime(2024, 10, 28, 2, tzinfo=LONDON), "2024-10-27"),
        (datetime(2024, 7, 2, 2, tzinfo=LONDON), "2024-07-01"),
    ],
)
def test_the_night_runs_the_day_that_has_just_ended(
    tmp_path: Path, instance: dg.DagsterInstance, at: datetime, partition: str
) -> None:
    definitions = _definitions(tmp_path)
    schedule = definitions.resolve_schedule_def("nightly")
    repository = definitions.get_repository_def()
    context = dg.build_schedule_context(instance, scheduled_execution_time=at, repository_def=repository)
    (request,) = schedule.evaluate_tick(context).run_requests
    assert (request.partition_key, request.run_key) == (partition, partition)
    assert request.tags["engage/reread"] == "true"


def test_the_night_is_at_two_in_the_operators_zone(tmp_path: Path) -> None:
    schedule = _definitions(tmp_path, "America/New_York").resolve_schedule_def("nightly")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "America/New_York")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_the_schedule_can_be_moved_and_switched_on(tmp_path: Path) -> None:
    definitions = _definitions(tmp_path, schedules={"nightly": "30 3 * * *", "enabled": True})
    schedule = definitions.resolve_schedule_def("nightly")
    assert schedule.cron_schedule == "30 3 * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_day_lasts_from_local_midnight_to_local_midnight(tmp_path: Path) -> None:
    node = _definitions(tmp_path).resolve_asset_graph().get(dg.AssetKey(["core", "transactions"]))
    days = node.partitions_def
    assert isinstance(days, dg.TimeWindowPartitionsDefinition)
    windows = {key: days.time_window_for_partition_key(key) for key in ("2024-03-30", "2024-03-31", "2024-10-27")}
    hours = {key: (window.end.timestamp() - window.start.timestamp()) / 3600 for key, window in windows.items()}
    assert hours == {"2024-03-30": 24, "2024-03-31": 23, "2024-10-27": 25}


@pytest.mark.parametrize(
    ("go_live_on", "first", "last"),
    [
        (date(2024, 4, 1), "2022-04-01", "2024-03-01"),
        (date(2024, 4, 2), "2022-05-01", "2024-04-01"),
        (date(2024, 12, 31), "2023-01-01", "2024-12-01"),
        (date(2024, 2, 29), "2022-03-01", "2024-02-01"),
    ],
)
def test_history_is_the_24_months_before_go_live(go_live_on: date, first: str, last: str) -> None:
    keys = months_before(go_live_on, "Europe/London").get_partition_keys()
    assert (len(keys), keys[0], keys[-1]) == (24, first, last)


def test_the_streams_of_history_have_months_and_the_others_days(tmp_path: Path) -> None:
    graph = _definitions(tmp_path).resolve_asset_graph()

    def partitions(*path: str) -> int | None:
        definition = graph.get(dg.AssetKey(list(path))).partitions_def
        return len(definition.get_partition_keys()) if definition else None

    assert partitions("voyado", "receipt_history") == partitions("voyado", "contact_history") == 24
    assert partitions("voyado", "stores") is partitions("crmcom", "products") is None
    daily = partitions("core", "transactions")
    assert daily is not None
    assert daily > 24
    assert partitions("aiq", "sales") == partitions("voyado", "receipts") == daily


def test_each_day_is_named_once() -> None:
    assert each_day(date(2024, 2, 28), date(2024, 3, 2)) == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert each_day(date(2024, 3, 2), date(2024, 3, 2)) == []
