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
from engage_pipelines.orchestration.lineage import Pairs, filled_together, read_by_delivery, read_by_loads, tables_of
from engage_pipelines.orchestration.loading import load_days, load_present_state
from engage_pipelines.orchestration.partitions import business_range, daily, days_of, months_before
from engage_pipelines.orchestration.recording import DayRecorder
from engage_pipelines.warehouse import Selection

# The step of `ops/published`: it succeeds once a night has loaded everything.
PUBLISHED_STEP = "ops__published"
WAREHOUSE_POOL = "warehouse"
# What opens the warehouse and is waited for by nobody: one at a time, so that a delivery's plan gets its turn.
READERS_POOL = "readers"
# A run with this tag goes back over the trailing days and over any night that was missed.
REREAD_TAG = "engage/reread"
# A load with this tag shapes also what core has in the same version: after an upgrade that changed a mapping.
ANEW_TAG = "engage/anew"
_ONE_RUN = dg.BackfillPolicy.single_run()
# Of steps that may begin at the same moment, whose vendor is waited for longest comes first: a call for each record,
# then other deliveries, then checks (0), then the first publication.
_LONG_DELIVERY, _DELIVERY, _PUBLICATION = "2", "1", "-1"
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


def core_assets(desk: Desk) -> list[dg.AssetsDefinition]:
    """The core tables: one step for those that the same entities fill, so that one which fails stops no other."""
    pairs = [(source, entity) for source in desk.sources for entity in source.entities]
    together = [filled_together([p for p in pairs if p[1].windowed is windowed]) for windowed in (False, True)]
    return [_load(desk, group) for groups in together for group in groups]


def _load(desk: Desk, pairs: Pairs) -> dg.AssetsDefinition:
    tables, windowed = tables_of(pairs), pairs[0][1].windowed

    @dg.multi_asset(
        name=f"load_{tables[0]}",
        specs=[_core_spec(desk, table, pairs, windowed=windowed) for table in tables],
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
        for table in tables:
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
        deps=[
            *(["core", table] for table in read_by_delivery(destination, stream)),
            *([destination.name, name] for name in stream.after),
        ],
        pool=f"destination_{destination.name}",
        op_tags={PRIORITY_TAG: _LONG_DELIVERY if stream.limits.items == 1 else _DELIVERY},
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
    """`ops/published`: the analysts' copy; no platform holds it up."""
    entities = [(source, entity) for source in desk.sources for entity in source.entities]

    @dg.asset(
        key=["ops", "published"],
        group_name="ops",
        kinds={"duckdb"},
        description="The copy of the warehouse that analysts open, as soon as everything is loaded.",
        deps=[["core", table] for table in tables_of(entities)],
        pool=READERS_POOL,
        op_tags={PRIORITY_TAG: _PUBLICATION},
    )
    def published() -> dg.MaterializeResult[Any]:
        return _publish(desk, with_ledger=False)

    return published


def deliveries_asset(desk: Desk) -> dg.AssetsDefinition:
    """`ops/deliveries`: the ledger in the analysts' copy, once the deliveries are through."""
    streams = [[d.name, s.name] for d in desk.destinations for s in d.streams if not s.history]

    @dg.asset(
        key=["ops", "deliveries"],
        group_name="ops",
        kinds={"duckdb"},
        description="What went where: the ledger in the copy that analysts open, after the deliveries.",
        deps=[*streams, ["ops", "published"]],
        pool=WAREHOUSE_POOL,
    )
    def deliveries() -> dg.MaterializeResult[Any]:
        return _publish(desk, with_ledger=True)

    return deliveries


def _publish(desk: Desk, *, with_ledger: bool) -> dg.MaterializeResult[Any]:
    with as_dagster_failure():
        result = desk.publish(with_ledger=with_ledger)
    rows = {f"rows {name}": count for name, count in result.rows.items()}
    return dg.MaterializeResult(metadata=_metadata({"bytes": result.bytes, "seconds": result.seconds, **rows}))


def _is_reread(context: dg.AssetExecutionContext) -> bool:
    return _is_tagged(context, REREAD_TAG)


def _is_tagged(context: dg.AssetExecutionContext, tag: str) -> bool:
    return context.run.tags.get(tag) == "true"


def _core_spec(desk: Desk, name: str, pairs: Pairs, *, windowed: bool) -> dg.AssetSpec:
    table = TABLE_BY_NAME[f"core.{name}"]
    columns = [
        dg.TableColumn(c.name, c.duckdb_type, c.description, dg.TableColumnConstraints(nullable=not c.required))
        for c in table.columns
    ]
    return dg.AssetSpec(
        ["core", name],
        group_name="core",
        kinds={"duckdb"},
        description=table.description,
        partitions_def=daily(desk) if windowed else None,
        deps=[
            *(["raw", f"{s.name}__{e.name}"] for s, e in pairs if name in e.tables),
            *(["core", table] for table in read_by_loads(pairs)),
        ],
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
