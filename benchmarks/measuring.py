"""What a command costs: time, processor time and the most memory that it and its children held at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_SECONDS = 0.05
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Measured:
    """One command that has ended.

    Attributes:
        output: what it wrote to standard output.
        exit_code: how it ended; negative for a signal.
        wall_seconds: from start to end.
        cpu_seconds: user and system time, those of its children included.
        peak_bytes: most resident memory of the whole tree at once, sampled; never less than the largest process
            of it ever held.
        load_before: average number of processes that wanted to run in the minute before it.
    """

    output: str
    exit_code: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    load_before: float


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end; what it writes to standard error is shown."""
    load = os.getloadavg()[0]
    began = _clock()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own commands only
    sampler = _Sampler(process.pid)
    try:
        assert process.stdout is not None  # noqa: S101 - asked for one line above
        with process.stdout as lines:
            output = lines.read()
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    finally:
        sampler.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    # The system counts the caller in: a child begins as a copy of it.
    largest = 0 if sampler.peak_bytes else usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Measured(
        output=output, exit_code=process.returncode, wall_seconds=_clock() - began,
        cpu_seconds=usage.ru_utime + usage.ru_stime, peak_bytes=max(largest, sampler.peak_bytes), load_before=load,
    )  # fmt: skip


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and all that it started, in bytes; 0 where the system does not tell."""
    return sum(_bytes(each, "VmRSS") for each in _tree(pid))


class _Sampler(threading.Thread):
    """Looks at a tree of processes at short intervals."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._ended.wait(_EVERY_SECONDS):
            # The process's own record too: what it held between two looks counts.
            self.peak_bytes = max(self.peak_bytes, tree_bytes(self._pid), _bytes(self._pid, "VmHWM"))

    def stop(self) -> None:
        """End sampling."""
        self._ended.set()
        self.join()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for file in (_PROC / str(pid) / "task").glob("*/children"):
        for child in _read(file).split():
            yield from _tree(int(child))


def _bytes(pid: int, field: str) -> int:
    for line in _read(_PROC / str(pid) / "status").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""  # ended meanwhile


def _clock() -> float:
    return os.times().elapsed
