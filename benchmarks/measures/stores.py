"""The same receipts in few stores and in many: a night's pull and load."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.nightly_world import Shop, build, busy_days, environment, serving
from benchmarks.plan import Plan, Row
from benchmarks.processes import run
from benchmarks.rounds import side_by_side
from benchmarks.stores_world import spread
from benchmarks.tables import compared, ended, failures, target
from benchmarks.tables import table as markdown

_RECEIPTS, _QUICK_RECEIPTS = 4_000, 500
_FEW, _MANY, _QUICK_MANY = 3, 200, 30


def rows(plan: Plan) -> Iterator[Row]:
    """An installation for each number of stores; every round begins with an empty warehouse."""
    shop = busy_days(_QUICK_RECEIPTS if plan.is_quick else _RECEIPTS)
    for stores in (_FEW, _QUICK_MANY if plan.is_quick else _MANY):
        folder = plan.data / "stores" / str(stores)
        build(folder, shop)
        spread(folder, stores)
        yield from side_by_side(
            plan, "stores", ("engage_pipelines",), partial(_measured, folder, shop, stores), f"{stores} stores"
        )
    shutil.rmtree(plan.data / "stores")


def _measured(before: Path, shop: Shop, stores: int, who: str) -> Row:
    folder = before.with_name("night")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)
    os.sync()
    command = [sys.executable, "-m", "benchmarks.stores_ours", shop.first.isoformat(), shop.last.isoformat()]
    with serving(folder, shop, "none"):
        load = os.getloadavg()[0]
        measured = run(command, folder=folder / "run", **environment(folder))
    told = measured.result
    return {
        "stores": stores, "receipts": told["held"]["receipts"], "seconds": told["seconds"], "load": load,
        "load_seconds": told["load"], "windows": told["windows"], "calls": told["calls"], "first": told["first"],
        "held": told["held"], "cpu_seconds": measured.cpu_seconds, "peak_mb": measured.peak_bytes / 1e6,
    }  # fmt: skip


def table(rows: list[Row]) -> str:
    """A night that finds everything as it was, and the first one."""
    lines = [
        [
            str(row["stores"]), f"{row['receipts']:,}", f"{row['windows']:.0f}", f"{row['calls']:.0f}",
            f"{row['seconds']:.2f}", f"{row['load_seconds']:.2f}", f"{row['first']['seconds']:.2f}",
            f"{row['first']['load']:.2f}", f"{row['peak_mb']:.0f}",
        ]
        for row in ended(rows)
    ]  # fmt: skip
    head = ["stores", "receipts", "windows", "calls", "s", "of that loading", "first night s", "of that loading",
            "peak MB"]  # fmt: skip
    return "## Few stores and many\n\n" + markdown(head, lines) + failures(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """However many stores they are of, the same receipts, payments and money are there."""
    return [
        target(f"{_what(few, many)}: receipts, payments, money", "the same", "the same" if is_same else "not the same",
               is_same, "see the rows")
        for few, many in _pair(rows)
        for is_same in [all(few["held"][name] == many["held"][name] for name in ("receipts", "payments", "amount"))]
    ]  # fmt: skip


def summary(rows: list[Row]) -> list[list[str]]:
    """Many stores beside few: what a store costs though it brings nothing."""
    return [
        compared(f"a night's pull and load, {many['receipts']:,} receipts", f"{many['stores']} stores: {_said(many)}",
                 f"the same in {few['stores']} stores", _said(few))
        for few, many in _pair(rows)
    ]  # fmt: skip


def _pair(rows: list[Row]) -> list[tuple[Row, Row]]:
    sizes = sorted(ended(rows), key=lambda row: row["stores"])
    return [(sizes[0], sizes[-1])] if len(sizes) > 1 else []


def _what(few: Row, many: Row) -> str:
    return f"{many['receipts']:,} receipts of {many['stores']} stores against the same of {few['stores']}"


def _said(row: Row) -> str:
    return f"{row['seconds']:.1f} s, {row['windows']:.0f} windows, {row['calls']:.0f} calls"
