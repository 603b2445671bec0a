"""Running a campaign as the tests do: in a process of its own, small, with a fixed seed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from engage_pipelines_tests.chaos.children import ROOT

_WAY_OUT_SECONDS = 280.0


class Ran(NamedTuple):
    """A campaign that has ended: exit code, report, and what it said on the way."""

    code: int
    report: dict[str, Any]
    said: str


def run_campaign(data: Path, *arguments: str) -> Ran:
    """Run a campaign to its end."""
    command = [sys.executable, "-m", "engage_pipelines_tests.chaos", "--json", "--data", str(data), *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_WAY_OUT_SECONDS, check=False)
    assert ran.stdout, ran.stderr
    report = json.loads(ran.stdout)
    assert report == json.loads((data / "report.json").read_text())
    return Ran(ran.returncode, report, ran.stderr)
