"""The sensor that tells people of every run that ended badly, loses none, and says no more than it may."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from engage_pipelines.definitions import build_defs
from engage_pipelines.errors import RejectedError
from engage_pipelines.orchestration.ended_runs import ended_runs
from engage_pipelines.orchestration.sensors import ALERTS, alerts_sensor
from engage_pipelines_tests.installation import desk_of
from engage_pipelines_tests.scripted_vendor import ScriptedVendor, scripted_vendor

NOWHERE = "http://127.0.0.1:9"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
OK = (200, b"ok")
GONE = (404, b"no_service")


@pytest.fixture
def chat() -> Iterator[ScriptedVendor]:
    with scripted_vendor(OK) as vendor:
        yield vendor


@pytest.fixture
def switch() -> Iterator[ScriptedVendor]:
    with scripted_vendor(OK) as vendor:
        yield vendor


@dataclass
class Watch:
    """A sensor that is looked through again and again, as the daemon does it."""

    sensor: dg.SensorDefinition
    instance: dg.DagsterInstance
    cursor: str | None = None

    def look(self) -> str:
        """One turn; gives what the UI would show. A turn that fails moves nothing."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        done = self.sensor.evaluate_tick(context)
        self.cursor = done.cursor
        assert done.skip_message is not None
        return done.skip_message


@pytest.fixture
def watch(tmp_path: Path, instance: dg.DagsterInstance, chat: ScriptedVendor, switch: ScriptedVendor) -> Watch:
    """Begun: from now on runs are looked at."""
    keys = {"ENGAGE_ALERT_WEBHOOK": f"{chat.url}/hook", "ENGAGE_HEARTBEAT_URL": f"{switch.url}/ping"}
    begun = Watch(alerts_sensor(desk_of(NOWHERE, tmp_path / "shop", keys=keys)), instance)
    begun.look()
    return begun


def texts(chat: ScriptedVendor) -> list[str]:
    return [asked.json()["text"] for asked in chat.asked]


def run(instance: dg.DagsterInstance, name: str = "nightly", *, tags: dict[str, str] | None = None,
        error: Exception | None = None, found: int = 0, warned: int = 0) -> dg.ExecuteInProcessResult:  # fmt: skip
    """Run a job of one asset with two checks, of which one only warns."""

    @dg.asset(key=["core", "transactions"])
    def transactions() -> None:
        if error:
            raise error

    @dg.asset_check(asset=["core", "transactions"], name="windows_are_complete")
    def complete() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=not found, metadata={"count": found})

    @dg.asset_check(asset=["core", "transactions"], name="nothing_refused")
    def refused() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=not warned, severity=dg.AssetCheckSeverity.WARN)

    job = dg.define_asset_job(name, selection=dg.AssetSelection.all())
    definitions = dg.Definitions(assets=[transactions], asset_checks=[complete, refused], jobs=[job])
    return definitions.resolve_job_def(name).execute_in_process(
        instance=instance, run_config=_QUIET, tags=tags, raise_on_error=False
    )


def test_a_night_without_keys_tells_which_and_what_to_do(
    tmp_path: Path, instance: dg.DagsterInstance, watch: Watch, chat: ScriptedVendor
) -> None:
    definitions = build_defs(desk=desk_of(NOWHERE, tmp_path, keys={}))
    night = definitions.resolve_job_def("nightly").execute_in_process(
        instance=instance, run_config=_QUIET, partition_key="2024-10-26", raise_on_error=False,
        asset_selection=[dg.AssetKey(["raw", name]) for name in ("square__orders", "square__catalog")],
    )  # fmt: skip
    assert not night.success
    watch.look()
    (text,) = texts(chat)
    first, *steps, way_out, where = text.splitlines()
    assert first == "engage_pipelines: nightly of 2024-10-26 failed."
    assert sorted(line.split(": missing")[0] for line in steps) == [
        "raw/square__catalog: CredentialsError", "raw/square__orders: CredentialsError",
    ]  # fmt: skip
    assert all("SQUARE_ACCESS_TOKEN" in line for line in steps)
    assert way_out.startswith("What to do: a person must set or renew the key")
    assert where == f"Run: {night.run_id}"


def test_what_was_told_is_not_told_again(watch: Watch, chat: ScriptedVendor) -> None:
    run(watch.instance, error=ValueError("x"))
    first, second = watch.look(), watch.look()
    assert "told" in first
    assert "since the last look: 0; nothing is wrong." in second
    assert len(chat.asked) == 1


