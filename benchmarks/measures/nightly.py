"""A night of a chain with 20,000 receipts a day: all four flows, through Dagster side by side, and step by step."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from benchmarks.nightly_world import Limits, Shop, build, busy_days, environment, received, restock, serving
from benchmarks.plan import Plan, Row
from benchmarks.processes import Measured, run
from benchmarks.rounds import side_by_side
from benchmarks.tables import ended, failures, target
from benchmarks.tables import table as markdown

_RECEIPTS, _QUICK_RECEIPTS = 20_000, 500
_DAGSTER, _DESK = "Dagster, a process of its own", "the same without Dagster"
_SCRIPTS = {_DAGSTER: "benchmarks.nightly_dagster", _DESK: "benchmarks.nightly_desk"}
# In the first it is measured what is promised: the stand-ins' limits are far above those of the vendors.
_NIGHTS: tuple[tuple[Limits, tuple[str, ...]], ...] = (("stand-in", (_DAGSTER, _DESK)), ("none", (_DAGSTER,)))
_SAID = {"stand-in": "the stand-ins'", "none": "none"}
_WANTED = 10.0


def rows(plan: Plan) -> Iterator[Row]:
    """The same night each time: the fourth day's night has been run before, and is not measured."""
    shop = busy_days(_QUICK_RECEIPTS if plan.is_quick else _RECEIPTS)
    before = plan.data / "nightly" / "before"
    build(before, shop)
    with serving(before, shop, "none"):
        _night(_SCRIPTS[_DAGSTER], before, (shop.last - timedelta(days=1)).isoformat())
    restock(before, shop)
    for limits, contenders in _NIGHTS:
        night = partial(_measured, before, shop, limits)
        yield from side_by_side(plan, "nightly", contenders, night, f"limits: {_SAID[limits]}", by="beyond")
    shutil.rmtree(plan.data / "nightly")


def _measured(before: Path, shop: Shop, limits: Limits, who: str) -> Row:
    folder = before.with_name("night")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)
    # What the copy has left to the disk must not be waited for by whoever comes first.
    os.sync()
    with serving(folder, shop, limits) as url:
        had, load = received(url), os.getloadavg()[0]
        measured = _night(_SCRIPTS[who], folder, shop.last.isoformat())
        has = received(url)
    # Without Dagster the start of the process is not counted: that is what `warm` means.
    seconds = measured.wall_seconds if who == _DAGSTER else measured.result["seconds"]
    calls = {vendor: count - had["calls"][vendor] for vendor, count in has["calls"].items()}
    return {
        "seconds": seconds, "network": measured.result["network"],
        "beyond": seconds - measured.result["network"], "cpu_seconds": measured.cpu_seconds,
        "peak_mb": measured.peak_bytes / 1e6, "limits": limits, "load": load, "calls": calls,
        "received": {name: _difference(held, had["held"][name]) for name, held in has["held"].items()},
        "steps": measured.result.get("steps"),
    }  # fmt: skip


def _night(script: str, folder: Path, day: str) -> Measured:
    command = [sys.executable, "-m", script, day, day, "--reread"]
    return run(command, folder=folder / "run", **environment(folder))


def _difference(now: dict[str, object], before: dict[str, object]) -> dict[str, int]:
    """How many of each kind of record came in this night."""
    return {
        name: count - int(str(before.get(name, 0)))
        for name, count in now.items()
        if isinstance(count, int) and not isinstance(count, bool)
    }


def table(rows: list[Row]) -> str:
    """Seconds, the network's, and the rest."""
    lines = [
        [
            row["contender"], _SAID[row["limits"]], f"{row['seconds']:.1f}",
            f"{row['network']:.1f}", f"{row['beyond']:.1f}", f"{row['cpu_seconds']:.1f}", f"{row['peak_mb']:.0f}",
            f"{sum(row['calls'].values()):,}",
        ]
        for row in ended(rows)
    ]  # fmt: skip
    head = ["contender", "vendors' limits", "s", "network s", "beyond network s", "CPU s", "peak MB", "calls"]
    return "## A night\n\n" + markdown(head, lines) + _parts(rows) + failures(rows)


def _parts(rows: list[Row]) -> str:
    steps: dict[str, tuple[float, float]] = next((row["steps"] for row in rows if row.get("steps")), {})
    lines = [[name, f"{whole:.2f}", f"{beyond:.2f}"] for name, (whole, beyond) in steps.items() if beyond >= 0.05]
    return "\n\n" + markdown(["step, without Dagster", "s", "beyond network s"], lines) if lines else ""


def targets(rows: list[Row]) -> list[list[str]]:
    """Dagster and engine together take at most ten seconds beyond the network's."""
    measured = ended(rows)
    in_turn = {row["limits"]: f"; {row['beyond']:.1f} s step by step" for row in measured if row["contender"] == _DESK}
    return [
        target(
            f"a night of {row['received']['aiq']['sales']:,} receipts, all flows, limits: {_SAID[row['limits']]}, "
            "beyond network time",
            f"<= {_WANTED:.0f} s", f"{row['beyond']:.1f} s", row["beyond"] <= _WANTED,
            f"loading, the first plan, Dagster's start and end{in_turn.get(row['limits'], '')}",
        )
        for row in measured
        if row["contender"] == _DAGSTER and row["limits"] != "none"
    ]  # fmt: skip
