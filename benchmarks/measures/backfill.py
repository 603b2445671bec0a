"""A backfill of 730 days through Dagster, beside the same work without it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.nightly_world import Shop, build, environment, quiet_years, serving
from benchmarks.plan import Plan, Row
from benchmarks.processes import Measured, run
from benchmarks.rounds import side_by_side
from benchmarks.tables import ended, failures, target
from benchmarks.tables import table as markdown

_DAYS, _QUICK_DAYS = 730, 30
_RECEIPTS_A_DAY = 10
_DAGSTER, _DESK = "one run of Dagster", "the same without Dagster"
_SCRIPTS = {_DAGSTER: "benchmarks.nightly_dagster", _DESK: "benchmarks.nightly_desk"}
_WANTED = 90.0


def rows(plan: Plan) -> Iterator[Row]:
    """Everything of all days into an empty installation: pull, load, deliver, publish."""
    days = _QUICK_DAYS if plan.is_quick else _DAYS
    shop = quiet_years(days, _RECEIPTS_A_DAY)
    empty = plan.data / "backfill" / "empty"
    build(empty, shop)
    yield from side_by_side(plan, "backfill", list(_SCRIPTS), partial(_measured, empty, shop, days), f"{days} days")
    shutil.rmtree(plan.data / "backfill")


def _measured(empty: Path, shop: Shop, days: int, who: str) -> Row:
    folder = empty.with_name("filled")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(empty, folder)
    os.sync()
    load = os.getloadavg()[0]
    with serving(folder, shop, "none"):
        measured = _run(_SCRIPTS[who], folder, shop)
    noted = _noted(folder) if who == _DAGSTER else {}
    seconds = measured.wall_seconds if who == _DAGSTER else measured.result["seconds"]
    return {
        "seconds": seconds, "days": days, "receipts": shop.receipts, "load": load,
        "cpu_seconds": measured.cpu_seconds, "peak_mb": measured.peak_bytes / 1e6, **noted,
    }  # fmt: skip


def _run(script: str, folder: Path, shop: Shop) -> Measured:
    command = [sys.executable, "-m", script, shop.first.isoformat(), shop.last.isoformat()]
    return run(command, folder=folder / "run", **environment(folder))


def _noted(folder: Path) -> dict[str, Any]:
    told = run([sys.executable, "-m", "benchmarks.backfill_record"], folder=folder / "run", **environment(folder))
    return {"runs": len(told.result["runs"]), "noted": told.result["days"]}


def table(rows: list[Row]) -> str:
    """Seconds, and what the instance has of it."""
    lines = [
        [
            str(row["days"]), f"{row['receipts']:,}", row["contender"], f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}", f"{row['peak_mb']:.0f}", str(row.get("runs", "")),
            f"{min(row['noted'].values())} of {row['days']} for each of {len(row['noted'])} assets"
            if "noted" in row else "",
        ]
        for row in ended(rows)
    ]  # fmt: skip
    head = ["days", "receipts", "contender", "s", "CPU s", "peak MB", "runs", "days noted"]
    return "## Backfill\n\n" + markdown(head, lines) + failures(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """What Dagster takes on top, and that every day is noted."""
    by = {row["contender"]: row for row in ended(rows)}
    if len(by) < len(_SCRIPTS):
        return []
    dagster, beyond = by[_DAGSTER], by[_DAGSTER]["seconds"] - by[_DESK]["seconds"]
    noted, days = min(dagster["noted"].values()), dagster["days"]
    return [
        target(f"backfill of {days} days in {dagster['runs']} run, beyond the work itself", f"<= {_WANTED:.0f} s",
               f"{beyond:.1f} s", beyond <= _WANTED, "a run of that many days has more events"),
        target("days noted, of the asset that has fewest", f"{days}", f"{noted}", noted == days),
    ]  # fmt: skip
