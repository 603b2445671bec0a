"""How many windows are pulled side by side: as few as keep the till, its limit or this processor busy.

Windows that share what there is all end late, and together. With few at a time the oldest are whole early, can be
loaded while the next ones are pulled, and fewer pages are in memory.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable

from engage_pipelines.http_client import Rate

# A second one is asked while the first one's page is written.
_AT_FIRST = 2
# With more of the processor in use by pulling, another window would only take it from the others.
_BUSY = 0.5
# Of the mean of what calls took: how much the last one counts.
_LATEST = 0.2


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
        self._lock = threading.Lock()

    def note_page(self, call_seconds: float, processor_seconds: float) -> None:
        """Hear of a page: what its calls took, waits for the limit left out, and what its thread computed."""
        with self._lock:
            before = call_seconds if self._call_seconds is None else self._call_seconds
            self._call_seconds = before + _LATEST * (call_seconds - before)
            # So many calls are under way at once if as many leave as may.
            enough_for_the_rate = self.allowed > self._calls_a_second * self._call_seconds
            is_busy = self.allowed * processor_seconds > _BUSY * call_seconds
            if not enough_for_the_rate and not is_busy:
                self.allowed = min(self.allowed + 1, self._most)
