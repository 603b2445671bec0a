"""The ledger: one row per destination, stream and record, and what became of it.

States: `sending` (noted before the call), `delivered`, `accepted`, `rejected`, `pending`, `in_doubt` (a run
died or lost the answer between sending and noting; a policy or a person decides), `diverged` (changed after
an immutable delivery), `skipped` (was tried once, does not go there any more), `discarded` (refused, and a person
has put it aside).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engage_pipelines.state.arrow import read_arrow
from engage_pipelines.state.database import DELIVERIES, DELIVERY_BATCHES, DELIVERY_RUNS

_HOLDS = ("delivered", "accepted")
_SETTLED = ("delivered", "accepted")
_KNOWN = ("record_key", "state", "payload_hash", "delivered_hash", "correction_count")
# Keys of one statement: both databases bound the number of parameters.
_SLICE = 500
_KEY = ("destination", "stream", "record_key")


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one record's attempt."""

    record_key: str
    state: str
    reason: str | None = None
    vendor_code: str | None = None
    vendor_id: str | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """A record that may or may not have arrived, and the run and form in which it was sent."""

    record_key: str
    payload_hash: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """How a batch ended.

    Attributes:
        batch_id: its id.
        run_id: the run it belongs to.
        call_count: calls made, repeats included.
        route: method and path of the last one.
        status: HTTP status of the last one; None without an answer.
        request_id: the platform's id of the last one, where it tells.
        answer: one sentence on what went wrong, if anything.
    """

    batch_id: str
    run_id: str
    call_count: int = 0
    route: str | None = None
    status: int | None = None
    request_id: str | None = None
    answer: str | None = None


