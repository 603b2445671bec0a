"""The ledger: one row per destination, stream and record, and what became of it.

States: `sending` (noted before the call), `delivered`, `accepted`, `rejected`, `pending`, `in_doubt` (a run
died or lost the answer between sending and noting; a policy or a person decides), `diverged` (changed after
an immutable delivery), `skipped` (was tried once, does not go there any more), `discarded` (refused, and a person
has put it aside).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from engage_pipelines.state.arrow import read_arrow, stream_arrow
from engage_pipelines.state.database import DELIVERIES, DELIVERY_BATCHES, DELIVERY_RUNS, SETTLED_STATES, is_special
from engage_pipelines.state.steps import BatchEnd, Settlement, note_batch_end, note_outcomes, note_sending
from engage_pipelines.state.together import Together

_KNOWN = ("record_key", "state", "payload_hash", "delivered_hash", "correction_count")
_KEY = ("destination", "stream", "record_key")


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
        """What it knows of all records that are not simply held: neither delivered nor accepted, or corrected.

        Columns as in `known`.
        """
        query = sa.select(*_columns(_KNOWN)).where(*_of(destination, stream))
        return read_arrow(self._engine, query.where(_is_special(self._engine, destination, stream)), _KNOWN)

    def held(self, destination: str, stream: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """A stream of all other records: `record_key, delivered_hash`."""
        names = ("record_key", "delivered_hash")
        simply = (DELIVERIES.c.state.in_(SETTLED_STATES), DELIVERIES.c.correction_count == 0)
        return stream_arrow(self._engine, sa.select(*_columns(names)).where(*_of(destination, stream), *simply), names)

    def find_in_doubt(self, destination: str, stream: str) -> list[Doubt]:
        """Turn `sending` rows into `in_doubt` ones and give all in doubt.

        The caller holds the stream's lock, so a row that is still `sending` belongs to a run that died.
        """
        here = (*_of(destination, stream), _is_special(self._engine, destination, stream))
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
        listed = list(rows)
        self._commit(lambda connection: note_sending(connection, (destination, stream), batch_id, run_id, listed, now))

    def settle(
        self,
        destination: str,
        stream: str,
        outcomes: Sequence[Settlement],
        now: datetime,
        end: BatchEnd | None = None,
    ) -> None:
        """Step 3: commit one outcome per record, and how their batch ended."""

        def note(connection: sa.Connection) -> None:
            note_outcomes(connection, (destination, stream), outcomes, now)
            if end is not None:
                note_batch_end(connection, end, outcomes, now)

        if outcomes:
            self._commit(note)

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

    def mirror(self) -> Iterator[tuple[str, pa.RecordBatchReader]]:
        """The ledger for the published warehouse: full table name and its rows, one table after the other."""
        for table in (DELIVERIES, DELIVERY_RUNS, DELIVERY_BATCHES):
            names = [c.name for c in table.c if c.name != "vendor_id"]
            with stream_arrow(self._engine, sa.select(*(table.c[name] for name in names)), names) as rows:
                yield f"ops.{table.name}", rows

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
    # Columns without a table: they are those of the text.
    inner = SimpleNamespace(**{c.name: sa.column(c.name) for c in DELIVERIES.c})
    here = (inner.destination == destination, inner.stream == stream)
    few = sa.select(inner.record_key).select_from(sa.text(told)).where(*here, is_special(inner))
    return DELIVERIES.c.record_key.in_(few)


def _columns(names: Sequence[str]) -> list[Any]:
    return [DELIVERIES.c[name] for name in names]
