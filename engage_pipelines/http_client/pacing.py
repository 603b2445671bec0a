"""Limits as data, and the pacer that keeps them.

A vendor counts requests in several windows at once (5 a second and 120 a minute and 2,000 an hour).
The pacer remembers when requests left and says how long the next one has to wait, so that no window
of any length is ever overdrawn. It also holds the pause that a vendor asks for with Retry-After.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engage_pipelines.errors import ConfigError

_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
          "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}  # fmt: skip
_RATE = re.compile(r"^\s*([\d_]+)\s*/\s*(\d*)\s*([a-z]+)\s*$")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any `seconds` long stretch of time."""

    requests: int
    seconds: float

    def __str__(self) -> str:
        """The notation of engage.toml, e.g. `5/s`, `120/min`, `2000/h`."""
        names = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}
        return f"{self.requests}/{names.get(self.seconds, f'{self.seconds:g}s')}"


def parse_rate(text: str) -> Rate:
    """Read `5/s`, `120/min`, `2000/h`, `90000/day` or `100/10s`.

    Raises:
        ConfigError: the text is not of that form.
    """
    found = _RATE.match(text.lower().replace(",", ""))
    requests = int(found[1].replace("_", "") or 0) if found else 0
    seconds = float(found[2] or 1) * _UNITS.get(found[3], 0) if found else 0
    if not requests or not seconds:
        raise ConfigError(f"rate {text!r}: write <requests>/<s|min|h|day>, e.g. 5/s or 2000/h")
    return Rate(requests, seconds)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vendor account allows: rates that hold together, and requests in flight at once."""

    rates: tuple[Rate, ...] = ()
    in_flight: int = 4


class Pacer:
    """Keeps several rates at once for one vendor account; safe to share between threads."""

    def __init__(
        self,
        rates: Sequence[Rate],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rates = tuple(rates)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._sent: list[deque[float]] = [deque(maxlen=rate.requests) for rate in self._rates]
        self._paused_until = 0.0

    def wait(self) -> float:
        """Wait until a request may leave, count it, and give the seconds waited."""
        with self._lock:
            now = self._clock()
            leaves_at = max([now, self._paused_until, *self._earliest()])
            for sent in self._sent:
                sent.append(leaves_at)
        if leaves_at > now:
            self._sleep(leaves_at - now)
        return leaves_at - now

    def pause(self, seconds: float) -> None:
        """Hold all requests of this account back for `seconds` (Retry-After)."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _earliest(self) -> list[float]:
        # A window is full when the request that left `requests` ago is still inside it. The margin
        # covers the time a request needs to reach the vendor's own counter, which can only be later
        # for the older one by as much as it is earlier for the newer one.
        return [
            sent[0] + rate.seconds * 1.01 + 0.005
            for rate, sent in zip(self._rates, self._sent, strict=True)
            if len(sent) == rate.requests
        ]
