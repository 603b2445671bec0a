"""Two years of receipts as history files: how many lines a second, and what the files hold."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import tables
from benchmarks.history_world import LINES, MEMORY_LIMIT
from benchmarks.plan import Plan, Row
from benchmarks.processes import Measured, run
from benchmarks.rounds import side_by_side

_PRODUCT, _BARE = "engage_pipelines", "bare script"
_LINES_PER_SECOND = 200_000
_MOST_MB = 500
_MOST_LINES = 20_000


def rows(plan: Plan) -> Iterator[Row]:
    """Make the world, deliver it, look at the files; what a round noted in the ledger is gone before the next one."""
    receipts = 20_000 if plan.is_quick else 5_000_000 if plan.is_large else 500_000
    folder = plan.data / "history"
    folder.mkdir()
    _child(folder, "benchmarks.history_world", str(receipts))
    shutil.copytree(_state(folder), _state_before(folder))
    once = partial(_measured, folder, receipts)
    rounds = plan.for_large() if plan.is_large else plan
    yield from side_by_side(rounds, "history", (_BARE, _PRODUCT), once, f"{receipts:,} receipts")
    shutil.rmtree(folder)


def table(rows: list[Row]) -> str:
    """What was made, how fast and how much of it."""
    head = ["receipts", "lines", "contender", "lines/s", "seconds", "CPU s", "peak MB", "load", "files",
            "most lines in a file", "ledger rows", "complete"]  # fmt: skip
    lines = [
        [
            f"{row['receipts']:,}", f"{row['lines']:,}", row["contender"],
            f"{row['lines_per_second']:,.0f}", f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}", f"{row['peak_mb']:,.0f}", f"{row['load']:.1f}", f"{row['files']:,}",
            f"{row['most_lines']:,}", f"{row['ledger_rows']:,}", "yes" if row["is_complete"] else "**no**",
        ]
        for row in tables.ended(rows)
    ]  # fmt: skip
    return (
        "## History files\n\n"
        f"24 months of receipts with three lines each (`memory_limit` {MEMORY_LIMIT}) as Voyado's transaction files, "
        "one run per month: planned against "
        "the ledger, each file noted as being sent, written, read back and checked line by line, handed over to a "
        "folder of the same machine (copied, flushed to disk), its manifest with SHA-256 written, each receipt noted "
        "as taken. An upload by SFTP and the vendor's import are not in it. Complete: the files hold each receipt's "
        "key and line amounts as the warehouse does, by count and by a hash that does not depend on order. The bare "
        "script only writes: one statement a month from the warehouse's tables to files of whole receipts.\n\n"
        + tables.table(head, lines)
        + tables.failures(rows)
    )


def targets(rows: list[Row]) -> list[list[str]]:
    """Speed, memory, size of the files and completeness."""
    found = []
    for row in tables.ended(rows):
        if row["contender"] != _PRODUCT:
            continue
        what = f"history files of {row['receipts']:,} receipts"
        speed, memory, most = row["lines_per_second"], row["peak_mb"], row["most_lines"]
        found += [
            tables.target(what, f"{_LINES_PER_SECOND:,} lines/s", f"{speed:,.0f} lines/s", speed >= _LINES_PER_SECOND,
                          _reason(row)),
            tables.target(what, "at most 0.5 GB", f"{memory:,.0f} MB", memory <= _MOST_MB, "DuckDB, Arrow and Python"),
            tables.target(what, f"at most {_MOST_LINES:,} lines a file, complete",
                          f"{most:,} lines, {'complete' if row['is_complete'] else 'not complete'}",
                          most <= _MOST_LINES and row["is_complete"]),
        ]  # fmt: skip
    return found


def _measured(folder: Path, receipts: int, who: str) -> Row:
    shutil.rmtree(folder / "world" / "data" / "drop", ignore_errors=True)
    shutil.rmtree(_state(folder))
    shutil.copytree(_state_before(folder), _state(folder))
    # What the copy has left to the disk must not be waited for by whoever comes first.
    os.sync()
    load = os.getloadavg()[0]
    done = (
        _child(folder, "benchmarks.history_bare")
        if who == _BARE
        else _child(folder, "benchmarks.history_ours", step="deliver")
    )
    compared = _child(folder, "benchmarks.history_ours", step="compare").result
    seconds = done.result["seconds"]
    return {
        "receipts": receipts, "lines": receipts * LINES, "seconds": seconds,
        "lines_per_second": receipts * LINES / seconds, "cpu_seconds": done.cpu_seconds,
        "peak_mb": done.peak_bytes / 1e6, "load": load, **compared, "result": done.result,
        "is_complete": compared["is_complete"] and (who == _BARE or compared["ledger_rows"] == receipts),
    }  # fmt: skip


def _state(folder: Path) -> Path:
    return folder / "world" / "data" / "state"


def _state_before(folder: Path) -> Path:
    return folder / "state-before"


def _child(folder: Path, module: str, *rest: str, step: str = "") -> Measured:
    command = [sys.executable, "-m", module, *([step] if step else []), str(folder / "world"), *rest]
    return run(command, folder=folder, seconds=3600)


def _reason(row: Row) -> str:
    busy = row["cpu_seconds"] / row["seconds"]
    return f"{row['cpu_seconds'] / row['lines'] * 1e6:.0f} µs of processor a line on {busy:.1f} cores"
