"""Loading pulled windows: some are staged together, then written in one transaction; the next are staged meanwhile.

Rows are replaced by key, and the loads are noted in the same transaction. Windows may be loaded in any order and any
number of times: what core already has in this or a later version is left alone. Windows may come while others are
loaded; nobody is kept out of the files while one is waited for longer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import duckdb

from engage_pipelines.connector import Entity
from engage_pipelines.errors import WarehouseBusyError
from engage_pipelines.model import Table
from engage_pipelines.warehouse.database import Connection, Room, Sitting, Warehouse, all_or_nothing, count_of
from engage_pipelines.warehouse.known import held, may_be_of
from engage_pipelines.warehouse.load_notes import (
    note_completeness,
    note_loads,
    note_quarantine,
    note_versions,
    put_aside,
    unknown_fields,
)
from engage_pipelines.warehouse.load_request import Bundle, LoadRequest, LoadResult, core_tables
from engage_pipelines.warehouse.staging import leave_out_written, stage, stage_rest

# Parts that are staged while one is written; the rows of each are in memory.
_AHEAD = 1
# Some forty statements have to be got ready for each bundle, whatever is in it: windows share them up to so many bytes
# of records, as their rows are in memory together.
_TOGETHER_BYTES = 60_000_000
# Bytes of records after which the files are closed and opened anew. What DuckDB knows of each group of rows that it
# has written stays in memory until then, and is not part of its limit.
_SITTING_BYTES = 2_000_000_000
# Closing and opening costs more than waiting so many seconds for a window that is still pulled.
_PATIENCE = 1.0
# What windows are loaded with at first, and what with after each time that the memory was out.
_SEVERAL = (Room.SMALL_PART, Room.LARGE_PART, Room.ONE_THREAD)
_SINGLE = (Room.ALL, Room.ONE_THREAD)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one transaction writes: the rows of a bundle in one of the two files."""

    bundle: Bundle
    database: str


@dataclass(slots=True)
class _Staged:
    """A part whose records are in temporary tables of its connection."""

    part: _Part
    connection: Connection
    records: list[int]
    unknown_fields: list[tuple[str, ...]]


class Arrivals(Protocol):
    """Windows to load that come one after the other, some of them later."""

    @property
    def left(self) -> int:
        """How many have not been given out yet."""

    def next(self, *, within: float) -> LoadRequest | None:
        """The next window; None after the last one, or if it does not come within so many seconds.

        Whatever keeps windows from coming is an error only for a caller who would wait forever.
        """


def load_window(warehouse: Warehouse, request: LoadRequest, *, now: datetime) -> LoadResult:
    """Load one spool; running it again changes nothing."""
    ((_, result),) = load_windows(warehouse, [request], now=lambda: now)
    return result


def load_windows(
    warehouse: Warehouse, requests: Sequence[LoadRequest] | Arrivals, *, now: Callable[[], datetime]
) -> Generator[tuple[LoadRequest, LoadResult]]:
    """Load spools one after the other; yields each with its result when it is committed.

    The files are open, and closed to others, while a result is looked at. Whatever goes wrong with several windows is
    tried again with each by itself: what was whole before it is loaded then, and the error is about one. Windows for
    which a part of the memory is too little get a larger one, then all of it and one thread, one after the other.
    """
    parts = _Parts(_Here(requests) if isinstance(requests, Sequence) else requests)
    shortages = 0
    # The last of several has what all had before it, so that no load takes most at its end.
    rooms = _SEVERAL if parts.wait() and parts.are_several() else _SINGLE
    while parts.wait():
        room = rooms[min(shortages, len(rooms) - 1)]
        try:
            with warehouse.sitting(room) as sitting, _Stagers(sitting, parts) as stagers:
                yield from _load_for_a_while(stagers, now, side_by_side=room.is_for_two)
        except WarehouseBusyError:
            raise
        except Exception as error:
            is_too_much = isinstance(error, duckdb.OutOfMemoryException)
            if not parts.take_apart(for_good=is_too_much):
                if room is Room.ONE_THREAD or not is_too_much:
                    raise
                shortages += 1


class _Here:
    """Windows that are all there."""

    def __init__(self, requests: Sequence[LoadRequest]) -> None:
        self._requests = deque(requests)

    @property
    def left(self) -> int:
        return len(self._requests)

    def next(self, *, within: float) -> LoadRequest | None:
        del within
        return self._requests.popleft() if self._requests else None


