"""Who is measured, and how each is started. A contender is a command; it prints its result as the last line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.processes import HOME

OURS = sys.executable
PEERS = str(HOME / ".venv-bench" / "bin" / "python")
_PACKAGES = {
    OURS: ("engage-pipelines", "duckdb", "httpx", "msgspec", "pyarrow", "sqlalchemy"),
    PEERS: ("dlt", "drt-core", "duckdb", "httpx", "msgspec", "pyarrow"),
}
# Sent by the product where no limit is wanted: an empty list of rates.
_NO_RATE = 0
_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class PullTask:
    """One pull: from where, of which days, into which folder."""

    url: str
    start: datetime
    end: datetime
    folder: Path
    latency: float = 0.0
    rate: int = _NO_RATE

    @property
    def days(self) -> list[str]:
        """The days as arguments."""
        return [self.start.isoformat(), self.end.isoformat()]


@dataclass(frozen=True, slots=True)
class Puller:
    """A contender that pulls; `kind` says how its database is read, `database` where that lies."""

    kind: str
    command: Callable[[PullTask], list[str]]
    database: str


@dataclass(frozen=True, slots=True)
class DeliverTask:
    """One delivery: to where, how many rows, in what batches."""

    url: str
    rows: int
    batch: int
    folder: Path
    in_flight: int = 2
    rate: int = _NO_RATE
    once: bool = False
    credential: str = ""


def _pull_ours(task: PullTask) -> list[str]:
    rate = ["--rate", f"{task.rate}/s"] if task.rate else []
    folder = str(task.folder / "installation")
    return [OURS, "-m", "benchmarks.pull_ours", task.url, folder, *task.days, "--in-flight", str(_IN_FLIGHT), *rate]


def _pull_bare(task: PullTask) -> list[str]:
    database = str(task.folder / "bare.duckdb")
    # Threads help while a call waits; without latency they only get in each other's way.
    threads = _IN_FLIGHT if task.latency else 1
    return [
        PEERS, "-m", "benchmarks.pull_bare", task.url, database, *task.days, "--side-by-side", str(threads),
    ]  # fmt: skip


def _pull_dlt(task: PullTask) -> list[str]:
    return [PEERS, str(HOME / "benchmarks" / "pull_dlt.py"), task.url, str(task.folder / "dlt.duckdb"), *task.days]


def _pull_dlt_as_installed(task: PullTask) -> list[str]:
    return [*_pull_dlt(task), "--as-installed"]


PULLERS: dict[str, Puller] = {
    "engage_pipelines": Puller("ours", _pull_ours, "installation/data/warehouse/engage.duckdb"),
    "bare script": Puller("bare", _pull_bare, "bare.duckdb"),
    "dlt, tuned": Puller("dlt", _pull_dlt, "dlt.duckdb"),
}
# Its memory grows with the number of orders: on request only.
DLT_AS_INSTALLED = Puller("dlt", _pull_dlt_as_installed, "dlt.duckdb")


def _deliver_ours(task: DeliverTask) -> list[str]:
    return [
        OURS, "-m", "benchmarks.deliver_ours", task.url, str(task.folder / "installation"), str(task.rows),
        "--batch", str(task.batch), "--in-flight", str(task.in_flight),
        "--rate", f"{task.rate or 100_000}/s", *(["--key", task.credential] if task.credential else []),
    ]  # fmt: skip


def _deliver_drt(task: DeliverTask) -> list[str]:
    return [
        PEERS, "-m", "benchmarks.deliver_drt", task.url, str(task.folder / "drt"), str(task.rows),
        "--batch", str(task.batch), *(["--rate", str(task.rate)] if task.rate else []),
        *(["--token", task.credential] if task.credential else []), *(["--once"] if task.once else []),
    ]  # fmt: skip


DELIVERERS: dict[str, Callable[[DeliverTask], list[str]]] = {"engage_pipelines": _deliver_ours, "drt": _deliver_drt}


def versions() -> dict[str, dict[str, str]]:
    """What is installed where: the product's environment and, where it is there, the peers'."""
    environments = {"product": OURS, "peers": PEERS}
    return {name: _versions(python) for name, python in environments.items() if Path(python).exists()}


def _versions(python: str) -> dict[str, str]:
    script = (
        "import json, platform, sys; from importlib.metadata import version; "
        "print(json.dumps({'python': platform.python_version(), **{p: version(p) for p in sys.argv[1:]}}))"
    )
    told = subprocess.run(  # noqa: S603  our own interpreters
        [python, "-c", script, *_PACKAGES[python]], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(told.stdout)
    return found
