"""Limits as data, and the pacer that keeps them.

A vendor counts requests in several windows at once (5 a second and 120 a minute and 2,000 an hour).
The pacer remembers when requests left and says how long the next one has to wait, so that no window
of any length is ever overdrawn. It also holds the pause that a vendor asks for with Retry-After.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from mmap import mmap
from pathlib import Path

from filelock import FileLock

from engage_pipelines.errors import BudgetSpentError, ConfigError, RetryableError

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
    """What a vendor account allows: rates that hold together, and requests in flight at once.

    Attributes:
        rates: all of them hold at any time.
        in_flight: requests under way at once, per process.
        shared: file by which all processes of this account keep the rates together; None: this client alone.
    """

    rates: tuple[Rate, ...] = ()
    in_flight: int = 4
    shared: Path | None = None


def margin(rate: Rate) -> float:
    """Seconds added to a window of the rate.

    The vendor counts when a request arrives: the older one may have arrived later after leaving, the newer one
    sooner, so a window that is exactly full here may be overfull there.
    """
    return rate.seconds * 0.01 + 0.005


class Pacer:
    """Keeps several rates at once for one vendor account, across threads and, with a file, across processes.

    Its memory is one ring of departure times per rate, and until when the account is paused: in this process, or in
    a small file that the processes of the account share. A request reserves its own departure under the lock, lets
    go and waits: the lock is never held while waiting, and a process that dies leaves nothing behind.

    Args:
        rates: what the vendor allows the account.
        file: the shared memory; made when missing, begun anew when the rates change.
        clock: seconds; wall-clock time where processes share.
        sleep: how to wait.
        patience: longest pause, in seconds, that a request waits for in place.
        name: of the vendor, for messages.
    """

    def __init__(
        self,
        rates: Sequence[Rate],
        *,
        file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = math.inf,
        name: str = "the vendor",
    ) -> None:
        self._rates = tuple(rates)
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._name = name
        self._thread_lock = threading.Lock()
        self._process_lock = FileLock(file.with_suffix(".lock")) if file else nullcontext()
        self._memory = self._open(file) if file else bytearray(_empty(self._rates))

    def wait(self) -> float:
        """Wait until a request may leave, count it, and give the seconds waited.

        Raises:
            BudgetSpentError: a budget of a day or longer is spent; says when it resets. Nothing is counted.
            RetryableError: the vendor asked for a pause that is longer than our patience, and it is not over.
        """
        with self._thread_lock, self._process_lock:
            now = self._clock()
            self._refuse_a_long_pause(now)
            slots = [self._slot(number) for number in range(len(self._rates))]
            leaves_at = max([now, self._paused_until(), *(self._free_at(n, slot, now) for n, slot in enumerate(slots))])
            for number, slot in enumerate(slots):
                self._reserve(number, slot, leaves_at)
        if leaves_at > now:
            self._sleep(leaves_at - now)
        return leaves_at - now

    def pause(self, seconds: float) -> None:
        """Hold all requests of this account back for `seconds` (Retry-After)."""
        with self._thread_lock, self._process_lock:
            until = max(self._paused_until(), self._clock() + seconds)
            _HEADER.pack_into(self._memory, 0, _signature(self._rates), until)

    def _paused_until(self) -> float:
        return float(_HEADER.unpack_from(self._memory, 0)[1])

    def _refuse_a_long_pause(self, now: float) -> None:
        left = self._paused_until() - now
        if left > self._patience:
            moment = datetime.now(UTC) + timedelta(seconds=left)
            message = f"{self._name} asked to be left alone until {moment:%Y-%m-%d %H:%M:%S %Z}"
            raise RetryableError(message, retry_at=moment)

    def _slot(self, number: int) -> int:
        """Where the departure is that left `requests` ago."""
        offset = _offset(self._rates, number)
        (position,) = _POSITION.unpack_from(self._memory, offset)
        return offset + _POSITION.size + int(position) * _TIME.size

    def _free_at(self, number: int, slot: int, now: float) -> float:
        # A window is full while the request that left `requests` ago is still inside it.
        rate = self._rates[number]
        (oldest,) = _TIME.unpack_from(self._memory, slot)
        free_at = float(oldest) + rate.seconds + margin(rate)
        if rate.seconds >= _DAY and free_at > now:
            reset = datetime.now(UTC) + timedelta(seconds=free_at - now)
            message = f"{self._name}: the budget of {rate} is spent until {reset:%Y-%m-%d %H:%M:%S %Z}"
            raise BudgetSpentError(message, retry_at=reset)
        return free_at

    def _reserve(self, number: int, slot: int, leaves_at: float) -> None:
        offset, rate = _offset(self._rates, number), self._rates[number]
        (position,) = _POSITION.unpack_from(self._memory, offset)
        _TIME.pack_into(self._memory, slot, leaves_at)
        _POSITION.pack_into(self._memory, offset, (int(position) + 1) % rate.requests)

    def _open(self, file: Path) -> mmap:
        file.parent.mkdir(parents=True, exist_ok=True)
        empty = _empty(self._rates)
        with self._process_lock:
            if not _is_of(file, empty):
                # Another inode: a process that still keeps other rates goes on with its own memory.
                fresh = file.with_suffix(".new")
                fresh.write_bytes(empty)
                fresh.replace(file)
            with file.open("r+b") as opened:
                return mmap(opened.fileno(), len(empty))


_HEADER = struct.Struct("<16sd")  # which rates the memory is for; paused until
_POSITION = struct.Struct("<q")
_TIME = struct.Struct("<d")
_DAY = 86_400.0


def _empty(rates: Sequence[Rate]) -> bytes:
    never = _TIME.pack(-math.inf)
    rings = (_POSITION.pack(0) + never * rate.requests for rate in rates)
    return _HEADER.pack(_signature(rates), -math.inf) + b"".join(rings)


def _offset(rates: Sequence[Rate], number: int) -> int:
    return _HEADER.size + sum(_POSITION.size + rate.requests * _TIME.size for rate in rates[:number])


def _signature(rates: Sequence[Rate]) -> bytes:
    return hashlib.sha256(",".join(str(rate) for rate in rates).encode()).digest()[:16]


def _is_of(file: Path, empty: bytes) -> bool:
    if not file.exists() or file.stat().st_size != len(empty):
        return False
    with file.open("rb") as opened:
        return opened.read(16) == empty[:16]
