"""THE MAP: every asset, check, job, schedule and sensor, in the order of the journey.

Importing this module needs no network, no secret and no file.
"""

from __future__ import annotations

import dagster as dg

from engage_pipelines.model import CORE_TABLES
from engage_pipelines.operations import Desk
from engage_pipelines.orchestration import assets, checks, jobs, sensors
from engage_pipelines.orchestration.side_by_side import side_by_side_executor
from engage_pipelines.settings import Settings, settings_or_defaults


def build_defs(settings: Settings | None = None, *, desk: Desk | None = None) -> dg.Definitions:
    """Make a fresh set of definitions for these settings (default: engage.toml, see `settings`)."""
    desk = desk or Desk(settings or settings_or_defaults())
    streams = [(destination, stream) for destination in desk.destinations for stream in destination.streams]
    loaded = {table for source in desk.sources for entity in source.entities for table in entity.tables}
    nightly, history, ledger = jobs.nightly_job(desk), jobs.history_job(desk), jobs.ledger_job()
    return dg.Definitions(
        assets=[
            # till -> spool
            *(assets.raw_asset(desk, source, entity) for source in desk.sources for entity in source.entities),
            # spool -> core
            *assets.core_assets(desk),
            # core -> platforms
            *(assets.delivery_asset(desk, destination, stream) for destination, stream in streams),
            # warehouse -> analysts
            assets.published_asset(desk),
            assets.deliveries_asset(desk),
        ],
        asset_checks=[
            *(checks.key_is_unique(desk, table) for table in CORE_TABLES if table.name in loaded),
            *([checks.receipts_add_up(desk), checks.windows_are_complete(desk)] if "transactions" in loaded else []),
            *([checks.payments_agree(desk)] if "payments" in loaded else []),
            *(checks.nothing_in_doubt(desk, destination, stream) for destination, stream in streams),
            *(checks.nothing_refused(desk, destination, stream) for destination, stream in streams),
        ],
        jobs=[nightly, ledger, *([history] if any(stream.history for _, stream in streams) else [])],
        schedules=[jobs.nightly_schedule(desk, nightly)],
        # What went wrong -> people; what went out all the same -> analysts
        sensors=[sensors.alerts_sensor(desk), sensors.ledger_sensor(desk, nightly, ledger)],
        # Steps are few and large, and wait for vendors: threads of one process.
        executor=side_by_side_executor,
    )


defs = build_defs()