class Ledger:
    """Reads and writes the ledger of one stream at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def known(self, destination: str, stream: str, keys: Sequence[str] | None = None) -> pa.Table:
        """What the ledger knows, of all records or of some.

        Columns: `record_key, state, payload_hash, delivered_hash, correction_count`.
        """
        query = sa.select(*(DELIVERIES.c[name] for name in _KNOWN)).where(*_of(destination, stream))
        if keys is not None:
            query = query.where(DELIVERIES.c.record_key.in_(self._listed(keys)))
        return read_arrow(self._engine, query, _KNOWN)

    def unsettled(self, destination: str, stream: str) -> pa.Table:
        """The records that are neither delivered nor accepted, in the form of `known`."""
        query = sa.select(*(DELIVERIES.c[name] for name in _KNOWN)).where(*_of(destination, stream), _is_unsettled())
        return read_arrow(self._engine, query, _KNOWN)

    def find_in_doubt(self, destination: str, stream: str) -> list[Doubt]:
        """Turn `sending` rows into `in_doubt` ones and give all in doubt.

        The caller holds the stream's lock, so a row that is still `sending` belongs to a run that died.
        """
        here = (*_of(destination, stream), _is_unsettled())
        d = DELIVERIES.c
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(DELIVERIES)
                .where(*here, d.state == "sending")
                .values(state="in_doubt", reason="the run ended between sending and noting")
            )
            rows = connection.execute(
                sa.select(d.record_key, d.payload_hash, d.run_id).where(*here, d.state == "in_doubt")
            )
            return [Doubt(row.record_key, row.payload_hash, row.run_id) for row in rows]

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
        batch = {
            "batch_id": batch_id, "run_id": run_id, "destination": destination, "stream": stream,
            "record_count": len(values), "started_at": now,
        }  # fmt: skip
        with self._engine.begin() as connection:
            self._upsert(
                connection,
                values,
                lambda new: {
                    "state": new.state, "payload_hash": new.payload_hash, "batch_id": new.batch_id,
                    "run_id": new.run_id, "attempt_count": DELIVERIES.c.attempt_count + 1,
                    "last_attempt_at": new.last_attempt_at,
                    "first_attempt_at": sa.func.coalesce(DELIVERIES.c.first_attempt_at, new.first_attempt_at),
                    "reason": None, "vendor_code": None,
                },
            )  # fmt: skip
            if values:
                connection.execute(self._insert(DELIVERY_BATCHES).values(batch).on_conflict_do_nothing())

    def settle(
        self,
        destination: str,
        stream: str,
        outcomes: Sequence[Settlement],
        now: datetime,
        end: BatchEnd | None = None,
    ) -> None:
        """Step 3: commit one outcome per record, and how their batch ended."""
        if not outcomes:
            return
        with self._engine.begin() as connection:
            connection.execute(_settling(destination, stream), [_settled(outcome, now) for outcome in outcomes])
            if end is not None:
                connection.execute(_ending(end, outcomes, now))

    def note(self, destination: str, stream: str, notes: Iterable[tuple[str, str, str, str]], now: datetime) -> None:
        """Note records that are settled without a call: (record_key, state, payload_hash, reason)."""
        values = [
            {
                "destination": destination, "stream": stream, "record_key": key, "state": state,
                "payload_hash": payload_hash, "reason": reason and reason[:400], "attempt_count": 0, "settled_at": now,
            }
            for key, state, payload_hash, reason in notes
        ]  # fmt: skip
        with self._engine.begin() as connection:
            self._upsert(
                connection,
                values,
                lambda new: {
                    "state": new.state, "payload_hash": new.payload_hash, "reason": new.reason,
                    "vendor_code": None, "settled_at": new.settled_at,
                },
            )  # fmt: skip

    def take_back(self, destination: str, stream: str, keys: Sequence[str], now: datetime) -> None:
        """Note that the platform holds these records no more, because a return undid them: they go out anew."""
        d = DELIVERIES.c
        values = {
            "state": "pending", "delivered_hash": None, "correction_count": d.correction_count + 1,
            "reason": "changed after delivery, taken back by a return", "settled_at": now,
        }  # fmt: skip
        with self._engine.begin() as connection:
            for start in range(0, len(keys), _SLICE):
                here = (*_of(destination, stream), d.record_key.in_(keys[start : start + _SLICE]))
                connection.execute(sa.update(DELIVERIES).where(*here).values(values))

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
        hidden = {"vendor_id"}
        return {
            f"ops.{table.name}": read_arrow(self._engine, sa.select(*columns), [c.name for c in columns])
            for table in (DELIVERIES, DELIVERY_RUNS, DELIVERY_BATCHES)
            if (columns := [c for c in table.c if c.name not in hidden])
        }

    def _listed(self, keys: Sequence[str]) -> Any:
        """Keys as a subquery of one parameter, however many they are."""
        if self._engine.dialect.name == "postgresql":
            return sa.select(sa.func.unnest(sa.bindparam("keys", list(keys), type_=postgresql.ARRAY(sa.Text))))
        listed = sa.func.json_each(json.dumps(list(keys))).table_valued("value")
        return sa.select(listed.c.value)

    def _upsert(self, connection: sa.Connection, values: list[dict[str, Any]], changes: Any) -> None:
        if values:
            statement = self._insert(DELIVERIES)
            statement = statement.on_conflict_do_update(index_elements=_KEY, set_=changes(statement.excluded))
            connection.execute(statement, values)


def _of(destination: str, stream: str) -> tuple[Any, Any]:
    return (DELIVERIES.c.destination == destination, DELIVERIES.c.stream == stream)


def _is_unsettled() -> Any:
    # Written out, not bound: only so does the planner see that the partial index is meant.
    return DELIVERIES.c.state.not_in([sa.literal_column(f"'{state}'") for state in _SETTLED])


def _settling(destination: str, stream: str) -> Any:
    d = DELIVERIES.c
    holds = sa.bindparam("b_holds", type_=sa.Boolean)
    return (
        sa.update(DELIVERIES)
        .where(*_of(destination, stream), d.record_key == sa.bindparam("b_key"))
        .values(
            state=sa.bindparam("b_state"),
            reason=sa.bindparam("b_reason"),
            vendor_code=sa.bindparam("b_code"),
            vendor_id=sa.func.coalesce(sa.bindparam("b_id", type_=sa.String), d.vendor_id),
            delivered_hash=sa.case((holds, d.payload_hash), else_=d.delivered_hash),
            delivered_at=sa.case((holds, sa.bindparam("b_now")), else_=d.delivered_at),
            delivered_batch_id=sa.case((holds, d.batch_id), else_=d.delivered_batch_id),
            settled_at=sa.bindparam("b_now"),
        )
    )


def _settled(outcome: Settlement, now: datetime) -> dict[str, Any]:
    return {
        "b_key": outcome.record_key, "b_state": outcome.state, "b_reason": (outcome.reason or "")[:400] or None,
        "b_code": (outcome.vendor_code or "")[:64] or None, "b_id": (outcome.vendor_id or "")[:128] or None,
        "b_holds": outcome.state in _HOLDS, "b_now": now,
    }  # fmt: skip


def _ending(end: BatchEnd, outcomes: Sequence[Settlement], now: datetime) -> Any:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
    b = DELIVERY_BATCHES.c
    return (
        sa.update(DELIVERY_BATCHES)
        .where(b.batch_id == end.batch_id, b.run_id == end.run_id)
        .values(
            ended_at=now, call_count=end.call_count, route=end.route and end.route[:200], status=end.status,
            request_id=end.request_id, outcomes=json.dumps(counts, sort_keys=True),
            answer=end.answer and end.answer[:400],
        )
    )  # fmt: skip
