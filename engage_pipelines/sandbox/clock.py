"""The sandbox's clock: real time until somebody moves it, so that an hour or a night passes without waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any


class SandboxClock:
    """Epoch seconds for vendors, their fault books and their rates; starts at the real time and runs.

    Args:
        start: epoch seconds to begin with; None: the real time.
        tick: real monotonic seconds.
    """

    def __init__(self, start: float | None = None, *, tick: Callable[[], float] = time.monotonic) -> None:
        self._tick = tick
        self._lock = threading.Lock()
        self._base = time.time() if start is None else start
        self._since = tick()
        self._running = True
        self._jumped = 0.0

    def __call__(self) -> float:
        """Epoch seconds."""
        with self._lock:
            return self._now()

    def moment(self) -> datetime:
        """The present in UTC."""
        return datetime.fromtimestamp(self(), UTC)

    def elapsed(self) -> float:
        """Seconds for rate windows: never go back, pass even while the clock stands, and jump with it.

        A caller paces itself by real time, so a clock that stands must not fill its windows for ever.
        """
        with self._lock:
            return self._tick() + self._jumped

    def advance(self, seconds: float) -> None:
        """Let that much time have passed.

        Raises:
            ValueError: less than nothing.
        """
        if seconds < 0:
            raise ValueError("advance is not below zero")
        with self._lock:
            self._move(self._now() + seconds)

    def set(self, now: float) -> None:
        """Put the clock to epoch seconds, forward or back."""
        with self._lock:
            self._move(now)

    def run(self, *, running: bool) -> None:
        """Let the clock tick, or stand still where it is."""
        with self._lock:
            self._base, self._since = self._now(), self._tick()
            self._running = running

    def standing(self) -> dict[str, Any]:
        """What the clock says, for the inspection API."""
        now = self()
        return {
            "now": now, "moment": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            "running": self._running,
        }  # fmt: skip

    def _now(self) -> float:
        return self._base + (self._tick() - self._since if self._running else 0.0)

    def _move(self, now: float) -> None:
        self._jumped += max(now - self._now(), 0.0)
        self._base, self._since = now, self._tick()


def read_moment(value: Any) -> float:
    """Epoch seconds from a number, or from a moment in ISO 8601 with its zone.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("now is epoch seconds or a moment with its zone")  # noqa: TRY004  a refusal of input
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("now needs a zone")
    return moment.timestamp()
