"""Publishing a warehouse while analysts read it, beside a plain copy of its file."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections.abc import Iterator

from benchmarks.plan import Plan, Row
from benchmarks.processes import run
from benchmarks.tables import ended, failures, target
from benchmarks.tables import table as markdown

_READERS = 20
_SIZE, _QUICK_SIZE = 1_000_000_000, 50_000_000
_ROUNDS, _QUICK_ROUNDS = 7, 3
_OURS, _COPY = "engage_pipelines", "plain copy"
_WANTED = 1.5


def rows(plan: Plan) -> Iterator[Row]:
    """Alone, and under readers: publishing and a plain copy in turns, the median of each."""
    folder, load = plan.data / "publish", os.getloadavg()[0]
    size, rounds = (_QUICK_SIZE, _QUICK_ROUNDS) if plan.is_quick else (_SIZE, _ROUNDS)
    command = [sys.executable, "-m", "benchmarks.publish_ours", str(folder), str(size), "--readers", str(_READERS),
               "--rounds", str(rounds)]  # fmt: skip
    told = run(command, folder=folder).result
    shutil.rmtree(folder)
    for readers, seconds in ((0, told["alone"]), (_READERS, told["watched"])):
        ratios = [ours / copy for ours, copy in zip(seconds["publish"], seconds["copy"], strict=True)]
        seen = {name: told[name] for name in ("reads", "torn", "error_count", "errors")} if readers else {}
        shared = {"bytes": told["bytes"], "readers": readers, "load": load, "rounds": rounds}
        yield {
            "contender": _OURS, "seconds": statistics.median(seconds["publish"]), "ratio": statistics.median(ratios),
            "all_seconds": seconds["publish"], **shared, **seen,
        }  # fmt: skip
        yield {
            "contender": _COPY, "seconds": statistics.median(seconds["copy"]), "all_seconds": seconds["copy"],
            **shared,
        }  # fmt: skip


def table(rows: list[Row]) -> str:
    """What a reader sees."""
    lines = [
        [
            f"{row['bytes'] / 1e6:,.0f} MB", str(row["readers"]), row["contender"], f"{row['seconds']:.2f}",
            f"{row['ratio']:.2f}" if "ratio" in row else "1", f"{row['reads']:,}" if "reads" in row else "",
            str(row.get("error_count", "")), str(row.get("torn", "")),
        ]
        for row in ended(rows)
    ]  # fmt: skip
    head = ["file", "readers", "contender", "s", "of a plain copy", "reads meanwhile", "reader errors", "torn reads"]
    return "## Publish under readers\n\n" + markdown(head, lines) + failures(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """At most one and a half times a plain copy; no reader notices."""
    lines = []
    for row in ended(rows):
        if row["contender"] != _OURS or not row["readers"]:
            continue
        size, spoilt = f"{row['bytes'] / 1e9:.2g} GB", row["error_count"] + row["torn"]
        lines += [
            target(f"publish {size} under {row['readers']} readers, against a plain copy", f"<= {_WANTED}x",
                   f"{row['ratio']:.2f}x", row["ratio"] <= _WANTED, "its copy is synced, and readers take turns"),
            target(f"errors and torn answers among {row['reads']:,} reads meanwhile", "0", f"{spoilt}", not spoilt,
                   "; ".join(row["errors"])[:80]),
        ]  # fmt: skip
    return lines