class _Parts:
    """The parts that are not written yet, oldest first, of the windows that have come so far."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._here: deque[_Part] = deque()
        # Came, and did not fit into the bundle before it.
        self._left_over: LoadRequest | None = None
        self._most_bytes = _TOGETHER_BYTES

    def wait(self) -> bool:
        """True once there is a part; False if all are written and no window comes any more."""
        return self.at(0, within=math.inf) is not None

    def are_several(self) -> bool:
        """True if there will be more than the first."""
        return len(self._here) > 1 or self._left_over is not None or self._arrivals.left > 0

    def at(self, position: int, *, within: float = 0.0) -> _Part | None:
        """The part that is so many behind the first; None if no window of it comes within so many seconds."""
        while len(self._here) <= position:
            bundle = self._next_bundle(within)
            if bundle is None:
                return None
            self._here.extend(_parts(bundle))
        return self._here[position]

    def first_is_written(self) -> None:
        """Let go of the first."""
        self._here.popleft()

    def take_apart(self, *, for_good: bool) -> bool:
        """Put each window of the first part by itself; False if there is none with several.

        Args:
            for_good: the windows that come later are not put together, either.
        """
        if for_good:
            self._most_bytes = 0
        if not self._here or not self._here[0].bundle.are_several:
            return False
        bundle = self._here[0].bundle
        while self._here and self._here[0].bundle is bundle:
            self._here.popleft()
        alone = [part for request in bundle.requests for part in _parts(Bundle((request,)))]
        self._here.extendleft(reversed(alone))
        return True

    def _next_bundle(self, within: float) -> Bundle | None:
        """The next window with those behind it that are there already and that may be loaded with it."""
        first = self._come(within)
        if first is None:
            return None
        bundle = Bundle((first,))
        while (request := self._come(0.0)) is not None:
            if not bundle.takes(request, self._most_bytes):
                self._left_over = request
                break
            bundle = Bundle((*bundle.requests, request))
        return bundle

    def _come(self, within: float) -> LoadRequest | None:
        if self._left_over is None:
            return self._arrivals.next(within=within)
        request, self._left_over = self._left_over, None
        return request


def _parts(bundle: Bundle) -> Iterator[_Part]:
    # One transaction can write one file only. The private one goes first: what it has too much after a
    # crash is replaced by the repeat, which happens because the load is noted in the other one.
    if any(table.is_personal for table in core_tables(bundle.entity)):
        yield _Part(bundle, "private")
    yield _Part(bundle, "warehouse")


class _Stagers:
    """Stages parts in threads of their own, each on a connection of its own, and gives them back in order.

    A part leaves `parts` when it is written: after a failure those are left that have to be loaded anew.
    """

    def __init__(self, sitting: Sitting, parts: _Parts) -> None:
        self._sitting = sitting
        self._parts = parts
        self._open = ExitStack()
        self._pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="stage")
        self._ahead: deque[tuple[Future[_Staged], int]] = deque()
        self._begun = 0
        self._bytes = 0
        self._written: list[str] = []

    def __enter__(self) -> _Stagers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._open.close()

    def begin_next(self, *, patience: float = 0.0) -> None:
        """Begin with the next parts, unless enough are under way or the sitting is over.

        If none is under way, the next one is waited for with so many seconds of patience.
        """
        while len(self._ahead) < _AHEAD and self._bytes < _SITTING_BYTES and not self._sitting.is_over():
            part = self._parts.at(self._begun, within=0.0 if self._ahead else patience)
            if part is None:
                return
            connection = self._open.enter_context(self._sitting.connection())
            self._ahead.append((self._pool.submit(_stage, connection, part), len(self._written)))
            self._begun += 1
            self._bytes += part.bundle.byte_count

    def next(self) -> tuple[_Staged, Sequence[str]] | None:
        """The next part, and the loads that were written since its staging began."""
        if not self._ahead:
            return None
        future, known = self._ahead.popleft()
        return future.result(), self._written[known:]

    def is_written(self, staged: _Staged) -> None:
        """Let go of the part that came last from `next`."""
        staged.connection.close()
        self._written += staged.part.bundle.load_ids
        self._parts.first_is_written()
        self._begun -= 1


def _load_for_a_while(
    stagers: _Stagers, now: Callable[[], datetime], *, side_by_side: bool
) -> Iterator[tuple[LoadRequest, LoadResult]]:
    stagers.begin_next()
    while (found := stagers.next()) is not None:
        staged, written = found
        if side_by_side:
            stagers.begin_next()
        results = _write(staged, written, now())
        stagers.is_written(staged)
        if results is not None:
            yield from zip(staged.part.bundle.requests, results, strict=True)
        stagers.begin_next(patience=_PATIENCE)


def _stage(connection: Connection, part: _Part) -> _Staged:
    records = stage(connection, part.bundle, part.database)
    unknown = [unknown_fields(request) for request in part.bundle.requests] if part.database == "warehouse" else []
    return _Staged(part, connection, records, unknown)


def _write(staged: _Staged, written: Sequence[str], now: datetime) -> list[LoadResult] | None:
    """Write a part; the part of the published file gives the result of each window."""
    connection, bundle, database = staged.connection, staged.part.bundle, staged.part.database
    tables = core_tables(bundle.entity)
    # Only now: it may refer to what an earlier window has just brought, and both threads have as much to do.
    stage_rest(connection, bundle)
    with all_or_nothing(connection):
        if bundle.entity.windowed:
            leave_out_written(connection, bundle, database, written)
        if database == "private":
            _replace(connection, bundle.entity, database, [table for table in tables if table.is_personal])
            return None
        _replace(connection, bundle.entity, database, tables)
        return _note(staged, now)


def _note(staged: _Staged, now: datetime) -> list[LoadResult]:
    """Note of each window what became of it."""
    connection, bundle = staged.connection, staged.part.bundle
    put_aside(connection, bundle)
    note_quarantine(connection, bundle, now)
    missing = note_completeness(connection, bundle, now) if bundle.has_proofs else {}
    tables = core_tables(bundle.entity)
    if "transactions" in bundle.entity.tables:
        note_versions(connection, now)
    rows = {table.name: _count(connection, f"staged_{table.name} join windows using (load_id)") for table in tables}
    aside = _count(connection, "aside join windows on number = window_number")
    results = [
        LoadResult(
            staged.records[number - 1], rows[tables[0].name].get(number, 0), aside.get(number, 0),
            missing.get(number, 0), staged.unknown_fields[number - 1],
            {name: counts.get(number, 0) for name, counts in rows.items()},
        )
        for number in range(1, len(bundle.requests) + 1)
    ]  # fmt: skip
    note_loads(connection, bundle, results, now)
    return results


def _count(connection: Connection, rows: str) -> dict[int, int]:
    """Rows by the number of their window."""
    return dict(connection.execute(f"select number, count(*) from {rows} group by number").fetchall())


def _replace(connection: Connection, entity: Entity, database: str, tables: Sequence[Table]) -> None:
    """Put the staged rows in the place of older ones."""
    _delete_replaced(connection, entity, database, tables)
    for table in tables:
        _insert(connection, database, table)


def _delete_replaced(connection: Connection, entity: Entity, database: str, tables: Sequence[Table]) -> None:
    """Delete the rows of records that core has in an older version, children with their parents."""
    main = core_tables(entity)[0]
    owner = main.key[0]
    replaced = f"select key from replaced where key in (select {owner} from staged_{main.name})"
    # Most windows bring new records only; then no large table is searched.
    if not count_of(connection, f"select count(*) from ({replaced})"):
        return
    if entity.windowed:
        _delete_found(connection, main, database, tables, replaced)
        return
    for table in tables:
        of_these = f"{owner} in ({replaced})"
        if not table.parent:
            keys = ", ".join(table.key)
            of_these = f"({keys}) in (select ({keys}) from staged_{table.name})"
        connection.execute(f"delete from {database}.{table.full_name} where {of_these}")


def _delete_found(connection: Connection, main: Table, database: str, tables: Sequence[Table], keys: str) -> None:
    """Delete the rows of some records where there may be millions of others."""
    owner = main.key[0]
    connection.execute(
        f"create temp table found as with keys as materialized ({keys}), {held(main, database, 'from keys')} "
        "select place, key in (from keys) as is_meant from held"
    )
    # Seldom: another record has the digest of one of these.
    strangers = count_of(connection, "select count(*) from found where not is_meant")
    for table in tables:
        which = "rowid in (select place from found where is_meant)"
        if table is not main:
            which = may_be_of(table, owner, keys) + (f" and {owner} in ({keys})" if strangers else "")
        connection.execute(f"delete from {database}.{table.full_name} where {which}")


def _insert(connection: Connection, database: str, table: Table) -> None:
    names = table.column_names if database == "private" else table.public_column_names
    columns = ", ".join(f'"{name}"' for name in names)
    connection.execute(
        f"insert into {database}.{table.full_name} ({columns}) select {columns} from staged_{table.name}"
    )
