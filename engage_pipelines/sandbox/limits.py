"""What a vendor's gate keeper does: sliding-window counters, and a look at the calls that are open at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class SlidingWindows:
    """Lets a call in while every window still has room.

    A refused call takes no room, so a caller that backs off is let in as soon as its older calls have
    left the window. Safe to share between threads.

    Args:
        rates: pairs of (requests, seconds) that hold together.
        clock: seconds that never go back.

    Attributes:
        exceeded: calls that came while a window was full, refused or not.
        let_through: calls that were let in.
        enforced: whether calls beyond the rates are refused; else they are counted and let in.
    """

    def __init__(self, rates: Sequence[tuple[int, float]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rates: tuple[tuple[int, float], ...] = ()
        self._seen: list[deque[float]] = []
        self.exceeded = 0
        self.let_through = 0
        self.enforced = True
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
            if self._is_full(now):
                self.exceeded += 1
                if self.enforced:
                    return False
            self.let_through += 1
            for seen in self._seen:
                seen.append(now)
        return True

    def _is_full(self, now: float) -> bool:
        for (_, seconds), seen in zip(self._rates, self._seen, strict=True):
            while seen and seen[0] <= now - seconds:
                seen.popleft()
        return any(len(seen) >= requests for (requests, _), seen in zip(self._rates, self._seen, strict=True))


class OpenCalls:
    """Calls that have come and are not answered yet; used from the event loop alone.

    A caller that has hung up waits no longer, so its call is not counted even while the work goes on.

    Attributes:
        most: most calls that were open at once.
        exceeded: calls that came while as many as the vendor asks for, or more, were open.
    """

    def __init__(self) -> None:
        self._open: dict[object, asyncio.BaseTransport | None] = {}
        self.most = 0
        self.exceeded = 0

    @contextmanager
    def one_more(self, connection: asyncio.BaseTransport | None, limit: int) -> Iterator[None]:
        """Count a call while it lasts."""
        mine = object()
        self._open[mine] = connection
        now_open = sum(1 for one in self._open.values() if one is None or not one.is_closing())
        self.most = max(self.most, now_open)
        self.exceeded += now_open > limit
        try:
            yield
        finally:
            del self._open[mine]
