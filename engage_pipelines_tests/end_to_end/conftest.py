"""Running `engage demo` in a process of its own, as a person does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engage_pipelines.sandbox.process import SandboxProcess, start_sandbox_process

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Demo:
    """A folder in which demonstrations run."""

    data: Path

    def command(self, *arguments: str) -> list[str]:
        run = [sys.executable, "-c", "from engage_pipelines.cli import main; main()", "demo", "--json"]
        return [*run, "--data", str(self.data), *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one in a process group of its own."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ENGAGE_", "DAGSTER_"))}
        return subprocess.Popen(
            self.command(*arguments), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, seconds: float = 280) -> dict[str, Any]:
        """Run one to its end; gives its summary, which is also all that it wrote to standard output."""
        child = self.start(*arguments)
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill(child)
            raise
        assert child.returncode == 0, err
        printed: dict[str, Any] = json.loads(out)
        assert printed == json.loads((self.data / "demo" / "summary.json").read_text())
        return printed

    @contextmanager
    def stand_ins(self) -> Iterator[SandboxProcess]:
        """The stand-ins over the state that the demonstration left."""
        with start_sandbox_process(self.data / "demo" / "sandbox") as running:
            yield running


def kill(child: subprocess.Popen[str]) -> None:
    """End it and its children as a power cut would."""
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
