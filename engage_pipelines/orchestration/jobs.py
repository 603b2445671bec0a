"""Jobs and schedules."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from engage_pipelines.operations import Desk
from engage_pipelines.orchestration.assets import REREAD_TAG
from engage_pipelines.settings import yesterday

NIGHTLY = "nightly"
HISTORY = "history"
LEDGER = "ledger"


def nightly_job(desk: Desk) -> UnresolvedAssetJobDefinition:
    """Everything of one day: pull, load, deliver, publish. The migration files are a job of their own."""
    return dg.define_asset_job(
        NIGHTLY,
        selection=dg.AssetSelection.all() - _history(desk),
        description="Pulls, loads and delivers one day, re-reads the trailing days, publishes.",
    )


def history_job(desk: Desk) -> UnresolvedAssetJobDefinition:
    """One month of the migration before go-live: contacts first, then receipts."""
    return dg.define_asset_job(
        HISTORY, selection=_history(desk), description="One month of receipts before go-live, as files."
    )


def ledger_job() -> UnresolvedAssetJobDefinition:
    """What went where, in the analysts' copy; a night does it itself if all deliveries went through."""
    return dg.define_asset_job(
        LEDGER,
        selection=dg.AssetSelection.assets(["ops", "deliveries"]),
        description="Publishes the ledger, after a night in which a delivery failed.",
    )


def nightly_schedule(desk: Desk, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Runs the nightly job for the day that has just ended."""
    enabled = desk.settings.schedules.enabled

    @dg.schedule(
        job=job,
        name=NIGHTLY,
        cron_schedule=desk.settings.schedules.nightly,
        execution_timezone=desk.settings.operator.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING if enabled else dg.DefaultScheduleStatus.STOPPED,
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = yesterday(desk.settings, context.scheduled_execution_time).isoformat()
        return dg.RunRequest(run_key=day, partition_key=day, tags={REREAD_TAG: "true"})

    return nightly


def _history(desk: Desk) -> dg.AssetSelection:
    keys = [dg.AssetKey([d.name, s.name]) for d in desk.destinations for s in d.streams if s.history]
    return dg.AssetSelection.assets(*keys)
