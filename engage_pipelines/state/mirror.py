"""The ledger as the published warehouse has it: its tables, whole or what has changed since a moment.

A row says itself when it last changed, in one column of its table, and has nothing there while it is open. Rows are
never deleted, so their number tells whether a copy that was brought up to date has them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from engage_pipelines.state.arrow import stream_arrow
from engage_pipelines.state.database import DELIVERIES, DELIVERY_BATCHES, DELIVERY_RUNS
from engage_pipelines.state.under_way import is_not_under_way, rows_now, rows_under_way

# Not published: the platform's own ids, and the keys of a batch under way.
_LEFT_OUT = ("vendor_id", "sending")
_Rows = Callable[[sa.Connection, sa.ColumnElement[bool]], Any]


@dataclass(frozen=True, slots=True)
class LedgerTable:
    """A table of the ledger.

    Attributes:
        name: full name of its copy.
        changed_at: column that says when a row last changed, null while it is open; None where all rows are read each
            time.
    """

    name: str
    changed_at: str | None
    _engine: sa.Engine
    _table: sa.Table
    _rows: _Rows

    def count(self) -> int:
        """How many rows there are now."""
        with self._engine.connect() as connection:
            rows = self._rows(connection, sa.true()).subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())

    @contextmanager
    def rows(self, since: datetime | None = None) -> Iterator[pa.RecordBatchReader]:
        """All rows, or those that changed at a moment or later and those that are open."""
        names = [c.name for c in self._table.c if c.name not in _LEFT_OUT]
        wanted: sa.ColumnElement[bool] = sa.true()
        if since is not None and self.changed_at is not None:
            at = self._table.c[self.changed_at]
            # Kept as text in both databases, as `UtcTime` writes it.
            moment: sa.ColumnElement[str] = sa.literal_column(
                f"'{since.astimezone(UTC).isoformat(timespec='microseconds')}'"
            )
            wanted = sa.or_(at >= moment, at.is_(None))
        with self._engine.connect() as connection:
            rows = self._rows(connection, wanted).subquery().c
            query = sa.select(*(rows[name] for name in names))
        with stream_arrow(self._engine, query, names) as found:
            yield found


def ledger_tables(engine: sa.Engine) -> list[LedgerTable]:
    """All of them: records, runs and batches."""
    return [
        LedgerTable("ops.deliveries", "settled_at", engine, DELIVERIES, _records),
        LedgerTable("ops.delivery_runs", None, engine, DELIVERY_RUNS, _of(DELIVERY_RUNS)),
        LedgerTable("ops.delivery_batches", "ended_at", engine, DELIVERY_BATCHES, _of(DELIVERY_BATCHES)),
    ]


def _of(table: sa.Table) -> _Rows:
    return lambda _, wanted: sa.select(table).where(wanted)


def _records(connection: sa.Connection, wanted: sa.ColumnElement[bool]) -> Any:
    if rows_now(connection) is DELIVERIES:
        return sa.select(DELIVERIES).where(wanted)
    others = sa.select(DELIVERIES).where(wanted, is_not_under_way(connection))
    return sa.union_all(others, rows_under_way(connection))
