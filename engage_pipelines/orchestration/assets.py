"""The assets. Each is a few lines: one call of the desk, its result as metadata."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.tags import PRIORITY_TAG

from engage_pipelines.connector import Destination, Entity, Source, Stream
from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.operations import Desk
from engage_pipelines.orchestration.failures import as_dagster_failure
from engage_pipelines.orchestration.loading import load_days, load_present_state
from engage_pipelines.orchestration.partitions import business_range, daily, days_of, months_before
from engage_pipelines.orchestration.recording import DayRecorder
from engage_pipelines.warehouse import Selection

WAREHOUSE_POOL = "warehouse"
# A run with this tag goes back over the trailing days and over any night that was missed.
REREAD_TAG = "engage/reread"
# A load with this tag shapes also what core has in the same version: after an upgrade that changed a mapping.
ANEW_TAG = "engage/anew"
_ONE_RUN = dg.BackfillPolicy.single_run()
# The version of Dagster is pinned; its reminder would be printed once per asset at every start.
warnings.filterwarnings("ignore", message=".*backfill_policy.*", category=dg.BetaWarning)


def raw_asset(desk: Desk, source: Source, entity: Entity) -> dg.AssetsDefinition:
    """`raw/<source>__<entity>`: pulls into the spool."""

    @dg.asset(
        key=["raw", f"{source.name}__{entity.name}"],
        group_name="raw",
        kinds={source.name},
        description=f"{entity.name.replace('_', ' ').capitalize()} of {source.name}, as the till sent them.",
        partitions_def=daily(desk) if entity.windowed else None,
        backfill_policy=_ONE_RUN if entity.windowed else None,
        # The till's limits hold for all its pulls together, whoever makes them; two of the same would do it twice.
        pool=f"source_{source.name}_{entity.name}",
    )
    def pulled(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with as_dagster_failure():
            desk.check()
            days = days_of(context) if entity.windowed else _yesterday(desk)
            result = desk.pull(source, entity, days, reread=_is_reread(context))
        return dg.MaterializeResult(metadata=_metadata(asdict(result)))

    return pulled


def core_assets(desk: Desk, *, windowed: bool) -> dg.AssetsDefinition | None:
    """The core tables that windowed entities fill by day, or those that show the present state."""
    pairs = [(s, e) for s in desk.sources for e in s.entities if e.windowed is windowed]
    if not pairs:
        return None
    specs = [_core_spec(desk, table, pairs, windowed=windowed) for table in _tables(pairs)]

    @dg.multi_asset(
        name="load_days" if windowed else "load_present_state",
        specs=specs,
        backfill_policy=_ONE_RUN if windowed else None,
        pool=WAREHOUSE_POOL,
    )
    def loaded(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        with as_dagster_failure():
            if windowed:
                with DayRecorder(context) as recorder:
                    done = load_days(
                        desk, pairs, days_of(context), recorder, reread=_is_reread(context),
                        anew=_is_tagged(context, ANEW_TAG),
                    )  # fmt: skip
            else:
                done = load_present_state(desk, pairs, _yesterday(desk))
        for table in _tables(pairs):
            yield dg.MaterializeResult(
                asset_key=["core", table], metadata=_metadata({"rows": done.rows.get(table, 0), **done.totals})
            )

    return loaded


class DeliveryConfig(dg.Config):
    """What a person may ask of one run, in the launchpad.

    Attributes:
        preview: say what would be sent, as an observation; send nothing.
        yes_really: send even what the guard rails refuse.
    """

    preview: bool = False
    yes_really: bool = False


def delivery_asset(desk: Desk, destination: Destination, stream: Stream) -> dg.AssetsDefinition:
    """`<destination>/<stream>`: delivers."""

    @dg.asset(
        key=[destination.name, stream.name],
        group_name=destination.name,
        kinds={destination.name},
        description=f"{stream.summary} In doubt after a crash: {stream.in_doubt.policy}.",
        partitions_def=_stream_partitions(desk, destination, stream),
        backfill_policy=_ONE_RUN if stream.windowed else None,
        deps=[["core", stream.selects], *([destination.name, name] for name in stream.after)],
        pool=f"destination_{destination.name}",
        # Before the checks that could begin at the same moment: the sooner a platform is waited for, the better.
        op_tags={PRIORITY_TAG: "1"},
        # A preview makes nothing, so nothing after it runs.
        output_required=False,
    )
    def delivered(context: dg.AssetExecutionContext, config: DeliveryConfig) -> Iterator[Any]:
        with as_dagster_failure():
            selection = _selection(desk, destination, stream, context)
            if config.preview:
                seen = desk.preview(destination, stream, selection)
                yield dg.AssetObservation(context.asset_key, metadata=_metadata(asdict(seen)))
                return
            result = desk.deliver(destination, stream, selection, yes_really=config.yes_really)
        yield dg.MaterializeResult(metadata=_metadata(asdict(result)))

    return delivered


def _selection(desk: Desk, destination: Destination, stream: Stream, context: dg.AssetExecutionContext) -> Selection:
    go_live_on = desk.go_live_on(destination)
    if stream.history and go_live_on:
        return Selection(business=business_range(context, go_live_on))
    if stream.windowed:
        return desk.touched(destination, stream, days_of(context), reread=_is_reread(context))
    return Selection()


def published_asset(desk: Desk) -> dg.AssetsDefinition:
    """`ops/published`: the analysts' copy."""
    deps = [[d.name, s.name] for d in desk.destinations for s in d.streams if not s.history]
    deps += [["core", table] for table in _tables([(s, e) for s in desk.sources for e in s.entities])]

    @dg.asset(
        key=["ops", "published"],
        group_name="ops",
        kinds={"duckdb"},
        description="The copy of the warehouse that analysts open, with the ledger as `ops.deliveries`.",
        deps=deps,
        pool=WAREHOUSE_POOL,
    )
    def published() -> dg.MaterializeResult[Any]:
        with as_dagster_failure():
            result = desk.publish()
        rows = {f"rows {name}": count for name, count in result.rows.items()}
        return dg.MaterializeResult(metadata=_metadata({"bytes": result.bytes, "seconds": result.seconds, **rows}))

    return published


