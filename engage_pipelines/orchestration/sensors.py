"""The sensors: one tells people what went wrong, one publishes the ledger after a night in which something did.

The first reads what Dagster has noted and opens no warehouse, so it can look at any time. A message is sent before it
is noted that it was: after a crash it may come twice, and none is lost.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.execution.stats import StepEventStatus

from engage_pipelines.errors import EngageError
from engage_pipelines.operations import Desk, send_alert, send_heartbeat
from engage_pipelines.orchestration.assets import PUBLISHED_STEP
from engage_pipelines.orchestration.ended_runs import EndedRun, ended_runs, message_about
from engage_pipelines.orchestration.jobs import LEDGER, NIGHTLY
from engage_pipelines.settings import ALERT_WEBHOOK_VARIABLE, HEARTBEAT_VARIABLE, Settings

_LOG = logging.getLogger(__name__)
ALERTS = "alerts"
_INTERVAL_SECONDS = 60
# Runs that ended this long ago are looked at once more: their end may have been written late.
_MARGIN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far the sensor has looked.

    Attributes:
        through: when it looked last, seconds since 1970.
        seen: ids of the runs that it has seen and would find again.
        owes_heartbeat: the dead man's switch has not heard yet of a night that went well.
    """

    through: float
    seen: Sequence[str] = ()
    owes_heartbeat: bool = False


def alerts_sensor(desk: Desk, clock: Callable[[], float] = time.time) -> dg.SensorDefinition:
    """`alerts`: one message about all runs that ended badly since the last look, a heartbeat after a good night."""
    settings = desk.settings
    is_set_up = settings.has_secret(ALERT_WEBHOOK_VARIABLE) or settings.has_secret(HEARTBEAT_VARIABLE)

    @dg.sensor(
        name=ALERTS,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if is_set_up else dg.DefaultSensorStatus.STOPPED,
        description=f"Sends a message to {ALERT_WEBHOOK_VARIABLE} when a run or a check fails, and calls "
        f"{HEARTBEAT_VARIABLE} after each night that went well.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = clock()
        before = _Cursor(**json.loads(context.cursor)) if context.cursor else _Cursor(now)
        origin = context.code_location_origin
        found = ended_runs(context.instance, before.through - _MARGIN_SECONDS, origin.location_name if origin else None)
        # The first look is no look back: who sets alerts up knows of what was before.
        fresh = [run for run in found if context.cursor and run.run.run_id not in before.seen]
        said = _alert(settings, [run for run in fresh if run.wrong])
        owes = _heartbeat(settings, owes=before.owes_heartbeat or any(map(_is_good_night, fresh)))
        seen = [run.run.run_id for run in found if run.ended_at >= now - _MARGIN_SECONDS]
        context.update_cursor(json.dumps(asdict(_Cursor(now, seen, owes))))
        return dg.SkipReason(f"Runs that have ended since the last look: {len(fresh)}; {said}.")

    return alerts


def ledger_sensor(
    desk: Desk, nightly: UnresolvedAssetJobDefinition, ledger: UnresolvedAssetJobDefinition
) -> dg.SensorDefinition:
    """`ledger_after_a_failed_night`: what did go out that night is in the analysts' copy all the same.

    Not where something could not be loaded: to publish makes a copy of everything, and that would not be whole.
    """
    enabled = desk.settings.schedules.enabled

    @dg.run_status_sensor(
        name="ledger_after_a_failed_night",
        run_status=dg.DagsterRunStatus.FAILURE,
        monitored_jobs=[nightly],
        request_job=ledger,
        default_status=dg.DefaultSensorStatus.RUNNING if enabled else dg.DefaultSensorStatus.STOPPED,
        description=f"Runs the job {LEDGER} when a run of {NIGHTLY} has failed that had loaded everything.",
    )
    def ledger_after_a_failed_night(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        run_id = context.dagster_run.run_id
        published = context.instance.get_run_step_stats(run_id, [PUBLISHED_STEP])
        if [step.status for step in published] != [StepEventStatus.SUCCESS]:
            return dg.SkipReason("Not everything was loaded: the copy stays that of the night before.")
        return dg.RunRequest(run_key=run_id)

    return ledger_after_a_failed_night


def _alert(settings: Settings, wrong: list[EndedRun]) -> str:
    """Tell of the runs with which something is wrong; says what was done, for the UI."""
    if not wrong:
        return "nothing is wrong"
    if not settings.has_secret(ALERT_WEBHOOK_VARIABLE):
        return f"something is wrong with {len(wrong)}, and {ALERT_WEBHOOK_VARIABLE} is not set"
    send_alert(settings, message_about(wrong, settings.alerts.ui_url))
    return f"something is wrong with {len(wrong)}: told"


def _heartbeat(settings: Settings, *, owes: bool) -> bool:
    """Tell the dead man's switch if it is owed that; True if it is still owed."""
    if not owes or not settings.has_secret(HEARTBEAT_VARIABLE):
        return False
    try:
        send_heartbeat(settings)
    except EngageError as error:
        # Raised here it would send the message once more; a switch that hears nothing speaks up itself.
        _LOG.warning("%s; tried again in a minute", error)
        return True
    return False


def _is_good_night(ended: EndedRun) -> bool:
    return ended.run.job_name == NIGHTLY and not ended.wrong
