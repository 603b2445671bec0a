"""What the threads and processes of one vendor account remember together.

When requests leave, until when the vendor asked to be left alone, and how it failed: in this process, or in a
small file that all processes of the account map. Here is how it is kept, locked and set right after a jump of the
clock; what it means is the business of `pacing.py` and `breaker.py`.
"""

from __future__ import annotations

import hashlib
import math
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

from engage_pipelines.http_client.limits import Rate
from engage_pipelines.http_client.process_lock import ProcessLock

# Part of the signature: a file of another layout is begun anew.
_LAYOUT = "2"
_HEADER = struct.Struct("<16sddq")  # whose memory; latest reading of the clock; paused until; number of pauses
_OUTAGE = struct.Struct("<BB30sdd")  # the fields of Outage
_COUNT = struct.Struct("<q")  # departures ever reserved
_TIME = struct.Struct("<d")
_LOG_AT = _HEADER.size + _OUTAGE.size + _COUNT.size
# Departures kept beyond those that the rates look back on: requests that wait at once, in all processes.
_WAITING = 256
# Seconds; a clock that is slewed or read by several cores may step back a little, which is no jump.
_SMALL_STEP = 1.0


class Outage(NamedTuple):
    """How the vendor failed lately; times are readings of the memory's clock.

    Attributes:
        failures: in a row, up to 255.
        rests: rests taken in this outage.
        seen: the last failure, e.g. `status 503`.
        open_until: nobody calls before; minus infinity while the vendor is not left alone.
        probe_until: one request is finding out how the vendor is; it counts as lost after this.
    """

    failures: int = 0
    rests: int = 0
    seen: str = ""
    open_until: float = -math.inf
    probe_until: float = -math.inf

    @property
    def is_open(self) -> bool:
        """True if the vendor is left alone, or has been and nobody has got an answer since."""
        return self.open_until > -math.inf


class Memory:
    """Departures, pause and outage of one account, behind one lock.

    Departures are numbered from 0 as they are reserved, and never decrease. Everything but `failures` is to be read and
    written inside `held()` only.

    Args:
        rates: what the account allows; says how many departures to keep.
        file: the shared memory; made when missing, begun anew when the rates (or its layout) change.
        clock: seconds; wall-clock time where processes share.
    """

    def __init__(
        self, rates: Sequence[Rate], *, file: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rates = tuple(rates)
        self.clock = clock
        self._size = max((rate.requests for rate in self.rates), default=0) + _WAITING
        self._log = struct.Struct(f"<{self._size}d")
        self._thread_lock = threading.Lock()
        self._process_lock = ProcessLock(file.with_suffix(".lock")) if file else nullcontext()
        self._bytes = self._open(file) if file else bytearray(self._empty())

    @contextmanager
    def held(self) -> Iterator[float]:
        """Hold the memory for a moment, never while waiting; yields the time, which never runs back here."""
        with self._thread_lock, self._process_lock:
            yield self._read_clock()

    @property
    def failures(self) -> int:
        """Failures in a row; one byte, so it may be read without the lock."""
        return self._bytes[_HEADER.size]

    @property
    def outage(self) -> Outage:
        """How the vendor failed lately."""
        failures, rests, seen, *times = _OUTAGE.unpack_from(self._bytes, _HEADER.size)
        return Outage(failures, rests, seen.rstrip(b"\0").decode(errors="replace"), *times)

    @outage.setter
    def outage(self, outage: Outage) -> None:
        failures, rests, seen, *times = outage
        _OUTAGE.pack_into(self._bytes, _HEADER.size, min(failures, 255), min(rests, 255), seen.encode()[:30], *times)

    @property
    def paused_until(self) -> float:
        """Nobody calls before."""
        return float(_HEADER.unpack_from(self._bytes)[2])

    @property
    def pauses(self) -> int:
        """How many pauses there have been: a request that waits sees by it that its departure may have moved."""
        return int(_HEADER.unpack_from(self._bytes)[3])

    def pause(self, until: float) -> None:
        """Note a pause."""
        owner, latest, _, pauses = _HEADER.unpack_from(self._bytes)
        _HEADER.pack_into(self._bytes, 0, owner, latest, until, pauses + 1)

    @property
    def next_number(self) -> int:
        """The number of the departure that is reserved next."""
        return int(_COUNT.unpack_from(self._bytes, _LOG_AT - _COUNT.size)[0])

    @property
    def oldest_to_move(self) -> int:
        """The first departure that has everything in the memory that its rates look back on."""
        return max(0, self.next_number - _WAITING)

    def departure(self, number: int) -> float:
        """When a request left or will; minus infinity if that is not known any more."""
        if not max(0, self.next_number - self._size) <= number < self.next_number:
            return -math.inf
        return float(_TIME.unpack_from(self._bytes, self._place(number))[0])

    def move(self, number: int, leaves_at: float) -> None:
        """Note another, later time for a departure."""
        _TIME.pack_into(self._bytes, self._place(number), leaves_at)

    def append(self, leaves_at: float) -> int:
        """Note a departure and give its number."""
        number = self.next_number
        self.move(number, leaves_at)
        _COUNT.pack_into(self._bytes, _LOG_AT - _COUNT.size, number + 1)
        return number

    def _place(self, number: int) -> int:
        return _LOG_AT + number % self._size * _TIME.size

    def _read_clock(self) -> float:
        now = self.clock()
        owner, latest, paused_until, pauses = _HEADER.unpack_from(self._bytes)
        latest = float(latest)
        if now < latest - _SMALL_STEP:
            # Somebody set the clock back. What was noted stays as far from now as it was, however long ago that is:
            # nothing is overdrawn, and nobody waits for a time that the old clock would have reached hours from now.
            self._shift(now - latest)
            return now
        now = max(now, latest)
        _HEADER.pack_into(self._bytes, 0, owner, now, paused_until, pauses)
        return now

    def _shift(self, seconds: float) -> None:
        owner, latest, paused_until, pauses = _HEADER.unpack_from(self._bytes)
        _HEADER.pack_into(self._bytes, 0, owner, latest + seconds, paused_until + seconds, pauses)
        outage = self.outage
        self.outage = outage._replace(
            open_until=outage.open_until + seconds, probe_until=outage.probe_until + seconds
        )  # fmt: skip
        moved = (moment + seconds for moment in self._log.unpack_from(self._bytes, _LOG_AT))
        self._log.pack_into(self._bytes, _LOG_AT, *moved)

    def _empty(self) -> bytes:
        owner = hashlib.sha256(",".join([_LAYOUT, *map(str, self.rates)]).encode()).digest()[:16]
        outage = _OUTAGE.pack(0, 0, b"", -math.inf, -math.inf)
        log = self._log.pack(*[-math.inf] * self._size)
        return _HEADER.pack(owner, -math.inf, -math.inf, 0) + outage + _COUNT.pack(0) + log

    def _open(self, file: Path) -> mmap:
        empty = self._empty()
        with self._process_lock:
            if not _is_of(file, empty):
                # Another inode: a process that still keeps other rates goes on with its own memory.
                fresh = file.with_suffix(".new")
                fresh.write_bytes(empty)
                fresh.replace(file)
            with file.open("r+b") as opened:
                return mmap(opened.fileno(), len(empty))


def _is_of(file: Path, empty: bytes) -> bool:
    if not file.exists() or file.stat().st_size != len(empty):
        return False
    with file.open("rb") as opened:
        return opened.read(16) == empty[:16]
