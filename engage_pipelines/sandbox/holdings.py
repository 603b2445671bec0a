"""What one vendor holds: an SQLite file that outlives the process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any


class Holdings:
    """One SQLite file behind one lock; handlers run in threads.

    Args:
        directory: folder of the sandbox's state.
        name: file name without ending.
        schema: `create table if not exists` statements.
    """

    def __init__(self, directory: Path, name: str, schema: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            directory / f"{name}.sqlite", check_same_thread=False, isolation_level=None, timeout=30
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        # A stand-in may lose its last moments in a power cut; it is never the only copy of anything.
        self._connection.execute("pragma synchronous = normal")
        self._connection.executescript(schema)

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, all or nothing; may be nested, the outermost commits."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        return found

    def number(self, query: str, values: Sequence[Any] = ()) -> int:
        """The single number a query gives; 0 for none."""
        found = self.one(query, values)
        return int(found[0] or 0) if found else 0

    def counts(self, query: str) -> dict[str, int]:
        """A query of two columns, name and count, as a mapping."""
        return {str(name): int(count) for name, count in self.rows(query)}

    def exact_sum(self, query: str) -> Decimal:
        """Sum of a text column of decimal numbers, without a detour through binary fractions."""
        return sum((Decimal(row[0]) for row in self.rows(query)), Decimal(0))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
