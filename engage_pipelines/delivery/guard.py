"""Guard rails: a plan that jumps beyond what is usual is refused, because what was sent cannot be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from engage_pipelines.errors import GuardError
from engage_pipelines.state import PlanSize
from engage_pipelines.warehouse import PlanResult


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is usual.

    Attributes:
        growth: how many times the records, or the amount, of the last good run may be sent, per day looked at.
        changed_share: share of the records held by the platform that may change at once, 0 to 1.
        gone_share: share of the records held by the platform that may vanish from the source at once, 0 to 1.
        floor: fewer records than this are never judged.
    """

    growth: float = 10.0
    changed_share: float = 0.5
    gone_share: float = 0.2
    floor: int = 1000


def refuse_a_jump(flow: str, plan: PlanResult, size: PlanSize, last: PlanSize | None, bounds: Bounds) -> None:
    """Refuse a plan that is out of bounds.

    Args:
        flow: name for the message.
        plan: what would be sent.
        size: the same as numbers.
        last: what the last good run of the stream set out to send; None before the first one.
        bounds: what is usual.

    Raises:
        GuardError: says what jumped, and how to let it through.
    """
    jumps = find_jumps(plan, size, last, bounds)
    if jumps:
        raise GuardError(
            f"{flow}: nothing was sent, because {'; '.join(jumps)}. Look at it with --dry-run; if it is right, run "
            "it again with --yes-really (in Dagster: yes_really: true)"
        )


def find_jumps(plan: PlanResult, size: PlanSize, last: PlanSize | None, bounds: Bounds) -> list[str]:
    """Everything in a plan that is out of bounds, in words."""
    return [*_growth(size, last, bounds), *_shares(plan, bounds)]


def _growth(size: PlanSize, last: PlanSize | None, bounds: Bounds) -> Iterator[str]:
    if last is None or size.records <= bounds.floor:
        return
    usual = Decimal(bounds.growth) * size.days / last.days
    if size.records > usual * last.records:
        yield f"{size.records:,} records are to go out, the last good run had {last.records:,}"
    for currency, amount in size.amounts.items():
        before = last.amounts.get(currency)
        if before and abs(amount) > usual * abs(before):
            yield f"{amount:,.2f} {currency} are to go out, the last good run had {before:,.2f}"


def _shares(plan: PlanResult, bounds: Bounds) -> Iterator[str]:
    changed, unchanged = plan.counts.get("send_changed", 0), plan.counts.get("unchanged", 0)
    # Only a look at everything knows what is usual: a day has the receipts that changed, and no others.
    if plan.is_everything and changed > bounds.floor and changed > bounds.changed_share * (changed + unchanged):
        yield f"{changed:,} of {changed + unchanged:,} records at the platform have changed"
    held = changed + unchanged + plan.gone
    if plan.gone > bounds.floor and plan.gone > bounds.gone_share * held:
        yield f"{plan.gone:,} of {held:,} records at the platform are not in the source any more"
    if plan.withdrawn > bounds.floor and plan.withdrawn > bounds.gone_share * plan.source_records:
        yield f"{plan.withdrawn:,} of {plan.source_records:,} records were delivered and are void now"
