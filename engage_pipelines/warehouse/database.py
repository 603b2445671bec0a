"""Opening the warehouse: one process at a time, for one transaction or a few seconds of them.

A connection is an empty in-memory database with two files attached: `warehouse` (published) and `private`
(the columns that identify people, never published). Views in `core` and `ops` show every table whole, so
a mapping reads `core.customers` without knowing that it lives in two files.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import duckdb
import phonenumbers
import pyarrow as pa
from filelock import BaseFileLock, FileLock, Timeout

from engage_pipelines.errors import WarehouseBusyError
from engage_pipelines.model import TABLES, Table, digest
from engage_pipelines.model.money import MINOR_UNITS

Connection = duckdb.DuckDBPyConnection

# 2.0 writes files that 1.5 cannot open; analysts' tools are on 1.5 for a while yet.
STORAGE_VERSION = "v1.5.0"
# Rows that are compressed together, a multiple of 2,048. At every merge of the log a table's last group is compressed
# anew: with DuckDB's 122,880 a window of some ten thousand receipts was written several times over.
_ROW_GROUP = 30_720
# What two windows of ten thousand receipts need side by side: never less, if there is that much.
_ENOUGH_MB = 128.0
# Rows of an older file that get their digests in one transaction: until it is on disk, they are in memory.
_FILLED_AT_ONCE = 500_000
# Seconds between two looks whether another one has let go of the files.
_LOOK = 0.01
_MEGABYTES = {"KB": 0.001, "MB": 1.0, "GB": 1000.0, "MiB": 1.048576, "GiB": 1073.741824}


class Room(Enum):
    """What a load has of the warehouse's memory and threads.

    Two windows side by side have a part of the memory, so that a process that loads ten times as many holds no more,
    and one thread each, as splitting statements so small costs more than it gives. With one thread a window takes
    least, as each thread has buffers of its own.
    """

    ALL = "all of the memory and of the threads"
    SMALL_PART = "two side by side"
    LARGE_PART = "two side by side, for which the small part was too little"
    ONE_THREAD = "all of the memory and one thread"

    @property
    def is_for_two(self) -> bool:
        """True if two windows are worked on at once."""
        return self in _PARTS


_PARTS = {Room.SMALL_PART: 0.27, Room.LARGE_PART: 0.45}


class Warehouse:
    """The warehouse files and the lock beside them.

    Args:
        folder: where `engage.duckdb`, `private.duckdb` and the lock are.
        wait_seconds: how long to wait for another process.
        memory_limit: DuckDB's notation, e.g. `512MB`.
        threads: DuckDB's worker threads.
        sitting_seconds: how long a load keeps others waiting before it lets them in: between two sittings no window
            is staged ahead.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wait_seconds: float = 600.0,
        memory_limit: str = "512MB",
        threads: int = 2,
        sitting_seconds: float = 5.0,
    ) -> None:
        self.folder = folder
        self.sitting_seconds = sitting_seconds
        self.path = folder / "engage.duckdb"
        self.private_path = folder / "private.duckdb"
        self.published_path = folder / "analytics.duckdb"
        # For whoever has the files open.
        self.temporary = folder / "tmp"
        self._wait = wait_seconds
        self._memory_limit = memory_limit
        self._threads = threads
        self._is_prepared = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cross-process lock; nobody else opens the files meanwhile.

        Raises:
            WarehouseBusyError: another process held it longer than the configured wait.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + self._wait
        try:
            # Whoever is next holds a second lock while it waits: so it is seen, and nobody overtakes it.
            with self._lock("engage.next", self._wait):
                lock = self._lock("engage.lock", max(0.0, until - time.monotonic()))
                lock.acquire()
        except Timeout as error:
            raise WarehouseBusyError(
                f"warehouse {self.path.name}: another process has held it for {self._wait:.0f} s"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def is_awaited(self) -> bool:
        """True if somebody waits for the files, for whoever has them open."""
        try:
            with self._lock("engage.next", 0.0):
                return False
        except Timeout:
            return True

    def _lock(self, name: str, wait: float) -> BaseFileLock:
        return FileLock(self.folder / name, timeout=wait, poll_interval=_LOOK)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open the files under the lock; each statement commits by itself."""
        with self.locked():
            # Of a process that died: nobody else is here, and it holds records of people.
            shutil.rmtree(self.temporary, ignore_errors=True)
            connection = scratch_connection(self._memory_limit, self._threads, self.temporary)
            try:
                self._attach(connection)
                yield connection
            finally:
                connection.close()

    @contextmanager
    def sitting(self, room: Room = Room.ALL) -> Iterator[Sitting]:
        """Open the files under the lock for several transactions.

        A commit is on disk at once, in the log beside the file; closing merges that into the file, for all of them.
        """
        with self.connection() as connection:
            # Written as soon as they are full: left to itself DuckDB gathers five groups of rows of each table first.
            connection.execute("set global write_buffer_row_group_count = 1")
            if room is not Room.ALL:
                connection.execute("set global threads = 1")
            if room.is_for_two:
                connection.execute(f"set global memory_limit = {quoted(_part(self._memory_limit, _PARTS[room]))}")
            yield Sitting(connection, self)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open the files and run one transaction: all of it, or nothing."""
        with self.connection() as connection, all_or_nothing(connection):
            yield connection

    def _attach(self, connection: Connection) -> None:
        for name, path in (("warehouse", self.path), ("private", self.private_path)):
            connection.execute(
                f"attach {quoted(path)} as {name} (storage_version '{STORAGE_VERSION}', row_group_size {_ROW_GROUP})"
            )
        if not self._is_prepared:
            # Each file in one transaction: a new one has a hundred statements, and each would wait for the disk.
            with all_or_nothing(connection):
                _migrate(connection, "warehouse", TABLES, with_personal=False)
            with all_or_nothing(connection):
                _migrate(connection, "private", tuple(t for t in TABLES if t.is_personal), with_personal=True)
            _fill_digests(connection)
            self._is_prepared = True
        for schema in sorted({table.schema for table in TABLES}):
            connection.execute(f"create schema {schema}")
        for table in TABLES:
            home = "private" if table.is_personal else "warehouse"
            connection.execute(f"create view {table.full_name} as select * from {home}.{table.full_name}")


@dataclass(frozen=True, slots=True)
class Sitting:
    """The files, open for several transactions."""

    _connection: Connection
    _warehouse: Warehouse
    _began: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        """True if it is time to let others in, and somebody waits."""
        return time.monotonic() - self._began >= self._warehouse.sitting_seconds and self._warehouse.is_awaited()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection with temporary tables and variables of its own; several may be in use in several threads."""
        connection = self._connection.cursor()
        try:
            connection.execute("set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


@contextmanager
def all_or_nothing(connection: Connection) -> Iterator[None]:
    """Run one transaction on an open connection."""
    connection.execute("begin")
    try:
        yield
    except BaseException:
        # A broken transaction may already be rolled back; the first error is the one to see.
        with suppress(duckdb.Error):
            connection.execute("rollback")
        raise
    connection.execute("commit")


def _part(size: str, share: float) -> str:
    number = size.rstrip("KMGTiB")
    megabytes = float(number) * _MEGABYTES[size[len(number) :].strip()]
    return f"{max(megabytes * share, min(megabytes, _ENOUGH_MB)):.1f}MB"


def quoted(value: object) -> str:
    """A value as an SQL text literal, for the places where nothing can be bound: file names, mostly."""
    return "'" + str(value).replace("'", "''") + "'"


def bare(sql: str) -> str:
    """A statement of a file as it can stand in brackets."""
    return sql.strip().rstrip(";")


def count_of(connection: Connection, sql: str, parameters: list[Any] | None = None) -> int:
    """The one number that a query gives; 0 for null."""
    # All rows of it: a result that is not read to its end would block the connection.
    rows = connection.execute(sql, parameters or []).fetchall()
    return int(rows[0][0] or 0) if rows else 0


def scratch_connection(memory_limit: str = "512MB", threads: int = 2, temp_directory: Path | None = None) -> Connection:
    """An in-memory database with our settings and functions; for rendering and as the frame of attachments."""
    config: dict[str, Any] = {"memory_limit": memory_limit, "threads": threads}
    if temp_directory is not None:
        config["temp_directory"] = str(temp_directory)
    connection = duckdb.connect(config=config)
    connection.execute("set TimeZone = 'UTC'")
    connection.create_function(  # type: ignore[call-overload]
        "phone_e164", _phones_e164, ["VARCHAR", "VARCHAR"], "VARCHAR", type="arrow", null_handling="special"
    )
    return connection


def set_variables(connection: Connection, variables: Mapping[str, Any]) -> None:
    """Make settings readable in SQL as `getvariable('<name>')`; dictionaries become MAP(VARCHAR, VARCHAR)."""
    for name, value in variables.items():
        if isinstance(value, Mapping):
            keys, values = [str(k) for k in value], [str(v) for v in value.values()]
            connection.execute(f"set variable {name} = map(?::varchar[], ?::varchar[])", [keys, values])
        elif isinstance(value, tuple | list):
            connection.execute(f"set variable {name} = ?::varchar[]", [[str(v) for v in value]])
        elif value is None:
            # Without a type it would be an integer to DuckDB 1.5.
            connection.execute(f"set variable {name} = null::varchar")
        elif isinstance(value, bool | int | date):
            connection.execute(f"set variable {name} = ?", [value])
        else:
            connection.execute(f"set variable {name} = ?::varchar", [str(value)])


def register_currencies(connection: Connection) -> None:
    """Create the temporary table `currencies(currency, minor_units, factor)`."""
    codes = list(MINOR_UNITS)
    connection.execute(
        "create or replace temp table currencies as "
        "select currency, minor_units, cast(case minor_units when 0 then 1 when 2 then 0.01 else 0.001 end "
        "as decimal(4, 3)) as factor from (select unnest(?::varchar[]) as currency, "
        "unnest(?::integer[]) as minor_units)",
        [codes, [MINOR_UNITS[code] for code in codes]],
    )


def _migrate(connection: Connection, database: str, tables: tuple[Table, ...], *, with_personal: bool) -> None:
    # Tables only ever gain columns; anything else is a decision for a person and has no code here.
    existing: dict[tuple[str, str], set[str]] = {}
    for schema, table, column in connection.execute(
        "select schema_name, table_name, column_name from duckdb_columns() where database_name = ?",
        [database],
    ).fetchall():
        existing.setdefault((schema, table), set()).add(column)
    for declared in tables:
        wanted = [c for c in declared.columns if with_personal or not c.personal]
        known = existing.get((declared.schema, declared.name))
        if known is not None and {c.name for c in wanted} <= known:
            continue
        connection.execute(f"create schema if not exists {database}.{declared.schema}")
        connection.execute(declared.ddl(database, with_personal=with_personal))
        for column in wanted:
            if known is not None and column.name not in known:
                connection.execute(
                    f'alter table {database}.{declared.full_name} add column "{column.name}" {column.duckdb_type}'
                )
        for comment in declared.comments(database, with_personal=with_personal):
            connection.execute(comment)


def _fill_digests(connection: Connection) -> None:
    """Give the rows of an older file the digests by which they are found: some at a time, so that any memory will do.

    A new or filled file is not read: DuckDB knows of each group of rows that none is missing.
    """
    for table in TABLES:
        for column in table.columns:
            if column.digest_of is None:
                continue
            name = f"warehouse.{table.full_name}"
            without = f"from {name} where {column.name} is null and {column.digest_of} is not null"
            while count_of(connection, f"select count(*) {without}"):
                connection.execute(
                    f"update {name} set {column.name} = {digest(column.digest_of)} "
                    f"where rowid in (select rowid {without} limit {_FILLED_AT_ONCE})"
                )


def _phones_e164(texts: pa.ChunkedArray, countries: pa.ChunkedArray) -> pa.Array:
    return pa.array(
        [_phone_e164(text, country) for text, country in zip(texts.to_pylist(), countries.to_pylist(), strict=True)],
        pa.string(),
    )


def _phone_e164(text: str | None, country: str | None) -> str | None:
    if not text:
        return None
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    # Not those that are possible within a town only: they reach nobody from outside.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
