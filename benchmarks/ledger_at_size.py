"""The ledger at size: planning a day and a whole stream, publishing and writing, with ten million records in it.

    python -m benchmarks.ledger_at_size --records 10000000

Everything is made in a temporary folder and removed at the end, except the results. Ends with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.ledger_steps import STEPS
from benchmarks.ledger_world import build_products, build_receipts, load_postgres, load_sqlite
from benchmarks.processes import ContenderError, run

_RESULTS = Path(__file__).parent / "results"
_DATABASES = ("sqlite", "postgres")
_GB = 1_000_000_000
_console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What a step has to keep: a fact of it, and the most or the least that it may be."""

    step: str
    fact: str
    bound: float
    is_most: bool = True

    def is_met(self, facts: dict[str, Any]) -> bool:
        """Whether the facts of the step keep it."""
        return bool(facts[self.fact] <= self.bound if self.is_most else facts[self.fact] >= self.bound)

    def __str__(self) -> str:
        bound = f"{self.bound / _GB:g} GB" if self.fact == "peak_bytes" else f"{self.bound:,g}"
        unit = {"seconds": " s", "rows_per_second": " rows/s"}.get(self.fact, "")
        return f"{'at most' if self.is_most else 'at least'} {bound}{unit}"


TARGETS = (
    Target("plan_day", "seconds", 2.0),
    Target("plan_everything", "seconds", 60.0),
    Target("plan_everything", "peak_bytes", _GB),
    Target("write_batches", "rows_per_second", 5_000, is_most=False),
    Target("write_batches_side_by_side", "rows_per_second", 5_000, is_most=False),
)


def main() -> int:
    """Measure and report; gives the exit code."""
    wanted = _arguments()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="engage-ledger-", dir=wanted.folder) as name:
        folder = Path(name).resolve()
        _timed(f"warehouse of {wanted.records:,} products", lambda: build_products(folder, wanted.records))
        _timed("warehouse of a day's receipts", lambda: build_receipts(folder, wanted.records))
        for database in wanted.databases:
            with _state(database, folder) as url:
                results[database] = {step: _step(step, folder, url, database) for step in STEPS}
    report = {"about": _about(wanted.records), "results": results, "missed": _missed(results)}
    _write(report, wanted.results)
    return 1 if report["missed"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000, help="products, and rows of each ledger stream")
    parser.add_argument("--databases", nargs="+", choices=_DATABASES, default=_DATABASES)
    parser.add_argument("--folder", type=Path, help="where the temporary folder goes; it needs 1.2 kB per record")
    parser.add_argument("--results", type=Path, default=_RESULTS)
    return parser.parse_args()


@contextmanager
def _state(database: str, folder: Path) -> Iterator[str]:
    """URL of a state database with the ledger's rows in it; gone afterwards."""
    if database == "sqlite":
        file = folder / "state" / "state.db"
        file.parent.mkdir()
        _timed("SQLite ledger", lambda: load_sqlite(folder, file))
        yield f"sqlite:///{file}"
        shutil.rmtree(file.parent)
        return
    # Part of the tests: a server of its own, without any installation.
    from engage_pipelines_tests.postgres import fresh_postgres

    with fresh_postgres() as url:
        _timed("Postgres ledger", lambda: load_postgres(folder, url))
        yield url


def _step(step: str, folder: Path, url: str, database: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ledger_steps", step, str(folder), url]
    try:
        done = run(command, folder=folder / "said", seconds=3600)
    except ContenderError as error:
        raise SystemExit(f"{database} {step} {error}") from error
    facts = done.result | {
        "peak_bytes": done.peak_bytes, "cpu_seconds": done.cpu_seconds, "process_seconds": done.wall_seconds,
        "load_before": done.load_before,
    }  # fmt: skip
    _console.print(f"{database:9} {step:28} {_said(facts)}")
    return facts


def _said(facts: dict[str, Any]) -> str:
    rate = f"  {facts['rows_per_second']:,.0f} rows/s" if "rows_per_second" in facts else ""
    return f"{facts['seconds']:8.2f} s  {facts['peak_bytes'] / 1e6:6.0f} MB  load {facts['load_before']:.1f}{rate}"


def _timed(what: str, work: Callable[[], None]) -> None:
    began = time.perf_counter()
    work()
    _console.print(f"made: {what}, {time.perf_counter() - began:.0f} s")


def _missed(results: dict[str, Any]) -> list[str]:
    return [
        f"{database}: {target.step} {target.fact} {steps[target.step][target.fact]:,.1f}, {target}"
        for database, steps in results.items()
        for target in TARGETS
        if not target.is_met(steps[target.step])
    ]


def _about(records: int) -> dict[str, Any]:
    return {
        "records": records, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _write(report: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ledger.json").write_text(json.dumps(report, indent=2) + "\n")
    text = "\n".join(_lines(report)) + "\n"
    (folder / "ledger.md").write_text(text)
    sys.stdout.write(text)


def _lines(report: dict[str, Any]) -> Iterator[str]:
    about = report["about"]
    yield "# The ledger at size\n"
    yield (
        f"{about['records']:,} products and as many receipts in the ledger, {about['cores']} cores, "
        f"{about['measured_at'][:10]}. Load: processes that wanted to run in the minute before.\n"
    )
    yield "| database | step | records | seconds | rows/s | peak memory | CPU s | load | target |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---|"
    for database, steps in report["results"].items():
        for step, facts in steps.items():
            rate = f"{facts['rows_per_second']:,.0f}" if "rows_per_second" in facts else ""
            targets = ", ".join(
                f"{target}: {'met' if target.is_met(facts) else '**missed**'}"
                for target in TARGETS
                if target.step == step
            )
            yield (
                f"| {database} | {step.replace('_', ' ')} | {facts['records']:,} | {facts['seconds']:.2f} | {rate} | "
                f"{facts['peak_bytes'] / 1e6:,.0f} MB | {facts['cpu_seconds']:.1f} | {facts['load_before']:.1f} "
                f"| {targets} |"
            )
    yield "\nMissed: " + ("; ".join(report["missed"]) or "none") + "."


if __name__ == "__main__":
    raise SystemExit(main())