def test_a_run_whose_end_is_written_after_a_later_look_is_told_all_the_same(
    tmp_path: Path, instance: dg.DagsterInstance, chat: ScriptedVendor
) -> None:
    desk = desk_of(NOWHERE, tmp_path / "shop", keys={"ENGAGE_ALERT_WEBHOOK": f"{chat.url}/hook"})
    # A look whose clock is five minutes ahead: the run ends before it and turns up after it.
    watch = Watch(alerts_sensor(desk, clock=lambda: time.time() + 300), instance)
    watch.look()
    run(instance, error=ValueError("x"))
    watch.look()
    watch.look()
    assert len(chat.asked) == 1


def test_a_run_of_another_code_location_is_not_ours(instance: dg.DagsterInstance) -> None:
    began = time.time()
    for location in ("engage_pipelines", "somebody_else"):
        crash(instance, location, **{"dagster/max_retries": "0"})
    found = [run.run.remote_job_origin for run in ended_runs(instance, began, "engage_pipelines")]
    assert [origin.location_name for origin in found if origin] == ["engage_pipelines"]
    assert len(ended_runs(instance, began, None)) == 2


def test_what_ended_before_the_first_look_is_not_told(tmp_path: Path, watch: Watch, chat: ScriptedVendor) -> None:
    run(watch.instance, error=ValueError("x"))
    later = Watch(watch.sensor, watch.instance)
    later.look()
    later.look()
    assert chat.asked == []


def test_a_message_that_does_not_get_through_is_sent_with_the_next_look(watch: Watch, chat: ScriptedVendor) -> None:
    chat.answers[:] = [GONE, OK]
    run(watch.instance, error=ValueError("x"))
    with pytest.raises(RejectedError):
        watch.look()
    watch.look()
    assert len(chat.asked) == 2
    assert texts(chat)[0] == texts(chat)[1]


def test_an_error_that_is_not_ours_is_not_quoted(watch: Watch, chat: ScriptedVendor) -> None:
    run(watch.instance, error=ValueError("could not convert 'ann@example.com' to a number"))
    watch.look()
    (text,) = texts(chat)
    assert "core/transactions: ValueError, see the run" in text
    assert "ann" not in text
    assert "convert" not in text


def test_a_night_that_went_through_with_something_missing_is_told(
    watch: Watch, chat: ScriptedVendor, switch: ScriptedVendor
) -> None:
    assert run(watch.instance, found=3).success
    watch.look()
    (text,) = texts(chat)
    assert text.startswith("engage_pipelines: nightly ended, but something is wrong.\n")
    assert "core/transactions: check windows_are_complete failed, 3 found; see `engage status`" in text
    assert switch.asked == []


def test_a_good_night_is_a_heartbeat_and_no_message(watch: Watch, chat: ScriptedVendor, switch: ScriptedVendor) -> None:
    run(watch.instance, warned=2)
    watch.look()
    watch.look()
    assert chat.asked == []
    assert [(asked.method, asked.path) for asked in switch.asked] == [("GET", "/ping")]


@pytest.mark.parametrize("name", ["history", "a_job_of_somebody_else"])
def test_only_a_night_is_a_heartbeat(watch: Watch, switch: ScriptedVendor, name: str) -> None:
    run(watch.instance, name)
    watch.look()
    assert switch.asked == []


def test_a_switch_that_does_not_hear_holds_up_no_message_and_is_told_again(
    watch: Watch, chat: ScriptedVendor, switch: ScriptedVendor
) -> None:
    switch.answers[:] = [GONE, OK]
    run(watch.instance)
    run(watch.instance, error=ValueError("x"))
    watch.look()
    watch.look()
    watch.look()
    assert len(chat.asked) == 1
    assert len(switch.asked) == 2


def test_many_runs_are_one_message(watch: Watch, chat: ScriptedVendor) -> None:
    for _ in range(7):
        run(watch.instance, error=ValueError("x"))
    watch.look()
    (text,) = texts(chat)
    assert text.count("engage_pipelines: nightly failed.") == 5
    assert text.endswith("2 more runs, see the UI.")


def crash(instance: dg.DagsterInstance, location: str = "engage_pipelines", **tags: str) -> None:
    """A night whose process ended before it did; Dagster tries it again so often."""
    job = dg.Definitions(jobs=[dg.job(name="nightly")(lambda: None)]).resolve_job_def("nightly")
    repository = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("localhost", 1, None, location), "__repository__")
    broken = instance.create_run_for_job(
        job, tags={"dagster/partition": "2026-11-30", **tags}, remote_job_origin=RemoteJobOrigin(repository, "nightly"),
    )  # fmt: skip
    instance.report_run_failed(broken, "its process ended")


