"""What the till holds, in one SQLite file: each record's JSON ready to be sent, and the few columns to find it by.

All kinds of records share one table, because all are found the same way: some filters, one time column, then the id.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_SCHEMA = """
create table if not exists documents (
    kind text not null, id text not null, location_id text, label text,
    created_at integer not null, updated_at integer not null, closed_at integer, version integer not null,
    lines integer, amount integer, tip integer, currency text,
    body blob not null,
    primary key (kind, id)
);
create index if not exists documents_by_creation on documents (kind, created_at, id);
create index if not exists documents_by_update on documents (kind, updated_at, id);
create index if not exists documents_by_closing on documents (kind, closed_at, id) where closed_at is not null;
"""


class Document(NamedTuple):
    """One record. Times are microseconds since 1970, money is minor units; `body` is the JSON that goes out.

    `label` is what a kind's own filter looks at: state of an order or a count, type of a catalogue object, status of
    a payment. `lines`, `amount`, `tip` and `currency` are kept for orders alone, for the report.
    """

    kind: str
    id: str
    location_id: str | None
    label: str | None
    created_at: int
    updated_at: int
    closed_at: int | None
    version: int
    lines: int | None
    amount: int | None
    tip: int | None
    currency: str | None
    body: bytes


class Found(NamedTuple):
    """A record of a page: what orders it, what an order entry says, and the JSON."""

    stamp: int
    id: str
    location_id: str | None
    version: int
    body: bytes


class Tally(NamedTuple):
    """Orders of one location, state and currency, summed; money in minor units."""

    location_id: str
    label: str
    currency: str | None
    receipts: int
    lines: int
    amount: int
    tip: int
    unmeasured: int


@dataclass(frozen=True)
class Search:
    """Which records, in which order. `wheres` are conditions with their bound values; `stamp` is a time column."""

    kind: str
    stamp: str = "updated_at"
    descending: bool = False
    wheres: tuple[tuple[str, tuple[object, ...]], ...] = ()

    def condition(self) -> tuple[str, list[object]]:
        """The whole `where` clause and its values."""
        clauses = ["kind = ?", f"{self.stamp} is not null", *(clause for clause, _ in self.wheres)]
        return " and ".join(clauses), [self.kind, *(value for _, values in self.wheres for value in values)]


class DocumentStore:
    """The SQLite file. Safe to use from several threads; one statement runs at a time.

    Args:
        path: The file; it is made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._filling = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # A stand-in may lose its last second in a power cut; it must not wait for the disk at every change.
        self._db.execute("pragma synchronous = off")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is kept, or nothing of it: a shop that was filled halfway must not be served."""
        with self._lock:
            if self._filling:
                yield
                return
            self._filling = True
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            else:
                self._db.execute("commit")
            finally:
                self._filling = False

    def put(self, documents: Iterable[Document]) -> None:
        """Insert records, or replace those with the same kind and id."""
        places = ", ".join("?" * len(Document._fields))
        with self.transaction():
            self._db.executemany(f"insert or replace into documents values ({places})", documents)

    def version_of(self, kind: str, record_id: str) -> int | None:
        """Version of one record, None if there is no such record."""
        rows = self._rows("select version from documents where kind = ? and id = ?", (kind, record_id))
        return int(rows[0][0]) if rows else None

    def bodies(self, kind: str, ids: list[str]) -> list[bytes]:
        """JSON of the records with these ids, in the order of the ids; unknown ids are passed over."""
        query = "select body from documents where kind = ? and id = ?"
        with self._lock:
            found = [self._db.execute(query, (kind, record_id)).fetchone() for record_id in ids]
        return [row[0] for row in found if row is not None]

    def page(self, search: Search, after: tuple[int, str] | None, limit: int) -> list[Found]:
        """At most `limit` records behind `after` (time and id of the last one seen), in the order of the search."""
        where, values = search.condition()
        direction, beyond = ("desc", "<") if search.descending else ("asc", ">")
        if after is not None:
            where, values = f"{where} and ({search.stamp}, id) {beyond} (?, ?)", [*values, *after]
        query = (
            f"select {search.stamp}, id, location_id, version, body from documents where {where}"
            f" order by {search.stamp} {direction}, id {direction} limit ?"
        )
        return [Found(*row) for row in self._rows(query, (*values, limit))]

    def count(self, search: Search) -> int:
        """How many records the search finds."""
        where, values = search.condition()
        return int(self._rows(f"select count(*) from documents where {where}", tuple(values))[0][0])

    def location_ids(self) -> list[str]:
        """Locations, the main one (the oldest) first."""
        query = "select id from documents where kind = 'location' order by created_at, id"
        return [row[0] for row in self._rows(query, ())]

    def tallies(self) -> list[Tally]:
        """Orders summed by location, state and currency."""
        query = (
            "select location_id, label, currency, count(*), coalesce(sum(lines), 0), coalesce(sum(amount), 0),"
            " coalesce(sum(tip), 0), sum(amount is null) from documents where kind = 'order'"
            " group by location_id, label, currency order by location_id, label, currency"
        )
        return [Tally(*row) for row in self._rows(query, ())]

    def _rows(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()
