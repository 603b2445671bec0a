"""Time for several threads: it moves on when all of them sleep, and only one of them runs at a time.

What happens is so the same in every run, whatever the machine does meanwhile.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


class VirtualTime:
    """Seconds that really passed, a wall clock that may be set wrong, and sleep."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall_is_off_by = 0.0
        self._condition = threading.Condition()
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int]] = []
        self._awake: int | None = None

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return _START + timedelta(seconds=self.seconds + self.wall_is_off_by)

    def wall(self) -> float:
        return self.now().timestamp()

    def sleep(self, seconds: float) -> None:
        with self._condition:
            number = self._lie_down(seconds)
            self._wake_next()
            self._wait_for(number)

    def run(self, *actors: Callable[[], object]) -> None:
        """Let all of them act at once, beginning now; the first error of any is raised."""
        with ThreadPoolExecutor(len(actors)) as pool:
            with self._condition:
                begun = [pool.submit(self._act, actor, self._lie_down(0.0)) for actor in actors]
                self._wake_next()
            for each in begun:
                each.result()

    def _act(self, actor: Callable[[], object], number: int) -> None:
        with self._condition:
            self._wait_for(number)
        try:
            actor()
        finally:
            with self._condition:
                self._wake_next()

    def _lie_down(self, seconds: float) -> int:
        number = next(self._numbers)
        heapq.heappush(self._sleepers, (self.seconds + seconds, number))
        return number

    def _wake_next(self) -> None:
        if self._sleepers:
            moment, self._awake = heapq.heappop(self._sleepers)
            self.seconds = max(self.seconds, moment)
            self._condition.notify_all()

    def _wait_for(self, number: int) -> None:
        if not self._condition.wait_for(lambda: self._awake == number, timeout=60):
            raise TimeoutError("somebody keeps the time from passing")
