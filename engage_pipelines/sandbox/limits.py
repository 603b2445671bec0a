"""Sliding-window counters: what a vendor's gate keeper does."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence


class SlidingWindows:
    """Lets a call in while every window still has room.

    A refused call takes no room, so a caller that backs off is let in as soon as its older calls have
    left the window. Safe to share between threads.

    Args:
        rates: pairs of (requests, seconds) that hold together.
        clock: monotonic seconds.
    """

    def __init__(self, rates: Sequence[tuple[int, float]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rates: tuple[tuple[int, float], ...] = ()
        self._seen: list[deque[float]] = []
        self.exceeded = 0
        self.change(rates)

    @property
    def rates(self) -> tuple[tuple[int, float], ...]:
        """The rates in force."""
        return self._rates

    def change(self, rates: Sequence[tuple[int, float]]) -> None:
        """Put other rates in force; the count starts anew.

        Raises:
            ValueError: a rate is not two positive numbers.
        """
        wanted = tuple((int(requests), float(seconds)) for requests, seconds in rates)
        if any(requests < 1 or seconds <= 0 for requests, seconds in wanted):
            raise ValueError("a rate is [requests, seconds], both above zero")
        with self._lock:
            self._rates = wanted
            self._seen = [deque() for _ in wanted]

    def admit(self) -> bool:
        """Count a call and let it in, or note that a limit was exceeded."""
        now = self._clock()
        with self._lock:
            for (_, seconds), seen in zip(self._rates, self._seen, strict=True):
                while seen and seen[0] <= now - seconds:
                    seen.popleft()
            full = any(len(seen) >= requests for (requests, _), seen in zip(self._rates, self._seen, strict=True))
            if full:
                self.exceeded += 1
                return False
            for seen in self._seen:
                seen.append(now)
        return True
