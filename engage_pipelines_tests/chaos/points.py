"""Exact places at which a child kills itself: the n-th call of, or return from, a function of a file.

The product knows nothing of this: the interpreter's profiler watches. A place whose file or function was renamed is
never met any more; a test counts the meetings of all of them in undisturbed runs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

KILL = "ENGAGE_CHAOS_KILL"
COUNT = "ENGAGE_CHAOS_COUNT"
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the code.

    Attributes:
        name: what the report calls it.
        file: end of the file's path.
        function: name of the function, `*` for any.
        event: `call` or `return`.
        of: commands that come by: `pull`, `load`, `deliver`, `publish`.
        often: how many times a command comes by, roughly; where among them it strikes is drawn.
    """

    name: str
    file: str
    function: str
    event: str
    of: tuple[str, ...]
    often: int = 4


_LEDGER = "engage_pipelines/state/ledger.py"
_WIRE = "httpcore/_sync/http11.py"

POINTS = (
    Point("in the plan", "engage_pipelines/warehouse/plan.py", _ANY, "call", ("deliver",), 12),
    Point("step 1 committed", _LEDGER, "begin", "return", ("deliver",)),
    Point("before the call", _WIRE, "_send_request_headers", "call", ("deliver", "pull"), 8),
    Point("call under way", _WIRE, "_send_request_body", "return", ("deliver", "pull"), 8),
    Point("answer came", _WIRE, "_receive_response_headers", "return", ("deliver", "pull"), 8),
    Point("before step 3", _LEDGER, "settle", "call", ("deliver",)),
    Point("step 3 committed", _LEDGER, "settle", "return", ("deliver",)),
    Point("between the steps", "engage_pipelines/delivery/sending.py", _ANY, "call", ("deliver",), 25),
    Point("in the ledger", _LEDGER, _ANY, "return", ("deliver",), 12),
    Point("handing a file over", "engage_pipelines/file_drop/folder.py", _ANY, "call", ("deliver",), 6),
    Point("in the publish", "engage_pipelines/warehouse/publish.py", _ANY, "call", ("publish",), 4),
    Point("copying for the publish", "shutil.py", "copyfile", "return", ("publish",), 1),
    Point("renaming for the publish", "pathlib.py", "replace", "call", ("publish",), 1),
    Point("in the pull", "engage_pipelines/ingest/pull.py", _ANY, "call", ("pull",), 20),
    Point("in the spool", "engage_pipelines/ingest/spool.py", _ANY, "call", ("pull", "load"), 60),
    Point("putting a spool in place", "engage_pipelines/ingest/spool.py", "_put_in_place", "call", ("pull",), 6),
    Point("renaming a spool", "pathlib.py", "rename", "return", ("pull",), 8),
    Point("in the staging", "engage_pipelines/warehouse/staging.py", _ANY, "call", ("load",), 40),
    Point("in the load", "engage_pipelines/warehouse/load.py", _ANY, "call", ("load",), 60),
    Point("window loaded", "engage_pipelines/warehouse/load.py", "_write", "return", ("load",), 6),
    Point("before the bookmark", "engage_pipelines/state/bookmarks.py", "advance", "call", ("load",), 6),
    Point("bookmark moved", "engage_pipelines/state/bookmarks.py", "advance", "return", ("load",), 6),
)
POINT_BY_NAME = {point.name: point for point in POINTS}


def kill_order(point: Point, nth: int) -> dict[str, str]:
    """The environment of a child that kills itself at the n-th meeting of a place."""
    return {KILL: f"{nth}:{point.name}"}


def watch_as_told() -> None:
    """Do what the environment of this child says: kill at a place, or count the meetings of all places."""
    if order := os.environ.pop(KILL, ""):
        nth, _, name = order.partition(":")
        _watch(_killer(POINT_BY_NAME[name], int(nth)))
    elif file := os.environ.pop(COUNT, ""):
        _watch(_counter(Path(file)))


def counted(file: Path) -> Counter[str]:
    """What a counting child met: place -> times."""
    return Counter(file.read_text().splitlines())


def _watch(watcher: Callable[[FrameType, str, Any], None]) -> None:
    threading.setprofile(watcher)
    sys.setprofile(watcher)


def _is_at(point: Point, code: CodeType) -> bool:
    return code.co_filename.endswith(point.file) and point.function in (_ANY, code.co_name)


def _killer(point: Point, nth: int) -> Callable[[FrameType, str, Any], None]:
    known: dict[CodeType, bool] = {}
    left = [nth]

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event != point.event:
            return
        code = frame.f_code
        if code not in known:
            known[code] = _is_at(point, code)
        if known[code]:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


def _counter(file: Path) -> Callable[[FrameType, str, Any], None]:
    known: dict[tuple[CodeType, str], list[str]] = {}
    # Unbuffered, one short write per meeting: nothing is lost however the child ends.
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        here = (frame.f_code, event)
        if here not in known:
            known[here] = [p.name for p in POINTS if p.event == event and _is_at(p, frame.f_code)]
        for name in known[here]:
            os.write(out, f"{name}\n".encode())

    return watch
