"""The runs of streams: when they were, what they planned and what they did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from engage_pipelines.state.database import DELIVERY_RUNS


@dataclass(slots=True)
class RunCounts:
    """What a delivery run did, as counted at its end."""

    source_record_count: int = 0
    delivered_count: int = 0
    accepted_count: int = 0
    rejected_count: int = 0
    pending_count: int = 0
    in_doubt_count: int = 0
    diverged_count: int = 0
    unchanged_count: int = 0
    skipped_count: int = 0
    call_count: int = 0
    minimal_call_count: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanSize:
    """How much a run set out to send.

    Attributes:
        records: records to send.
        amounts: currency -> sum of their amounts, for streams of receipts.
        days: days that it looked at.
        reach: how far it looked: `everything`, `owed` (all that the stream owes), `days` or `keys`.
    """

    records: int = 0
    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    days: int = 1
    reach: str = "everything"


class Runs:
    """Reads and writes the list of runs."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def open(self, run_id: str, destination: str, stream: str, size: PlanSize, now: datetime) -> None:
        """Note that a run of the stream has begun and what it is about to send."""
        values = {
            "run_id": run_id, "destination": destination, "stream": stream, "started_at": now,
            "planned_count": size.records, "day_count": size.days, "reach": size.reach,
            "planned_amounts": json.dumps({k: str(v) for k, v in sorted(size.amounts.items())}),
        }  # fmt: skip
        with self._engine.begin() as connection:
            connection.execute(sa.insert(DELIVERY_RUNS).values(values))

    def close(self, run_id: str, counts: RunCounts, now: datetime) -> None:
        """Note the end of a run and what it did."""
        values = {**asdict(counts), "skipped": json.dumps(counts.skipped, sort_keys=True), "ended_at": now}
        with self._engine.begin() as connection:
            connection.execute(sa.update(DELIVERY_RUNS).where(DELIVERY_RUNS.c.run_id == run_id).values(values))

    def since(self, moment: datetime) -> list[dict[str, Any]]:
        """The runs that began at or after a moment, oldest first; keys are the columns of `ops.delivery_runs`."""
        r = DELIVERY_RUNS.c
        query = sa.select(DELIVERY_RUNS).where(r.started_at >= moment).order_by(r.started_at)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [{**row, "skipped": json.loads(row["skipped"] or "{}")} for row in rows]

    def first_start(self, destination: str, stream: str) -> datetime | None:
        """When the stream ran for the first time."""
        return self._moment(sa.func.min(DELIVERY_RUNS.c.started_at), *_of(destination, stream))

    def last_whole_start(self, destination: str, stream: str) -> datetime | None:
        """When the last run began that left nothing behind, of all that was owed then."""
        r = DELIVERY_RUNS.c
        all_owed = _reach().in_(["everything", "owed"])
        # What is held in doubt is compared again once it is settled, with all that has happened to it meanwhile.
        behind = sa.func.coalesce(r.pending_count, 0) + sa.func.coalesce(r.in_doubt_count, 0)
        left_nothing = (r.ended_at.is_not(None), behind == 0, all_owed)
        return self._moment(sa.func.max(r.started_at), *_of(destination, stream), *left_nothing)

    def last_good_size(self, destination: str, stream: str) -> PlanSize | None:
        """What the last run set out to send that ended and brought something there."""
        r = DELIVERY_RUNS.c
        brought = sa.func.coalesce(r.delivered_count, 0) + sa.func.coalesce(r.accepted_count, 0) > 0
        query = (
            sa.select(r.planned_count, r.planned_amounts, r.day_count)
            .where(*_of(destination, stream), r.ended_at.is_not(None), r.planned_count > 0, brought, _reach() != "keys")
            .order_by(r.started_at.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        amounts = {currency: Decimal(text) for currency, text in json.loads(row.planned_amounts or "{}").items()}
        return PlanSize(row.planned_count, amounts, row.day_count or 1)

    def _moment(self, value: Any, *conditions: Any) -> datetime | None:
        with self._engine.connect() as connection:
            found: datetime | None = connection.execute(sa.select(value).where(*conditions)).scalar()
        return found


def _reach() -> Any:
    # An older release noted none; it looked at days, and at night at all that was owed.
    return sa.func.coalesce(DELIVERY_RUNS.c.reach, "owed")


def _of(destination: str, stream: str) -> tuple[Any, Any]:
    return (DELIVERY_RUNS.c.destination == destination, DELIVERY_RUNS.c.stream == stream)
