"""Loading pulled windows: each is staged, then written in one transaction; the next ones are staged meanwhile.

Rows are replaced by key, and the load is noted in the same transaction. Windows may be loaded in any order and any
number of times: what core already has in this or a later version is left alone. Windows may come while others are
loaded; nobody is kept out of the files while one is waited for longer.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import duckdb

from engage_pipelines.connector import Entity
from engage_pipelines.model import Table
from engage_pipelines.warehouse.database import Connection, Sitting, Warehouse, all_or_nothing, count_of
from engage_pipelines.warehouse.load_notes import (
    LoadRequest,
    LoadResult,
    core_tables,
    note_completeness,
    note_load,
    note_quarantine,
    note_versions,
    unknown_fields,
)
from engage_pipelines.warehouse.staging import leave_out_written, stage, stage_rest

# Windows that are staged while one is written; the rows of each are in memory.
_AHEAD = 1
# Others want to open the files too: they are closed after so many seconds, and stay so for as long as a waiting
# process needs to notice.
_LONGEST_SITTING = 5.0
_BREATH = 0.1
# Closing and opening costs more than waiting so many seconds for a window that is still pulled.
_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class _Part:
    """What one transaction writes: a window's rows in one of the two files."""

    request: LoadRequest
    database: str


@dataclass(slots=True)
class _Staged:
    """A part whose records are in temporary tables of its connection."""

    part: _Part
    connection: Connection
    records: int
    unknown_fields: tuple[str, ...]


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

    The files are open, and closed to others, while a result is looked at. Windows that are too large to be in memory
    two at a time are loaded one after the other, with all of it and one thread.
    """
    parts = _Parts(_Here(requests) if isinstance(requests, Sequence) else requests)
    is_tight = False
    while parts.wait():
        side_by_side = parts.are_several() and not is_tight
        try:
            opened = warehouse.sitting(side_by_side=side_by_side, is_tight=is_tight)
            with opened as sitting, _Stagers(sitting, parts) as stagers:
                yield from _load_for_a_while(stagers, now, side_by_side=side_by_side)
        except duckdb.OutOfMemoryException:
            if is_tight:
                raise
            is_tight = True
        if parts.at(0) is not None:
            time.sleep(_BREATH)


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

    def wait(self) -> bool:
        """True once there is a part; False if all are written and no window comes any more."""
        return self.at(0, within=math.inf) is not None

    def are_several(self) -> bool:
        """True if there will be more than the first."""
        return len(self._here) > 1 or self._arrivals.left > 0

    def at(self, position: int, *, within: float = 0.0) -> _Part | None:
        """The part that is so many behind the first; None if its window does not come within so many seconds."""
        while len(self._here) <= position:
            request = self._arrivals.next(within=within)
            if request is None:
                return None
            self._here.extend(_parts(request))
        return self._here[position]

    def first_is_written(self) -> None:
        """Let go of the first."""
        self._here.popleft()


def _parts(request: LoadRequest) -> Iterator[_Part]:
    # One transaction can write one file only. The private one goes first: what it has too much after a
    # crash is replaced by the repeat, which happens because the load is noted in the other one.
    if any(table.is_personal for table in core_tables(request.entity)):
        yield _Part(request, "private")
    yield _Part(request, "warehouse")


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
        self._written: list[str] = []

    def __enter__(self) -> _Stagers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._open.close()

    def begin_next(self, *, patience: float = 0.0) -> None:
        """Begin with the next parts, unless enough are under way or it is time to let others in.

        If none is under way, the next one is waited for with so many seconds of patience.
        """
        is_time = time.monotonic() - self._sitting.began > _LONGEST_SITTING
        while len(self._ahead) < _AHEAD and not is_time:
            part = self._parts.at(self._begun, within=0.0 if self._ahead else patience)
            if part is None:
                return
            connection = self._open.enter_context(self._sitting.connection())
            self._ahead.append((self._pool.submit(_stage, connection, part), len(self._written)))
            self._begun += 1

    def next(self) -> tuple[_Staged, Sequence[str]] | None:
        """The next part, and the loads that were written since its staging began."""
        if not self._ahead:
            return None
        future, known = self._ahead.popleft()
        return future.result(), self._written[known:]

    def is_written(self, staged: _Staged) -> None:
        """Let go of the part that came last from `next`."""
        staged.connection.close()
        self._written.append(staged.part.request.load_id)
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
        result = _write(staged, written, now())
        stagers.is_written(staged)
        if result is not None:
            yield staged.part.request, result
        stagers.begin_next(patience=_PATIENCE)


def _stage(connection: Connection, part: _Part) -> _Staged:
    records = stage(connection, part.request, part.database)
    unknown = unknown_fields(part.request) if part.database == "warehouse" else ()
    return _Staged(part, connection, records, unknown)


def _write(staged: _Staged, written: Sequence[str], now: datetime) -> LoadResult | None:
    """Write a part; the part of the published file gives the window's result."""
    connection, request, database = staged.connection, staged.part.request, staged.part.database
    entity, tables = request.entity, core_tables(request.entity)
    # Only now: it may refer to what an earlier window has just brought, and both threads have as much to do.
    stage_rest(connection, request)
    with all_or_nothing(connection):
        if entity.windowed:
            leave_out_written(connection, request, database, written)
        if database == "private":
            _replace(connection, entity, database, [table for table in tables if table.is_personal])
            return None
        rows = _replace(connection, entity, database, tables)
        quarantined = note_quarantine(connection, request, now)
        missing = note_completeness(connection, request, now) if request.proofs else 0
        if "transactions" in rows:
            note_versions(connection, now)
        changed = next(iter(rows.values()))
        result = LoadResult(staged.records, changed, quarantined, missing, staged.unknown_fields, rows)
        note_load(connection, request, result, now)
    return result


def _replace(connection: Connection, entity: Entity, database: str, tables: Sequence[Table]) -> dict[str, int]:
    """Put the staged rows in the place of older ones; gives the rows per table."""
    _delete_replaced(connection, entity, database, tables)
    return {table.name: _insert(connection, database, table) for table in tables}


def _delete_replaced(connection: Connection, entity: Entity, database: str, tables: Sequence[Table]) -> None:
    """Delete the rows of records that core has in an older version, children with their parents."""
    main = core_tables(entity)[0]
    owner = main.key[0]
    replaced = f"select key from replaced where key in (select {owner} from staged_{main.name})"
    # Most windows bring new records only; then no large table is searched.
    if not count_of(connection, f"select count(*) from ({replaced})"):
        return
    for table in tables:
        of_these = f"{owner} in ({replaced})"
        if not entity.windowed and not table.parent:
            keys = ", ".join(table.key)
            of_these = f"({keys}) in (select ({keys}) from staged_{table.name})"
        connection.execute(f"delete from {database}.{table.full_name} where {of_these}")


def _insert(connection: Connection, database: str, table: Table) -> int:
    names = table.column_names if database == "private" else table.public_column_names
    columns = ", ".join(f'"{name}"' for name in names)
    return count_of(
        connection,
        f"insert into {database}.{table.full_name} ({columns}) select {columns} from staged_{table.name}",
    )
