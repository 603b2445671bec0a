"""What waits for a person: records that were refused, are in doubt or differ from what a platform holds.

Nothing here is dropped by age or count: a record leaves when it is settled, or when a person puts it aside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engage_pipelines.state.arrow import read_arrow
from engage_pipelines.state.database import DELIVERIES, DELIVERY_BATCHES, FIXES, PAYLOADS
from engage_pipelines.state.steps import take_back
from engage_pipelines.state.under_way import rows_now

_KEY = ("destination", "stream", "record_key")
# Keys of one statement: both databases bound the number of parameters.
_SLICE = 500
_NEVER = datetime.min.replace(tzinfo=UTC)
_LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that waits, and why.

    Attributes:
        payload: JSON text as it was refused; None where none is kept. Personal: mask it before it is shown.
    """

    destination: str
    stream: str
    record_key: str
    state: str
    reason: str | None
    vendor_code: str | None
    attempt_count: int
    first_attempt_at: datetime | None
    last_attempt_at: datetime | None
    settled_at: datetime | None
    run_id: str | None
    payload_hash: str
    delivered_hash: str | None
    delivered_at: datetime | None
    payload: str | None = None

    @property
    def since(self) -> datetime:
        """When it came to wait: its last attempt, or when it was noted without one."""
        return self.last_attempt_at or self.settled_at or _NEVER


@dataclass(frozen=True, slots=True)
class Pile:
    """Records of a stream that wait in the same state for the same reason."""

    destination: str
    stream: str
    state: str
    vendor_code: str | None
    reason: str | None
    records: int


