"""Running a job as a run's own process does: with the job's executor, which `execute_in_process` replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


def run_job(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    *,
    tags: Mapping[str, str] | None = None,
    execution: Mapping[str, Any] | None = None,
) -> dg.DagsterRun:
    """Run a job to its end, however it ends; gives the run as the instance then has it."""
    config = {"loggers": _QUIET, "execution": {"config": dict(execution or {})}}
    run = instance.create_run_for_job(job, run_config=config, tags=tags)
    execute_run(InMemoryJob(job), run, instance)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    return ended
