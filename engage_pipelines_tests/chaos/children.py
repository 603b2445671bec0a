"""Starting, waiting for and killing children, through the zygote."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engage_pipelines_tests.chaos.child import CRASHED

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL
_LEAVE_SECONDS = 20.0
# The last line of a traceback.
_RAISED = re.compile(r"[\w.]+(Error|Exception|Interrupt)\b")


class HungError(Exception):
    """A child did not end in the time that is plenty for it."""


@dataclass(slots=True)
class Child:
    """A command that runs or ran.

    Attributes:
        arguments: of `engage`.
        out: file of its standard output.
        err: file of its standard error.
        place: where it was told to kill itself, if it was.
        code: exit code once it has ended, negative for a signal.
    """

    ticket: int
    arguments: tuple[str, ...]
    out: Path
    err: Path
    nursery: Nursery
    place: str | None = None
    code: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def ends_within(self, seconds: float) -> bool:
        """Wait for its own end, no longer than that."""
        return self.ended.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Wait for its end; gives the exit code.

        Raises:
            HungError: it did not end in time; it is dead now.
        """
        if not self.ends_within(seconds):
            self.kill()
            raise HungError(f"engage {' '.join(self.arguments)}: no end after {seconds:g} s")
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone."""
        self.nursery.kill(self)
        if not self.ended.wait(_LEAVE_SECONDS):
            raise HungError(f"engage {' '.join(self.arguments)}: not even dead after SIGKILL")

    @property
    def command(self) -> str:
        """`pull`, `load`, `deliver`, `publish`, ..."""
        return self.arguments[0]

    @property
    def was_killed(self) -> bool:
        """True if SIGKILL ended it."""
        return self.code == KILLED

    @property
    def has_crashed(self) -> bool:
        """True if it ended by an error that the product did not expect, or by another signal."""
        return self.code == CRASHED or (self.code is not None and self.code < 0 and not self.was_killed)

    @property
    def last_words(self) -> str:
        """What it said at last on standard error; after a crash, the error and where it came from."""
        lines = self.err.read_text(errors="replace").split("\n") if self.err.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        raised = [place for place, line in enumerate(lines) if _RAISED.match(line)]
        if self.has_crashed and raised:
            origins = [line.strip() for line in lines[: raised[-1]] if line.startswith("  File ") and "engage" in line]
            return f"{lines[raised[-1]][:300]} ({' '.join(origins[-1:])})"
        return " ".join(said[-3:])[-400:]

    def printed(self) -> Any:
        """The JSON on its standard output."""
        return json.loads(self.out.read_text())


class Nursery:
    """The campaign's side of the zygote.

    Args:
        control: socket to it.
        folder: where the children's output goes.
        environment: what all children get.
    """

    def __init__(self, control: socket.socket, folder: Path, environment: Mapping[str, str]) -> None:
        self._control = control
        self._folder = folder
        self._environment = dict(environment)
        self._tickets = itertools.count(1)
        self._alive: dict[int, Child] = {}
        self._listener = threading.Thread(target=self._listen, name="zygote", daemon=True)
        self._listener.start()

    def start(self, *arguments: str, place: str | None = None, environment: Mapping[str, str] | None = None) -> Child:
        """Start `engage` with these arguments."""
        ticket = next(self._tickets)
        words = [word for word in arguments[:3] if word.replace("_", "").isalpha()]
        name = self._folder / "-".join([f"{ticket:04d}", *words])
        child = Child(ticket, arguments, name.with_suffix(".out"), name.with_suffix(".err"), self, place)
        self._alive[ticket] = child
        self._tell({
            "do": "start", "ticket": ticket, "arguments": list(arguments), "out": str(child.out),
            "err": str(child.err), "environment": {**self._environment, **(environment or {})},
        })  # fmt: skip
        return child

    def run(self, *arguments: str, seconds: float, environment: Mapping[str, str] | None = None) -> Child:
        """Run one command to its end."""
        child = self.start(*arguments, environment=environment)
        child.wait(seconds)
        return child

    def kill(self, child: Child) -> None:
        """Ask the zygote to kill a child and all that it started."""
        self._tell({"do": "kill", "ticket": child.ticket})

    def close(self) -> None:
        """Let the zygote go; it takes its children along."""
        self._control.shutdown(socket.SHUT_RDWR)

    def bury_the_rest(self) -> None:
        """What is left has gone with the zygote."""
        self._listener.join(_LEAVE_SECONDS)
        for child in self._alive.values():
            child.code = KILLED
            child.ended.set()

    def _tell(self, order: Mapping[str, Any]) -> None:
        self._control.sendall(json.dumps(order).encode() + b"\n")

    def _listen(self) -> None:
        with self._control.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                child = self._alive.pop(said["ticket"])
                child.code = said["code"]
                child.ended.set()


@contextmanager
def nursery(folder: Path, environment: Mapping[str, str]) -> Iterator[Nursery]:
    """A zygote and its children while the context is open; none of them outlives it."""
    folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    zygote = subprocess.Popen(
        _command(theirs.fileno()), cwd=ROOT, env=_clean_environment(), pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    theirs.close()
    children = Nursery(ours, folder, environment)
    try:
        yield children
    finally:
        children.close()
        try:
            zygote.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            zygote.kill()
            zygote.wait(_LEAVE_SECONDS)
        children.bury_the_rest()
        ours.close()


def _command(control: int) -> Sequence[str]:
    return [sys.executable, "-m", "engage_pipelines_tests.chaos.zygote", str(control)]


def _clean_environment() -> dict[str, str]:
    # Nobody's own settings reach a child, and no numeric library keeps threads that a fork would lose.
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("ENGAGE_", "DAGSTER_"))}
    return {**mine, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