class Queue:
    """Reads and works the records that wait."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def waiting(
        self,
        state: str,
        destination: str | None = None,
        stream: str | None = None,
        *,
        keys: Sequence[str] | None = None,
        vendor_code: str | None = None,
    ) -> list[Waiting]:
        """The records in a state, oldest first."""
        d, p = DELIVERIES.c, PAYLOADS.c
        same = sa.and_(*(d[name] == p[name] for name in _KEY), d.payload_hash == p.payload_hash)
        columns = [d[name] for name in Waiting.__dataclass_fields__ if name != "payload"]
        query = sa.select(*columns, p.payload).select_from(DELIVERIES.outerjoin(PAYLOADS, same))
        query = query.where(*_in_state((state,), destination, stream, vendor_code))
        found = [Waiting(**row) for row in self._rows(query, keys)]
        return sorted(found, key=lambda w: (w.since, w.destination, w.stream, w.record_key))

    def keys_in(
        self,
        states: Sequence[str],
        destination: str,
        stream: str,
        *,
        keys: Sequence[str] | None = None,
        vendor_code: str | None = None,
    ) -> list[str]:
        """The keys of the records of a stream in some states, all or of those named."""
        query = sa.select(DELIVERIES.c.record_key).where(*_in_state(states, destination, stream, vendor_code))
        return sorted(str(row["record_key"]) for row in self._rows(query, keys))

    def piles(self, states: Sequence[str]) -> list[Pile]:
        """The records in some states, counted by stream, code and reason; the largest pile first."""
        d = DELIVERIES.c
        names = (d.destination, d.stream, d.state, d.vendor_code, d.reason)
        query = sa.select(*names, sa.func.count().label("records")).where(*_in_state(states)).group_by(*names)
        found = [Pile(**row) for row in self._rows(query)]
        return sorted(found, key=lambda p: (-p.records, p.destination, p.stream, p.vendor_code or "", p.reason or ""))

    def attempts(self, record_key: str) -> list[dict[str, Any]]:
        """What the ledger knows of a record at every platform: its rows, oldest first.

        Each has the batches that carried it in the form last sent, or in the form that the platform holds, as
        `batches`. Corrections of the record, whose keys begin with its own, are included.
        """
        with self._engine.connect() as connection:
            ledger = rows_now(connection)
        d, prefix = ledger.c, f"{record_key}:"
        # No LIKE: it would take capitals for small letters on SQLite, and the tills' ids tell them apart.
        is_correction = sa.func.substr(d.record_key, 1, len(prefix)) == prefix
        query = sa.select(ledger).where(sa.or_(d.record_key == record_key, is_correction))
        rows = list(self._rows(query.order_by(d.destination, d.stream, d.record_key)))
        batches = self._batches({row[name] for row in rows for name in ("batch_id", "delivered_batch_id")} - {None})
        return [
            {**row, "batches": [b for b in batches if b["batch_id"] in (row["batch_id"], row["delivered_batch_id"])]}
            for row in rows
        ]

    def keep(self, destination: str, stream: str, rows: Iterable[tuple[str, str, str]]) -> None:
        """Keep the payloads of refused records: (record_key, payload_hash, payload)."""
        values = [
            {"destination": destination, "stream": stream, "record_key": k, "payload_hash": h, "payload": p}
            for k, h, p in rows
        ]
        self._replace(PAYLOADS, values)

    def sweep(self, destination: str, stream: str) -> None:
        """Forget the payloads of records that are not refused any more."""
        p = PAYLOADS.c
        refused = sa.select(DELIVERIES.c.record_key).where(*_in_state(("rejected", "discarded"), destination, stream))
        here = (p.destination == destination, p.stream == stream)
        with self._engine.begin() as connection:
            connection.execute(sa.delete(PAYLOADS).where(*here, p.record_key.not_in(refused)))

    def fix(
        self, destination: str, stream: str, record_key: str, *, instead_of: str, payload: str, now: datetime
    ) -> None:
        """Put a payload in the place of the one with the hash `instead_of`, as long as the source gives that one."""
        f = FIXES.c
        here = (f.destination == destination, f.stream == stream, f.record_key == record_key)
        with self._engine.connect() as connection:
            before = connection.execute(sa.select(f.instead_of, f.payload).where(*here)).one_or_none()
        if before and _hash(before.payload) == instead_of:
            # What was refused was a correction itself: both stand in for what the source gives.
            instead_of = before.instead_of
        values = {
            "destination": destination, "stream": stream, "record_key": record_key, "instead_of": instead_of,
            "payload": payload, "fixed_at": now,
        }  # fmt: skip
        self._replace(FIXES, [values])

    def fixes(self, destination: str, stream: str) -> pa.Table:
        """All payloads that stand in for others: `record_key, instead_of, payload`."""
        f, names = FIXES.c, ("record_key", "instead_of", "payload")
        query = sa.select(*(f[name] for name in names)).where(f.destination == destination, f.stream == stream)
        return read_arrow(self._engine, query, names)

    def decide(
        self,
        destination: str,
        stream: str,
        keys: Sequence[str],
        *,
        was: Sequence[str],
        state: str,
        reason: str,
        now: datetime,
    ) -> int:
        """Move records from some states to another because a person says so; gives how many there were.

        What was the reason before stays behind the new one. A record that a person calls delivered is held by the
        platform in the form that was last sent.
        """
        d = DELIVERIES.c
        before = sa.case((d.reason.is_(None), ""), else_=sa.literal(" (was: ") + d.reason + ")")
        text = sa.func.substr(sa.literal(reason) + before, 1, _LONGEST_REASON)
        values: dict[str, Any] = {"state": state, "reason": text, "settled_at": now}
        if state == "delivered":
            held = {"delivered_hash": d.payload_hash, "delivered_at": d.last_attempt_at}
            values |= {**held, "delivered_batch_id": d.batch_id}
        moved = 0
        with self._engine.begin() as connection:
            for some in _slices(keys):
                here = (*_in_state(was, destination, stream), d.record_key.in_(some))
                moved += connection.execute(sa.update(DELIVERIES).where(*here).values(values)).rowcount
            if state == "delivered":
                take_back(connection, (destination, stream), keys, now)
        return moved

    def _rows(self, query: Any, keys: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Rows of a query over the ledger; with keys, in slices of them."""
        queries = [query] if keys is None else [query.where(DELIVERIES.c.record_key.in_(s)) for s in _slices(keys)]
        with self._engine.connect() as connection:
            for each in queries:
                yield from (dict(row) for row in connection.execute(each).mappings())

    def _batches(self, batch_ids: set[str]) -> list[dict[str, Any]]:
        b = DELIVERY_BATCHES.c
        # Not the keys of all that it carries.
        query = (
            sa.select(*(c for c in b if c.name != "sending"))
            .where(b.batch_id.in_(batch_ids))
            .order_by(b.started_at, b.run_id)
        )
        return list(self._rows(query)) if batch_ids else []

    def _replace(self, table: sa.Table, values: list[dict[str, Any]]) -> None:
        if not values:
            return
        statement = self._insert(table)
        changes = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=changes), values)


def _in_state(
    states: Sequence[str], destination: str | None = None, stream: str | None = None, vendor_code: str | None = None
) -> list[Any]:
    d = DELIVERIES.c
    wanted = ((d.destination, destination), (d.stream, stream), (d.vendor_code, vendor_code))
    # Written out, not bound: so the planner sees that the partial index of what is not settled is meant.
    unsettled = d.state.not_in([sa.literal_column("'delivered'"), sa.literal_column("'accepted'")])
    return [unsettled, d.state.in_(states), *(column == value for column, value in wanted if value is not None)]


def _slices(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _SLICE] for start in range(0, len(keys), _SLICE))


def _hash(payload: str) -> str:
    # As the warehouse hashes payloads: it tells versions apart and keeps no secret.
    return hashlib.md5(payload.encode(), usedforsecurity=False).hexdigest()
