"""Recording days as they are done, inside a run of many days, so that a failure keeps what came before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import dagster as dg

from engage_pipelines.orchestration.instance_storage import BurstEventLogStorage


def record_days(
    context: dg.AssetExecutionContext,
    asset_keys: Sequence[dg.AssetKey],
    days: Sequence[str],
    metadata: Mapping[str, Any],
) -> None:
    """Note days of assets as materialized, now.

    Dagster notes every partition again when the step succeeds; this is what remains when it does not.
    """
    if len(context.partition_keys) < 2:
        return
    with _burst(context):
        for asset_key in asset_keys:
            for day in days:
                context.log_event(dg.AssetMaterialization(asset_key=asset_key, partition=day, metadata=dict(metadata)))


@contextmanager
def _burst(context: dg.AssetExecutionContext) -> Iterator[None]:
    storage = context.instance.event_log_storage
    with storage.burst(context.run_id) if isinstance(storage, BurstEventLogStorage) else nullcontext():
        yield