def _is_reread(context: dg.AssetExecutionContext) -> bool:
    return _is_tagged(context, REREAD_TAG)


def _is_tagged(context: dg.AssetExecutionContext, tag: str) -> bool:
    return context.run.tags.get(tag) == "true"


def _tables(pairs: list[tuple[Source, Entity]]) -> list[str]:
    return list(dict.fromkeys(table for _, entity in pairs for table in entity.tables))


def _core_spec(desk: Desk, name: str, pairs: list[tuple[Source, Entity]], *, windowed: bool) -> dg.AssetSpec:
    table = TABLE_BY_NAME[f"core.{name}"]
    columns = [
        dg.TableColumn(c.name, c.duckdb_type, c.description, dg.TableColumnConstraints(nullable=not c.required))
        for c in table.columns
    ]
    present = [] if not windowed else [["core", "products"], ["core", "stores"]]
    return dg.AssetSpec(
        ["core", name],
        group_name="core",
        kinds={"duckdb"},
        description=table.description,
        partitions_def=daily(desk) if windowed else None,
        deps=[*(["raw", f"{s.name}__{e.name}"] for s, e in pairs if name in e.tables), *present],
        metadata={"dagster/column_schema": dg.TableSchema(columns=columns), "dagster/table_name": table.full_name},
    )


def _stream_partitions(desk: Desk, destination: Destination, stream: Stream) -> dg.PartitionsDefinition[str] | None:
    go_live_on = desk.go_live_on(destination)
    if stream.history and go_live_on:
        return months_before(go_live_on, desk.settings.operator.time_zone)
    return daily(desk) if stream.windowed else None


def _yesterday(desk: Desk) -> tuple[date, date]:
    day = desk.settings.day_of(desk.now()) - timedelta(days=1)
    return day, day


def _metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    lists = (dict, tuple)
    return {n: dg.MetadataValue.json(v) if isinstance(v, lists) else v for n, v in values.items()}
