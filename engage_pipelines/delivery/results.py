"""What a run of a stream did, and what one would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engage_pipelines.http_client import Limits
from engage_pipelines.state import RunCounts
from engage_pipelines.warehouse import PlanResult


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a run of a stream did; `source_records` is the sum of all the counts below it.

    `corrected` counts records that were taken back by a return; they are considered, and counted, a second time.
    """

    flow: str
    source_records: int = 0
    delivered: int = 0
    accepted: int = 0
    rejected: int = 0
    pending: int = 0
    in_doubt: int = 0
    diverged: int = 0
    unchanged: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    minimal_calls: int = 0
    seconds: float = 0.0
    corrected: int = 0

    @property
    def is_balanced(self) -> bool:
        """True if every record considered ended in exactly one place."""
        ended = self.delivered + self.accepted + self.rejected + self.pending + self.in_doubt
        return self.source_records == ended + self.diverged + self.unchanged + sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do, without doing it.

    Attributes:
        calls: the least number of calls; a stream that looks each record up first makes more.
        minutes: how long those calls take at the platform's rates.
        first: the first payloads that would go out, by record, with what identifies a person masked.
        warnings: guard rails that a run would stop at.
    """

    flow: str
    source_records: int
    new: int
    changed: int
    again: int
    unchanged: int
    rejected: Mapping[str, int]
    diverged: int
    in_doubt: int
    waiting: int
    skipped: Mapping[str, int]
    calls: int
    minutes: float
    first: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def preview_of(
    flow: str, plan: PlanResult, calls: int, limits: Limits, first: Mapping[str, Any], warnings: tuple[str, ...]
) -> Preview:
    """Put a plan into words."""
    return Preview(
        flow=flow, source_records=plan.source_records, new=plan.counts.get("send_new", 0),
        changed=plan.counts.get("send_changed", 0), again=plan.counts.get("send_again", 0),
        unchanged=plan.counts.get("unchanged", 0), rejected=plan.rejected,
        diverged=plan.counts.get("diverged", 0), in_doubt=plan.counts.get("held", 0),
        waiting=plan.counts.get("waiting", 0), skipped=plan.skipped,
        calls=calls, minutes=round(_seconds(calls, limits) / 60, 1), first=first, warnings=warnings,
    )  # fmt: skip


def added(first: Delivered, second: Delivered) -> Delivered:
    """Two runs of a stream as one."""
    counts = (
        "source_records", "delivered", "accepted", "rejected", "pending", "in_doubt", "diverged", "unchanged",
        "calls", "minimal_calls", "seconds", "corrected",
    )  # fmt: skip
    skipped = dict(first.skipped)
    for reason, count in second.skipped.items():
        skipped[reason] = skipped.get(reason, 0) + count
    sums = {name: getattr(first, name) + getattr(second, name) for name in counts}
    return replace(first, skipped=skipped, **sums)


def delivered_of(
    flow: str, plan: PlanResult, counts: Mapping[str, int], *, calls: int, minimal_calls: int, seconds: float
) -> Delivered:
    """Add up what a plan settled without a call and what became of the rest."""
    return Delivered(
        flow=flow, source_records=plan.source_records,
        delivered=counts.get("delivered", 0), accepted=counts.get("accepted", 0),
        rejected=counts.get("rejected", 0) + plan.counts.get("rejected", 0),
        pending=counts.get("pending", 0) + plan.counts.get("waiting", 0),
        in_doubt=counts.get("in_doubt", 0) + plan.counts.get("held", 0),
        diverged=plan.counts.get("diverged", 0), unchanged=plan.counts.get("unchanged", 0),
        skipped=plan.skipped, calls=calls, minimal_calls=minimal_calls, seconds=round(seconds, 3),
    )  # fmt: skip


def run_counts(result: Delivered) -> RunCounts:
    """The counts of a run as they are noted."""
    return RunCounts(
        source_record_count=result.source_records, delivered_count=result.delivered,
        accepted_count=result.accepted, rejected_count=result.rejected, pending_count=result.pending,
        in_doubt_count=result.in_doubt, diverged_count=result.diverged, unchanged_count=result.unchanged,
        skipped_count=sum(result.skipped.values()), call_count=result.calls, minimal_call_count=result.minimal_calls,
        skipped=dict(result.skipped),
    )  # fmt: skip


def _seconds(calls: int, limits: Limits) -> float:
    """How long calls take at the rates alone: a window that is full lets the next call in when it is over."""
    return max((max(0, calls - 1) // rate.requests * rate.seconds for rate in limits.rates), default=0.0)
