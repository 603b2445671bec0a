"""Pulling: ask the till for windows, side by side, and spool what it says."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engage_pipelines.connector import Entity, Scope, Window
from engage_pipelines.http_client import Exchange, VendorClient
from engage_pipelines.ingest.breadth import Breadth, ProcessorUse
from engage_pipelines.ingest.spool import Manifest, Spool
from engage_pipelines.process_memory import give_pages_back, share_one_heap

Progress = Callable[[int, int], None]

# What asks location by location has this many groups of them before a group has two: of a night, which is one window,
# they are pulled side by side. A constant: with another number the lake would have other windows.
_GROUPS = 8
# Pages of more windows than these leave holes in the heap that count. There are more where vendors are waited for, so
# what it costs the processor to be rid of them is there.
_FEW = 2


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought: windows, pages, records, bytes (uncompressed), calls and seconds."""

    windows: int
    pages: int
    records: int
    bytes: int
    calls: int
    seconds: float


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _no_progress(done: int, total: int) -> None:
    del done, total


class Pulling:
    """A pull under way: threads fill the spool, and windows are given out in their order, each when it is whole.

    Args:
        client: the source's client; its `in_flight` is how many windows are pulled side by side at most.
        entity: what to pull.
        source: source name.
        lake: folder of all spools.
        windows: what to pull; an entity that is not windowed is pulled once, as of the last end.
        location_ids: the till's locations.
        options: the source's options.
        progress: called with (windows given out, windows in all).
        now: the clock.
    """

    def __init__(
        self,
        client: VendorClient,
        entity: Entity,
        *,
        source: str,
        lake: Path,
        windows: Sequence[Window],
        location_ids: Sequence[str],
        options: Any,
        progress: Progress = _no_progress,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._client = client
        self._entity = entity
        self._spool = Spool(lake, source, entity.name)
        self._progress = progress
        self._now = now
        self._scopes = deque(
            Scope(window, locations, options)
            for window in (windows if entity.windowed else windows[-1:])
            for locations in _groups(entity, location_ids)
        )
        self._total = len(self._scopes)
        self._breadth = Breadth(client.limits.in_flight, client.limits.rates)
        self._processors = ProcessorUse()
        self._pool = ThreadPoolExecutor(client.limits.in_flight, thread_name_prefix="pull")
        # Begun and not given out yet, oldest first.
        self._begun: deque[Future[Manifest]] = deque()
        self._under_way = 0
        self._is_over = False
        self._lock = threading.Lock()
        self._is_pulled = threading.Event()
        self._given: list[Manifest] = []
        self._began, self._calls = time.monotonic(), client.calls
        self._ended: float | None = None

    def __enter__(self) -> Self:
        """Begin."""
        share_one_heap()
        self._spool.sweep()
        self._begin_more()
        self._note_if_pulled()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Begin no further window, and wait for those under way."""
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        """Begin no further window."""
        with self._lock:
            self._is_over = True
        self._note_if_pulled()

    def wait(self) -> bool:
        """Wait until nothing is under way any more; True if all windows are whole, False after a failure or a stop."""
        self._is_pulled.wait()
        return not self._is_over

    @property
    def left(self) -> int:
        """Windows that have not been given out yet."""
        return self._total - len(self._given)

    def next(self, *, within: float = math.inf) -> tuple[Path, Manifest] | None:
        """The folder and manifest of the next whole window; None after the last one, or if it takes longer.

        Args:
            within: seconds to wait.

        Raises:
            CredentialsError, RetryableError, ContractError: as the client and the connector say, of the first
                window that failed, and only to who waits forever; finished windows stay, the others are not there.
        """
        with self._lock:
            first = self._begun[0] if self._begun else None
        if first is None or (within < math.inf and not _is_whole(first, within)):
            return None
        manifest = first.result()
        with self._lock:
            self._begun.popleft()
        self._given.append(manifest)
        self._progress(len(self._given), self._total)
        window = Window(manifest.window_start, manifest.window_end)
        return self._spool.folder / self._spool.window_name(window, manifest.location_ids), manifest

    def finish(self) -> Pulled:
        """Wait for all windows.

        Raises:
            CredentialsError, RetryableError, ContractError: see `next`.
        """
        while self.next():
            pass
        return self.told()

    def told(self) -> Pulled:
        """What the windows that were given out brought."""
        return Pulled(
            windows=len(self._given),
            pages=sum(m.pages for m in self._given),
            records=sum(m.records for m in self._given),
            bytes=sum(m.bytes for m in self._given),
            calls=self._client.calls - self._calls,
            seconds=(self._ended or time.monotonic()) - self._began,
        )

    def _begin_more(self) -> None:
        with self._lock:
            while self._scopes and not self._is_over and self._under_way < self._breadth.allowed:
                self._under_way += 1
                if self._under_way > _FEW:
                    give_pages_back()
                self._begun.append(self._pool.submit(self._pull_scope, self._scopes.popleft()))

    def _pull_scope(self, scope: Scope) -> Manifest:
        """One window; when it fails no further one is begun: a refused key is refused for every window."""
        entity, client = self._entity, self._client
        try:
            with client.listening() as heard:
                manifest = self._spool.write(
                    scope.window,
                    scope.location_ids,
                    self._watched(entity.pull(client, scope), heard),
                    # The second question comes after the first: what was changed in between shows as moved, not
                    # missing.
                    self._watched(entity.prove(client, scope), heard) if entity.prove else None,
                    now=self._now,
                    is_alone=self._total == 1,
                )
        except BaseException:
            self._is_over = True
            raise
        finally:
            with self._lock:
                self._under_way -= 1
            self._begin_more()
            self._note_if_pulled()
        return manifest

    def _note_if_pulled(self) -> None:
        with self._lock:
            if not self._under_way and (self._is_over or not self._scopes) and self._ended is None:
                self._ended = time.monotonic()
                self._is_pulled.set()

    def _watched(self, pages: Iterable[Sequence[bytes]], heard: list[Exchange]) -> Iterator[Sequence[bytes]]:
        """The same pages; one whose answer was waited for may make room for another window."""
        used = time.thread_time()
        for page in pages:
            yield page
            del page
            by = time.thread_time()
            self._breadth.note_page(
                sum(exchange.seconds for exchange in heard), by - used, in_use=self._processors.now()
            )
            heard.clear()
            used = by
            self._begin_more()


def _is_whole(window: Future[Manifest], within: float) -> bool:
    futures.wait([window], timeout=within)
    return window.done() and window.exception() is None


def _groups(entity: Entity, location_ids: Sequence[str]) -> list[tuple[str, ...]]:
    if not entity.per_location:
        return [()]
    ordered, step = sorted(location_ids), entity.locations_per_call
    if entity.walks_locations:
        # Each group costs a load of its own: a chain's many small shops share one.
        step = min(step, max(1, -(-len(ordered) // _GROUPS)))
    return [tuple(ordered[i : i + step]) for i in range(0, len(ordered), step)]
