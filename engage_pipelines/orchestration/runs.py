"""Running jobs in this process, on the instance that the UI shows: for the demonstration and for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

_PROCESS_TAG = "engage/process"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# The path of an asset key, e.g. ("aiq", "sales").
AssetPath = Sequence[str]
# Asset name -> metadata of its materialization.
Metadata = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class InProcess:
    """Definitions and the instance to run them on."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance

    def run_days(self, job: str, days: tuple[date, date], assets: Sequence[AssetPath] | None = None) -> Metadata:
        """Run a job for the days `first..last` as one run, all assets or some; gives what the assets said.

        Raises:
            Exception: the first error of the run, as the asset raised it.
        """
        first, last = days[0].isoformat(), days[1].isoformat()
        result = self.definitions.resolve_job_def(job).execute_in_process(
            run_config=_QUIET,
            instance=self.instance,
            tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last, **_this_process()},
            asset_selection=[dg.AssetKey(list(path)) for path in assets] if assets is not None else None,
        )
        return _metadata_of(result)

    def run_partition(self, job: str, partition: str) -> Metadata:
        """Run a job for one partition; gives what the assets said."""
        result = self.definitions.resolve_job_def(job).execute_in_process(
            run_config=_QUIET, instance=self.instance, partition_key=partition, tags=_this_process()
        )
        return _metadata_of(result)

    def partition_keys(self, asset: AssetPath) -> Sequence[str]:
        """All partition keys of an asset."""
        node = self.definitions.resolve_asset_graph().get(dg.AssetKey(list(asset)))
        return node.partitions_def.get_partition_keys() if node.partitions_def else []


@contextmanager
def in_process(definitions: dg.Definitions) -> Iterator[InProcess]:
    """Open the instance that DAGSTER_HOME names, for these definitions."""
    with dg.DagsterInstance.get() as instance:
        _bury_dead_runs(instance)
        yield InProcess(definitions, instance)


def _this_process() -> dict[str, str]:
    return {_PROCESS_TAG: str(os.getpid())}


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs of processes that are gone as failed, and give back their pool slots.

    The daemon does that for the runs it launched; nobody else would do it for these, and the next one would wait
    for a slot for ever.
    """
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    for run in instance.get_runs(unfinished):
        process = run.tags.get(_PROCESS_TAG)
        if process is not None and not _is_alive(int(process)):
            instance.report_run_failed(run, "its process ended before the run did; run it again")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def _metadata_of(result: dg.ExecuteInProcessResult) -> Metadata:
    found: Metadata = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        name = "/".join(materialization.asset_key.path)
        found[name] = {key: value.value for key, value in materialization.metadata.items()}
    return found
