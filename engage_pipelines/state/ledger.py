"""The ledger: one row per destination, stream and record, and what became of it.

A batch is noted before its call leaves; the rows of its records are written when it ends, or when it is found that its
run died.

States: `sending` (its batch is under way), `delivered`, `accepted`, `rejected`, `pending`, `in_doubt` (a run
died or lost the answer between sending and noting; a policy or a person decides), `diverged` (changed after
an immutable delivery), `skipped` (was tried once, does not go there any more), `discarded` (refused, and a person
has put it aside).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engage_pipelines.state.arrow import read_arrow, stream_arrow
from engage_pipelines.state.database import DELIVERIES, SETTLED_STATES, is_special
from engage_pipelines.state.mirror import LedgerTable, ledger_tables
from engage_pipelines.state.steps import (
    Attempt,
    BatchEnd,
    Settlement,
    note_batch_end,
    note_doubt,
    note_found,
    note_outcomes,
    note_sending,
)
from engage_pipelines.state.together import Together
from engage_pipelines.state.under_way import is_not_under_way, open_attempts, rows_now, rows_under_way

_KNOWN = ("record_key", "state", "payload_hash", "delivered_hash", "correction_count")
_KEY = ("destination", "stream", "record_key")
# A stream that has at least this part of all rows (one in so many) is read by going through all of them.
_LARGE_SHARE = 8


@dataclass(frozen=True, slots=True)
class Doubt:
    """A record that may or may not have arrived, and the run and form in which it was sent."""

    record_key: str
    payload_hash: str
    run_id: str | None


class Ledger:
    """Reads and writes the ledger of one stream at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._together = Together(engine) if engine.dialect.name == "sqlite" else None

    def known(self, destination: str, stream: str, keys: Sequence[str]) -> pa.Table:
        """What the ledger knows of some records.

        Columns: `record_key, state, payload_hash, delivered_hash, correction_count`.
        """
        query = sa.select(*_columns(_KNOWN)).where(*_of(destination, stream))
        return read_arrow(self._engine, query.where(DELIVERIES.c.record_key.in_(self._listed(keys))), _KNOWN)

    def special(self, destination: str, stream: str) -> pa.Table:
        """What it knows of all that is not simply held: under way, neither delivered nor accepted, or corrected.

        Columns as in `known`.
        """
        with self._engine.connect() as connection:
            query = sa.select(*_columns(_KNOWN)).where(*_of(destination, stream), is_not_under_way(connection))
            query = query.where(_is_special(self._engine, destination, stream))
            u = rows_under_way(connection).subquery().c
            under_way = sa.select(*(u[n] for n in _KNOWN)).where(u.destination == destination, u.stream == stream)
        return read_arrow(self._engine, sa.union_all(query, under_way), _KNOWN)

    def held(self, destination: str, stream: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """A stream of all other records: `record_key, delivered_hash`."""
        names = ("record_key", "delivered_hash")
        # Columns without a table: they are those of the text.
        d = _of_a_text()
        simply = (d.state.in_(SETTLED_STATES), d.correction_count == 0)
        query = sa.select(*(getattr(d, name) for name in names)).select_from(sa.text(self._told(destination, stream)))
        query = query.where(d.destination == destination, d.stream == stream, *simply)
        return stream_arrow(self._engine, query, names)

    def _told(self, destination: str, stream: str) -> str:
        """The ledger with a word to SQLite on how to read a whole stream; Postgres knows its own tables."""
        if self._engine.dialect.name != "sqlite":
            return "deliveries"
        with self._engine.connect() as connection:
            share = (connection.execute(sa.text("select max(rowid) from deliveries")).scalar() or 0) // _LARGE_SHARE
            some = sa.select(DELIVERIES.c.record_key).where(*_of(destination, stream)).limit(share).subquery()
            found = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar() or 0
        return self._whole() if found >= share else "deliveries"

    def _whole(self) -> str:
        """The ledger, to be read from the first row to the last."""
        # By key SQLite would look for each row where it happens to lie; reading past rows of other streams is cheaper.
        return "deliveries not indexed" if self._engine.dialect.name == "sqlite" else "deliveries"

    def find_in_doubt(self, destination: str, stream: str) -> list[Doubt]:
        """Write rows that are `in_doubt` for what is under way, and give all in doubt.

        The caller holds the stream's lock, so a batch that is still open belongs to a run that died.
        """
        here = (*_of(destination, stream), _is_special(self._engine, destination, stream))
        d = DELIVERIES.c
        with self._engine.begin() as connection:
            for attempt in open_attempts(connection, destination, stream):
                note_doubt(connection, attempt)
            # Rows that say so themselves: an older release wrote them before the call.
            connection.execute(
                sa.update(DELIVERIES)
                .where(*here, d.state == "sending")
                .values(state="in_doubt", reason="the run ended between sending and noting", settled_at=None)
            )
            rows = connection.execute(
                sa.select(d.record_key, d.payload_hash, d.run_id).where(*here, d.state == "in_doubt")
            )
            return [Doubt(row.record_key, row.payload_hash, row.run_id) for row in rows]

    def begin(
        self, destination: str, stream: str, batch_id: str, run_id: str, rows: Iterable[tuple[str, str]], now: datetime
    ) -> Attempt:
        """Step 1: commit a batch of (record_key, payload_hash) rows as being sent, before the call leaves."""
        attempt = Attempt(destination, stream, batch_id, run_id, list(rows), now)
        if attempt.rows:
            self._commit(lambda connection: note_sending(connection, attempt))
        return attempt

    def settle(
        self, attempt: Attempt, outcomes: Sequence[Settlement], now: datetime, end: BatchEnd | None = None
    ) -> None:
        """Step 3: commit one outcome per record, and how their batch ended.

        Raises:
            ValueError: a record of the attempt has no outcome; nothing is noted.
        """
        if len(outcomes) != len(attempt.rows):
            raise ValueError(f"{len(outcomes)} outcomes for {len(attempt.rows)} records of batch {attempt.batch_id}")

        def note(connection: sa.Connection) -> None:
            note_outcomes(connection, attempt, outcomes, now)
            note_batch_end(connection, attempt, end or BatchEnd(), outcomes, now)

        if outcomes:
            self._commit(note)

    def settle_doubts(self, destination: str, stream: str, outcomes: Sequence[Settlement], now: datetime) -> None:
        """Commit what was found out about records in doubt."""
        if outcomes:
            self._commit(lambda connection: note_found(connection, (destination, stream), outcomes, now))

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

    def states(self, destination: str | None = None, stream: str | None = None) -> dict[tuple[str, str, str], int]:
        """(destination, stream, state) -> records."""
        with self._engine.connect() as connection:
            now = rows_now(connection)
            d, rows = (_of_a_text(), sa.text(self._whole())) if now is DELIVERIES else (now.c, now)
            names = (d.destination, d.stream, d.state)
            wanted = [c == value for c, value in ((d.destination, destination), (d.stream, stream)) if value]
            query = sa.select(*names, sa.func.count()).select_from(rows).where(*wanted).group_by(*names)
            return {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)}

    def held_keys(self, destination: str, stream: str) -> list[str]:
        """Keys of the records that the destination holds."""
        d = _of_a_text()
        query = sa.select(d.record_key).select_from(sa.text(self._told(destination, stream)))
        query = query.where(d.destination == destination, d.stream == stream, d.delivered_hash.is_not(None))
        with self._engine.connect() as connection:
            return [row[0] for row in connection.execute(query)]

    def mirror(self) -> list[LedgerTable]:
        """The ledger's tables for the published warehouse."""
        return ledger_tables(self._engine)

    def _commit(self, work: Callable[[sa.Connection], None]) -> None:
        if self._together is not None:
            self._together(work)
            return
        with self._engine.begin() as connection:
            work(connection)

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


def _is_special(engine: sa.Engine, destination: str, stream: str) -> Any:
    """Not simply held. By key, found by the small index: SQLite would read the whole stream rather than use it."""
    # Without statistics it takes the first columns of the key for as good as the index, so it is told.
    told = "deliveries indexed by deliveries_special" if engine.dialect.name == "sqlite" else "deliveries"
    inner = _of_a_text()
    here = (inner.destination == destination, inner.stream == stream)
    few = sa.select(inner.record_key).select_from(sa.text(told)).where(*here, is_special(inner))
    return DELIVERIES.c.record_key.in_(few)


def _of_a_text() -> SimpleNamespace:
    """The ledger's columns for a query whose table is written out."""
    return SimpleNamespace(**{c.name: sa.column(c.name, c.type) for c in DELIVERIES.c})


def _columns(names: Sequence[str]) -> list[Any]:
    return [DELIVERIES.c[name] for name in names]
