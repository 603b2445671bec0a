"""The ledger's mirror: what has changed since it was last brought up to date, so that years of deliveries stay cheap.

A row that was copied is copied again while it is open, and when it has changed. Whether that was all is counted: if the
mirror then has not as many rows as the ledger, it is made anew.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.warehouse.database import Connection, count_of

# A moment is taken just before its row is committed, and clocks are set right now and then.
_OVERLAP = "interval 10 minutes"
# With more of the rows to be put in the place of others, copying all of them is cheaper.
_SHARE = 0.3


class Mirrored(Protocol):
    """A table that has a copy in the published warehouse; no row of it is ever deleted."""

    @property
    def name(self) -> str:
        """Full name of the copy."""

    @property
    def changed_at(self) -> str | None:
        """Column that says when a row last changed, null while it is open; None where all are copied each time."""

    def rows(self, since: datetime | None = None) -> AbstractContextManager[pa.RecordBatchReader]:
        """All rows, or those that changed at a moment or later and those that are open."""

    def count(self) -> int:
        """How many rows there are now."""


def bring_up_to_date(connection: Connection, table: Mirrored) -> None:
    """Make the copy as the table is; within the caller's transaction."""
    since = _changed_until(connection, table)
    if since is None or not _take_changes(connection, table, since):
        connection.execute(f"delete from warehouse.{table.name}")
        with table.rows() as rows:
            _insert(connection, f"warehouse.{table.name}", rows)


def _changed_until(connection: Connection, table: Mirrored) -> datetime | None:
    """The moment from which changes may be missing; None if all rows are better copied anew."""
    if table.changed_at is None:
        return None
    there = f"warehouse.{table.name}"
    # A clock that was once years ahead must not hide what comes until then.
    ((since,),) = connection.execute(
        f"select if(max({table.changed_at}) > now(), now(), max({table.changed_at})) - {_OVERLAP} from {there}"
    ).fetchall()
    if since is None:
        return None
    changed = f"count(*) filter ({_may_have_changed(table)})"
    ((is_cheaper,),) = connection.execute(f"select {changed} < {_SHARE} * count(*) from {there}", [since]).fetchall()
    return since if is_cheaper else None


def _take_changes(connection: Connection, table: Mirrored, since: datetime) -> bool:
    """Put changed rows in the place of what the copy has of them; False if it then has too few or too many."""
    there, key = f"warehouse.{table.name}", ", ".join(TABLE_BY_NAME[table.name].key)
    at_least = table.count()
    connection.execute(f"delete from {there} where {_may_have_changed(table)}", [since])
    connection.execute(f"create or replace temp table changed as select * from {there} limit 0")
    with table.rows(since) as rows:
        _insert(connection, "changed", rows)
    connection.execute(f"delete from {there} where ({key}) in (select ({key}) from changed)")
    connection.execute(f"insert into {there} by name select * from changed")
    connection.execute("drop table changed")
    # Others may write meanwhile.
    return at_least <= count_of(connection, f"select count(*) from {there}") <= table.count()


def _may_have_changed(table: Mirrored) -> str:
    return f"{table.changed_at} is null or {table.changed_at} >= ?"


def _insert(connection: Connection, there: str, rows: pa.RecordBatchReader) -> None:
    connection.register("taken", rows)
    connection.execute(f"insert into {there} by name select * from taken")
    connection.unregister("taken")
