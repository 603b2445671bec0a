"""Runs that have ended, and what is wrong with them, in words for people who do not have the UI before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster._core.events import DagsterEvent
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)

# Of the runs in one message, and of what is wrong with one of them; the rest is counted.
_MOST = 5
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_TOLD = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION}


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended.

    Attributes:
        run: as Dagster has it.
        ended_at: seconds since 1970.
        wrong: what is wrong, a line each; empty if nothing is.
        ways_out: what to do about it, a line each.
    """

    run: dg.DagsterRun
    ended_at: float
    wrong: Sequence[str]
    ways_out: Sequence[str]

    @property
    def has_failed(self) -> bool:
        """True if a step of it failed or its process ended before it did."""
        return self.run.status is dg.DagsterRunStatus.FAILURE


def ended_runs(instance: dg.DagsterInstance, since: float, location: str | None) -> list[EndedRun]:
    """The runs that ended at or after `since` (seconds since 1970), the earliest first.

    Those that a person stopped are left out, and those that Dagster tries again by itself.

    Args:
        instance: where the runs are.
        since: the moment.
        location: code location; runs of others on the same instance are left out.
    """
    updated = dg.RunsFilter(statuses=_ENDED, updated_after=datetime.fromtimestamp(since, UTC))
    found = [
        (record.end_time, record.dagster_run)
        for record in instance.get_run_records(updated)
        # A run is also updated when somebody tags it, long after its end.
        if record.end_time is not None and record.end_time >= since and _is_ours(record.dagster_run, location)
    ]
    found.sort(key=lambda each: each[0])
    return [_looked_at(instance, run, at) for at, run in found]


def message_about(runs: Sequence[EndedRun], ui_url: str) -> str:
    """One message about all runs with which something is wrong.

    Args:
        runs: those.
        ui_url: where the Dagster UI is; empty leaves links out.
    """
    parts = [_paragraph(run, ui_url) for run in runs[:_MOST]]
    if len(runs) > _MOST:
        parts.append(f"{len(runs) - _MOST} more runs, see the UI.")
    return "\n\n".join(parts)


def _is_ours(run: dg.DagsterRun, location: str | None) -> bool:
    if run.tags.get(WILL_RETRY_TAG) == "true":
        return False
    origin = run.remote_job_origin
    return origin is None or location is None or origin.location_name == location


def _paragraph(ended: EndedRun, ui_url: str) -> str:
    run = ended.run
    verdict = "failed" if ended.has_failed else "ended, but something is wrong"
    lines = [f"engage_pipelines: {_name(run)} {verdict}.", *_first(ended.wrong)]
    where = f"{ui_url.rstrip('/')}/runs/{run.run_id}" if ui_url else run.run_id
    return "\n".join([*lines, *ended.ways_out, f"Run: {where}"])


def _name(run: dg.DagsterRun) -> str:
    """Job and days, e.g. `nightly of 2026-11-30`; runs from the UI's own button have no job of ours."""
    job = "a run of some assets" if run.job_name.startswith("__") else run.job_name
    first = run.tags.get(PARTITION_NAME_TAG) or run.tags.get(ASSET_PARTITION_RANGE_START_TAG)
    last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG, first)
    return f"{job} of {first}{f' to {last}' if last != first else ''}" if first else job


def _first(wrong: Sequence[str]) -> Iterable[str]:
    yield from wrong[:_MOST]
    if len(wrong) > _MOST:
        yield f"and {len(wrong) - _MOST} more"


def _looked_at(instance: dg.DagsterInstance, run: dg.DagsterRun, ended_at: float) -> EndedRun:
    records = instance.get_records_for_run(run.run_id, of_type=_TOLD).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event)]
    failures = [event for event in events if event.is_step_failure]
    wrong = [_failure(event) for event in failures]
    if run.status is dg.DagsterRunStatus.FAILURE and not failures:
        wrong.append("It broke off before its steps had ended: its process was stopped, or could not start.")
    wrong += [text for event in events if not event.is_step_failure for text in _failed_check(event)]
    # Steps that fail together fail for one reason, mostly.
    return EndedRun(run, ended_at, wrong, list(dict.fromkeys(way for event in failures for way in _way_out(event))))


def _failure(event: DagsterEvent) -> str:
    """A step that failed. Only what we said ourselves is told: other errors may quote what they choked on."""
    failed = event.step_failure_data
    step, ours = (event.step_key or "").replace("__", "/", 1), failed.user_failure_data
    if ours and ours.description:
        return f"{step}: {ours.description}"
    error = failed.error and (failed.error.cause or failed.error)
    return f"{step}: {error.cls_name if error else 'failed'}, see the run"


def _way_out(event: DagsterEvent) -> Iterator[str]:
    ours = event.step_failure_data.user_failure_data
    if ours and (way_out := ours.metadata.get("what_to_do")):
        yield f"What to do: {way_out.value}."


def _failed_check(event: DagsterEvent) -> Iterator[str]:
    seen = event.asset_check_evaluation_data
    if not seen.passed and seen.severity is dg.AssetCheckSeverity.ERROR:
        count = seen.metadata.get("count")
        found = f", {count.value} found" if count else ""
        yield f"{'/'.join(seen.asset_key.path)}: check {seen.check_name} failed{found}; see `engage status`"
