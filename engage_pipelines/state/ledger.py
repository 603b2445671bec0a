"""The ledger: one row per destination, stream and record, and what became of it.

States: `sending` (noted before the call), `delivered`, `accepted`, `rejected`, `pending`, `in_doubt` (a run
died or lost the answer between sending and noting; a person or a policy decides), `diverged` (changed after
an immutable delivery).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engage_pipelines.state.database import DELIVERIES, DELIVERY_RUNS

_HOLDS = ("delivered", "accepted")
_CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one record's attempt."""

    record_key: str
    state: str
    reason: str | None = None
    vendor_code: str | None = None
    vendor_id: str | None = None


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


class Ledger:
    """Reads and writes the ledger of one stream at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def known(self, destination: str, stream: str) -> pa.Table:
        """What the ledger knows of a stream: `record_key, state, payload_hash, delivered_hash`."""
        columns = [DELIVERIES.c[n] for n in ("record_key", "state", "payload_hash", "delivered_hash")]
        query = sa.select(*columns).where(*_of(destination, stream))
        return self._arrow(query, [c.name for c in columns], timestamps=())

    def open_run(self, run_id: str, destination: str, stream: str, now: datetime) -> None:
        """Note that a run of the stream has begun."""
        values = {"run_id": run_id, "destination": destination, "stream": stream, "started_at": now}
        with self._engine.begin() as connection:
            connection.execute(sa.insert(DELIVERY_RUNS).values(values))

    def close_run(self, run_id: str, counts: RunCounts, now: datetime) -> None:
        """Note the end of a run and what it did."""
        values = {**asdict(counts), "skipped": json.dumps(counts.skipped, sort_keys=True), "ended_at": now}
        with self._engine.begin() as connection:
            connection.execute(sa.update(DELIVERY_RUNS).where(DELIVERY_RUNS.c.run_id == run_id).values(values))

    def runs_since(self, moment: datetime) -> list[dict[str, Any]]:
        """The runs that began at or after a moment, oldest first; keys are the columns of `ops.delivery_runs`."""
        query = (
            sa.select(DELIVERY_RUNS).where(DELIVERY_RUNS.c.started_at >= moment).order_by(DELIVERY_RUNS.c.started_at)
        )
        with self._engine.connect() as connection:
            return [
                {**row, "skipped": json.loads(row["skipped"] or "{}")} for row in connection.execute(query).mappings()
            ]

    def find_in_doubt(self, destination: str, stream: str) -> list[str]:
        """Turn `sending` rows into `in_doubt` ones and give the keys of all in doubt.

        The caller holds the stream's lock, so a row that is still `sending` belongs to a run that died.
        """
        here = _of(destination, stream)
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(DELIVERIES)
                .where(*here, DELIVERIES.c.state == "sending")
                .values(state="in_doubt", reason="the run ended between sending and noting")
            )
            rows = connection.execute(sa.select(DELIVERIES.c.record_key).where(*here, DELIVERIES.c.state == "in_doubt"))
            return [row.record_key for row in rows]

    def begin(
        self, destination: str, stream: str, batch_id: str, run_id: str, rows: Iterable[tuple[str, str]], now: datetime
    ) -> None:
        """Step 1: commit `sending` for (record_key, payload_hash) rows before the call leaves."""
        values = [
            {
                "destination": destination, "stream": stream, "record_key": key, "state": "sending",
                "payload_hash": payload_hash, "batch_id": batch_id, "run_id": run_id, "attempt_count": 1,
                "first_attempt_at": now, "last_attempt_at": now,
            }
            for key, payload_hash in rows
        ]  # fmt: skip
        self._upsert(
            values,
            lambda new: {
                "state": new.state, "payload_hash": new.payload_hash, "batch_id": new.batch_id, "run_id": new.run_id,
                "attempt_count": DELIVERIES.c.attempt_count + 1, "last_attempt_at": new.last_attempt_at,
                "first_attempt_at": sa.func.coalesce(DELIVERIES.c.first_attempt_at, new.first_attempt_at),
                "reason": None, "vendor_code": None,
            },
        )  # fmt: skip

    def settle(self, destination: str, stream: str, outcomes: Sequence[Settlement], now: datetime) -> None:
        """Step 3: commit one outcome per record."""
        if not outcomes:
            return
        statement = (
            sa.update(DELIVERIES)
            .where(*_of(destination, stream), DELIVERIES.c.record_key == sa.bindparam("b_key"))
            .values(
                state=sa.bindparam("b_state"),
                reason=sa.bindparam("b_reason"),
                vendor_code=sa.bindparam("b_code"),
                vendor_id=sa.func.coalesce(sa.bindparam("b_id", type_=sa.String), DELIVERIES.c.vendor_id),
                delivered_hash=sa.case(
                    (sa.bindparam("b_holds", type_=sa.Boolean), DELIVERIES.c.payload_hash),
                    else_=DELIVERIES.c.delivered_hash,
                ),
                settled_at=sa.bindparam("b_now"),
            )
        )
        values = [
            {
                "b_key": o.record_key, "b_state": o.state, "b_reason": (o.reason or "")[:400] or None,
                "b_code": (o.vendor_code or "")[:64] or None, "b_id": (o.vendor_id or "")[:128] or None,
                "b_holds": o.state in _HOLDS, "b_now": now,
            }
            for o in outcomes
        ]  # fmt: skip
        with self._engine.begin() as connection:
            connection.execute(statement, values)

    def note(self, destination: str, stream: str, notes: Iterable[tuple[str, str, str, str]], now: datetime) -> None:
        """Note records that are settled without a call: (record_key, state, payload_hash, reason)."""
        values = [
            {
                "destination": destination, "stream": stream, "record_key": key, "state": state,
                "payload_hash": payload_hash, "reason": reason[:400], "attempt_count": 0, "settled_at": now,
            }
            for key, state, payload_hash, reason in notes
        ]  # fmt: skip
        self._upsert(
            values,
            lambda new: {
                "state": new.state, "payload_hash": new.payload_hash, "reason": new.reason,
                "vendor_code": None, "settled_at": new.settled_at,
            },
        )  # fmt: skip

    def states(self, destination: str | None = None, stream: str | None = None) -> dict[tuple[str, str, str], int]:
        """(destination, stream, state) -> records."""
        d = DELIVERIES.c
        query = sa.select(d.destination, d.stream, d.state, sa.func.count()).group_by(d.destination, d.stream, d.state)
        if destination:
            query = query.where(d.destination == destination)
        if stream:
            query = query.where(d.stream == stream)
        with self._engine.connect() as connection:
            return {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)}

    def held_keys(self, destination: str, stream: str) -> list[str]:
        """Keys of the records that the destination holds."""
        query = sa.select(DELIVERIES.c.record_key).where(
            *_of(destination, stream), DELIVERIES.c.delivered_hash.is_not(None)
        )
        with self._engine.connect() as connection:
            return [row[0] for row in connection.execute(query)]

    def mirror(self) -> dict[str, pa.Table]:
        """The ledger as Arrow tables for the published warehouse: full table name -> rows."""
        mirrored = [c for c in DELIVERIES.c if c.name not in {"run_id", "vendor_id"}]
        return {
            "ops.deliveries": self._arrow(
                sa.select(*mirrored),
                [c.name for c in mirrored],
                timestamps=("first_attempt_at", "last_attempt_at", "settled_at"),
            ),
            "ops.delivery_runs": self._arrow(
                sa.select(DELIVERY_RUNS), [c.name for c in DELIVERY_RUNS.c], timestamps=("started_at", "ended_at")
            ),
        }

    def _upsert(self, values: list[dict[str, Any]], changes: Any) -> None:
        if not values:
            return
        statement = self._insert(DELIVERIES)
        key = ["destination", "stream", "record_key"]
        statement = statement.on_conflict_do_update(index_elements=key, set_=changes(statement.excluded))
        with self._engine.begin() as connection:
            connection.execute(statement, values)

    def _arrow(self, query: Any, names: list[str], *, timestamps: tuple[str, ...]) -> pa.Table:
        types = {
            name: pa.timestamp("us", tz="UTC")
            if name in timestamps
            else pa.int64()
            if name.endswith("_count")
            else pa.string()
            for name in names
        }
        schema = pa.schema([(name, types[name]) for name in names])
        batches = []
        with self._engine.connect() as connection:
            result = connection.execution_options(yield_per=_CHUNK).execute(query)
            for rows in result.partitions():
                columns = list(zip(*rows, strict=True))
                arrays = [pa.array(column, types[n]) for n, column in zip(names, columns, strict=True)]
                batches.append(pa.record_batch(arrays, schema=schema))
        return pa.Table.from_batches(batches, schema=schema)


def _of(destination: str, stream: str) -> tuple[Any, Any]:
    return (DELIVERIES.c.destination == destination, DELIVERIES.c.stream == stream)
