"""Contenders and stand-in as processes of their own: started, watched, measured.

Memory is what a contender and all its children hold at once, sampled; CPU seconds are those of all of them.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Niceness of contenders.
_YIELDING = 10
_SAMPLE_SECONDS = 0.05


class ContenderError(Exception):
    """A contender ended without a result."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a contender did and needed.

    Attributes:
        result: what it printed last, as JSON: `seconds` of the work (imports left out) and whatever else it tells.
        wall_seconds: from start to end of the process.
        cpu_seconds: user and system, children included.
        peak_bytes: memory of process and children together at its highest, sampled; never less than the process
            itself ever held.
        load_before: processes that wanted to run in the minute before it, on average.
    """

    result: dict[str, Any]
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    load_before: float = 0.0


def run(command: Sequence[str], *, folder: Path, seconds: float = 1800, **environment: str) -> Measured:
    """Run a contender in a folder and measure it.

    Raises:
        ContenderError: it failed; with the end of what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}  # noqa: TID251
    load, began = os.getloadavg()[0], time.monotonic()
    with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        try:
            child = subprocess.Popen(  # noqa: S603  our own scripts
                command, cwd=folder, stdout=out, stderr=err, env={**inherited, "PYTHONPATH": str(HOME), **environment},
                start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ContenderError(f"{Path(command[0]).name} is not installed: make bench installs it") from error
        # A vendor has processors of its own: a stand-in that waited for a contender's would count calls late.
        os.setpriority(os.PRIO_PROCESS, child.pid, _YIELDING)
        peak = _Peak(child.pid)
        status, usage = _wait(child, seconds)
        wall = time.monotonic() - began
    peak_bytes = peak.end() or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    result = _result(folder, status)
    return Measured(result, wall, usage.ru_utime + usage.ru_stime, peak_bytes, load)


def _result(folder: Path, status: int) -> dict[str, Any]:
    lines = (folder / "stdout.txt").read_text().strip().splitlines()
    if status or not lines:
        said = (folder / "stderr.txt").read_text(errors="replace")[-2000:]
        raise ContenderError(f"ended with {status}: {said.replace(str(HOME), '')}")
    try:
        result: dict[str, Any] = json.loads(lines[-1])
    except ValueError as error:
        raise ContenderError(f"told no result: {lines[-1][:200]}") from error
    return result


@contextmanager
def stand_in(python: str, *, orders: Path | None = None, latency: float = 0.0, rate: int = 0) -> Iterator[str]:
    """The stand-in in a process of its own; yields its address."""
    command = [python, "-m", "benchmarks.stand_in", "--latency", str(latency), "--rate", str(rate)]
    if orders:
        command += ["--orders", str(orders)]
    child = subprocess.Popen(  # noqa: S603
        command, cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None  # noqa: S101  asked for above
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.communicate(timeout=15)


def report_of(url: str) -> dict[str, Any]:
    """What the stand-in has counted so far."""
    with urllib.request.urlopen(f"{url}/_report", timeout=30) as answer:  # noqa: S310  loopback
        told: dict[str, Any] = json.load(answer)
    return told


def _wait(child: subprocess.Popen[bytes], seconds: float) -> tuple[int, resource.struct_rusage]:
    timer = threading.Timer(seconds, _kill, [child])
    timer.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)
    except BaseException:
        _kill(child)
        raise
    finally:
        timer.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a contender and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


class _Peak:
    """Watches a process and its children until it ends."""

    def __init__(self, pid: int) -> None:
        self._pid, self._highest = pid, 0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def end(self) -> int:
        """Stop watching; the highest memory seen, in bytes."""
        self._over.set()
        self._watcher.join()
        return self._highest

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            # The process's own record too: what it held between two looks counts.
            self._highest = max(self._highest, _memory_of(_family(self._pid)), _field(self._pid, "status", "VmHWM"))


def _family(pid: int) -> list[int]:
    found, at = [pid], 0
    while at < len(found):
        found += _children(found[at])
        at += 1
    return found


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    # A listing of its own, as one that ends between two looks of a search would end the search with an error.
    with suppress(OSError):
        return [int(child) for task in tasks.iterdir() for child in _read(task / "children").split()]
    return []


def _memory_of(pids: list[int]) -> int:
    if len(pids) == 1:
        fields = _read(Path(f"/proc/{pids[0]}/statm")).split()
        return int(fields[1]) * _PAGE if fields else 0
    # Forked children share pages with their parent: each page must count once.
    return sum(_field(pid, "smaps_rollup", "Pss") for pid in pids)


def _field(pid: int, file: str, name: str) -> int:
    """A size that the system tells of a process, in bytes."""
    for line in _read(Path(f"/proc/{pid}/{file}")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # it has just ended
        return ""