def test_a_run_that_is_tried_again_by_itself_is_not_told(watch: Watch, chat: ScriptedVendor) -> None:
    crash(watch.instance)
    watch.look()
    assert chat.asked == []


def test_a_run_whose_process_ended_for_the_last_time_is_told(watch: Watch, chat: ScriptedVendor) -> None:
    crash(watch.instance, **{"dagster/max_retries": "0"})
    watch.look()
    (text,) = texts(chat)
    assert text.startswith("engage_pipelines: nightly of 2026-11-30 failed.\nIt broke off before its steps had ended")


def test_days_and_the_link_to_the_run_are_in_the_message(
    tmp_path: Path, instance: dg.DagsterInstance, chat: ScriptedVendor
) -> None:
    desk = desk_of(
        NOWHERE, tmp_path / "shop", keys={"ENGAGE_ALERT_WEBHOOK": f"{chat.url}/hook"},
        alerts={"ui_url": "https://dagster.example.com/"},
    )  # fmt: skip
    watch = Watch(alerts_sensor(desk), instance)
    watch.look()
    days = {"dagster/asset_partition_range_start": "2026-10-01", "dagster/asset_partition_range_end": "2026-10-14"}
    failed = run(instance, error=ValueError("x"), tags=days)
    watch.look()
    (text,) = texts(chat)
    assert text.startswith("engage_pipelines: nightly of 2026-10-01 to 2026-10-14 failed.")
    assert text.endswith(f"Run: https://dagster.example.com/runs/{failed.run_id}")


def test_without_a_webhook_the_ui_says_what_is_wrong_and_what_is_missing(
    tmp_path: Path, instance: dg.DagsterInstance, switch: ScriptedVendor
) -> None:
    desk = desk_of(NOWHERE, tmp_path / "shop", keys={"ENGAGE_HEARTBEAT_URL": f"{switch.url}/ping"})
    watch = Watch(alerts_sensor(desk), instance)
    watch.look()
    run(instance, error=ValueError("x"))
    assert "something is wrong with 1, and ENGAGE_ALERT_WEBHOOK is not set" in watch.look()
    assert switch.asked == []


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({}, dg.DefaultSensorStatus.STOPPED),
        ({"ENGAGE_ALERT_WEBHOOK": f"{NOWHERE}/hook"}, dg.DefaultSensorStatus.RUNNING),
        ({"ENGAGE_HEARTBEAT_URL": f"{NOWHERE}/ping"}, dg.DefaultSensorStatus.RUNNING),
    ],
)
def test_it_runs_where_it_has_somebody_to_tell(
    tmp_path: Path, keys: dict[str, str], status: dg.DefaultSensorStatus
) -> None:
    definitions = build_defs(desk=desk_of(NOWHERE, tmp_path, keys=keys))
    assert definitions.resolve_sensor_def(ALERTS).default_status is status


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_night_that_failed_has_its_ledger_published_if_everything_was_loaded(
    tmp_path: Path, instance: dg.DagsterInstance, *, is_loaded: bool
) -> None:
    repository = build_defs(desk=desk_of(NOWHERE, tmp_path / "shop")).get_repository_def()
    sensor = repository.get_sensor_def("ledger_after_a_failed_night")
    assert [target.job_name for target in sensor.targets] == ["ledger"]

    @dg.asset(key=["core", "transactions"])
    def transactions() -> None:
        if not is_loaded:
            raise ValueError("broken")

    @dg.asset(key=["ops", "published"], deps=[transactions])
    def published() -> None: ...

    @dg.asset(key=["aiq", "sales"], deps=[transactions, published])
    def sales() -> None:
        raise ValueError("broken")

    job = dg.Definitions(
        assets=[transactions, published, sales], jobs=[dg.define_asset_job("nightly")]
    ).resolve_job_def("nightly")
    failed = job.execute_in_process(instance=instance, run_config=_QUIET, raise_on_error=False)
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name, dagster_event=failed.get_run_failure_event(), dagster_instance=instance,
        dagster_run=failed.dagster_run,
    )  # fmt: skip
    asked = sensor(context)
    if is_loaded:
        # By the run's id: once for each that failed.
        assert isinstance(asked, dg.RunRequest)
        assert asked.run_key == failed.run_id
    else:
        assert isinstance(asked, dg.SkipReason)
