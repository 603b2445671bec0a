"""How many windows are pulled side by side: as few as keep the till, its limit or this processor busy.

Windows that share what there is all end late, and together. With few at a time the oldest are whole early, can be
loaded while the next ones are pulled, and fewer pages are in memory.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable

from engage_pipelines.http_client import Rate

# A second one is asked while the first one's page is written.
_AT_FIRST = 2
# With more of the processor in use by pulling, another window would only take it from the others.
_BUSY = 0.5
# With more of all processors in use by whatever this process does, answers are late because nobody reads them.
_ALL_BUSY = 0.75
# Of the mean of what pages took: how much the last one counts.
_LATEST = 0.2
# Seconds over which the use of processors is looked at, at least: a load that merges its log rests for one or two.
_LATELY = 5.0


class Breadth:
    """Grows by one when an answer was waited for, as long as neither the limit nor the processor is what holds.

    Args:
        most: windows side by side at most; a window has one call in flight.
        rates: that the vendor allows.
    """

    def __init__(self, most: int, rates: Iterable[Rate]) -> None:
        self.allowed = min(_AT_FIRST, most)
        self._most = most
        self._calls_a_second = min((rate.requests / rate.seconds for rate in rates), default=math.inf)
        self._call_seconds: float | None = None
        self._processor_seconds = 0.0
        self._lock = threading.Lock()

    def note_page(self, call_seconds: float, processor_seconds: float, *, in_use: float) -> None:
        """Hear of a page.

        Args:
            call_seconds: what its calls took, waits for the limit left out.
            processor_seconds: what its thread computed.
            in_use: how much of all processors the process used lately, 0 to 1.
        """
        with self._lock:
            if self._call_seconds is None:
                self._call_seconds, self._processor_seconds = call_seconds, processor_seconds
            self._call_seconds += _LATEST * (call_seconds - self._call_seconds)
            self._processor_seconds += _LATEST * (processor_seconds - self._processor_seconds)
            # So many calls are under way at once if as many leave as may.
            enough_for_the_rate = self.allowed > self._calls_a_second * self._call_seconds
            is_busy = self.allowed * self._processor_seconds > _BUSY * self._call_seconds or in_use > _ALL_BUSY
            if not enough_for_the_rate and not is_busy:
                self.allowed = min(self.allowed + 1, self._most)


class ProcessorUse:
    """How much of all processors this process used in the last five to ten seconds, or since the beginning.

    Args:
        processors: that there are for it.
        wall: seconds that pass.
        used: processor seconds of the whole process.
    """

    def __init__(
        self,
        processors: int | None = None,
        *,
        wall: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self._processors = processors or _processors()
        self._wall, self._used = wall, used
        self._before = self._latest = (wall(), used())
        self._lock = threading.Lock()

    def now(self) -> float:
        """Tell it, 0 to 1."""
        wall, used = self._wall(), self._used()
        with self._lock:
            if wall - self._latest[0] >= _LATELY:
                self._before, self._latest = self._latest, (wall, used)
            since_wall, since_used = self._before
        return (used - since_used) / (self._processors * (wall - since_wall)) if wall > since_wall else 0.0


def _processors() -> int:
    # Of a container or a process bound to some of them not all are its own; only Linux tells.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
