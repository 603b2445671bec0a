"""Running jobs in this process, on the instance that the UI shows: for the demonstration and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_days(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    days: tuple[date, date],
    assets: Sequence[dg.AssetKey] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job for the days `first..last` as one run, all assets or some.

    Raises:
        Exception: the first error of the run, as the asset raised it.
    """
    tags = {ASSET_PARTITION_RANGE_START_TAG: days[0].isoformat(), ASSET_PARTITION_RANGE_END_TAG: days[1].isoformat()}
    return defs.resolve_job_def(job).execute_in_process(
        run_config=_QUIET, instance=instance, tags=tags, asset_selection=assets
    )


def run_partition(
    defs: dg.Definitions, instance: dg.DagsterInstance, job: str, partition: str
) -> dg.ExecuteInProcessResult:
    """Run a job for one partition."""
    return defs.resolve_job_def(job).execute_in_process(run_config=_QUIET, instance=instance, partition_key=partition)


def partition_keys(defs: dg.Definitions, asset: dg.AssetKey) -> Sequence[str]:
    """All partition keys of an asset."""
    partitions = defs.resolve_asset_graph().get(asset).partitions_def
    return partitions.get_partition_keys() if partitions else []


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Asset name -> metadata values of its last materialization in a run."""
    found: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        name = "/".join(materialization.asset_key.path)
        found[name] = {key: value.value for key, value in materialization.metadata.items()}
    return found
