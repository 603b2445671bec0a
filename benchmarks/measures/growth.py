"""Growth: pull and load of a history that is ten and a hundred times as long, as dense at every length."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import duckdb

from benchmarks import tables
from benchmarks.contenders import OURS
from benchmarks.growth_till import DAY_IDS, LAST_DAY, LINES_A_DAY, ORDERS_A_DAY, SPREAD
from benchmarks.orders import make_orders
from benchmarks.plan import Plan, Row
from benchmarks.processes import HOME, report_of, run
from benchmarks.rounds import figures, fresh, side_by_side, stood

_QUICK_DAYS, _DAYS, _LARGE_DAYS = (1, 10), (5, 50, 500), 5_000
# What is measured of one size never takes as long.
_SECONDS = 2 * 3600.0
# Days in one window of the product as it is: shorter histories do not fill one, so they say nothing of memory.
_WINDOW_DAYS = 31
_EXPONENT, _MEMORY = 1.05, 1.1
# An order's key, as the product makes it of the till's id, from day and place.
_KEYS = f"""
select 'square:bench' || lpad((day * {SPREAD} % {DAY_IDS})::varchar, 8, '0') || lpad(place::varchar, 4, '0') || 'Zq'
    as transaction_id
from range($days) as d(day), range({ORDERS_A_DAY}) as p(place)
"""
_HELD = """
select (select count(*) from core.transactions), (select sum(total_amount * 100)::bigint from core.transactions),
    (select sum(hash(transaction_id))::varchar from core.transactions),
    (select count(*) from core.transaction_lines), (select sum(total_amount * 100)::bigint from core.transaction_lines),
    (select count(*) from core.transaction_tenders), (select sum(amount * 100)::bigint from core.transaction_tenders)
"""
_NAMES = ("orders", "order_amount", "order_keys", "lines", "line_amount", "tenders", "tender_amount")


def rows(plan: Plan) -> Iterator[Row]:
    """Each length of history, into an empty installation."""
    templates = make_orders(plan.data / "growth-orders", ORDERS_A_DAY)
    sizes = [(days, plan) for days in (_QUICK_DAYS if plan.is_quick else _DAYS)]
    if plan.is_large:
        sizes.append((_LARGE_DAYS, plan.for_large()))
    for days, rounds in sizes:
        once = partial(_grow, plan, templates, days)
        for row in side_by_side(rounds, "growth", ("engage_pipelines",), once, f"{days * LINES_A_DAY:,} lines"):
            yield {**row, "days": days}
    shutil.rmtree(templates.parent)


def table(measured: list[Row]) -> str:
    """Seconds, speed and memory by length of history."""
    head = ["lines", "orders", "days", "seconds", "pull", "load", "orders/s", "lines/s", "CPU s", "peak MB", "complete"]
    lines = [
        [
            f"{2 * row['rows']:,}", f"{row['rows']:,}", f"{row['days']:,}", f"{row['seconds']:,.1f}",
            f"{row['pull_seconds']:,.1f}", f"{row['load_seconds']:,.1f}", f"{row['rows_per_second']:,.0f}",
            f"{2 * row['rows_per_second']:,.0f}", f"{row['cpu_seconds']:,.1f}", f"{row['peak_mb']:,.0f}",
            "yes" if row["completeness"]["is_complete"] else "**no**",
        ]
        for row in tables.ended(measured)
    ]  # fmt: skip
    told = (
        f"{ORDERS_A_DAY:,} orders a day in an empty installation with the product's own settings (windows of "
        f"{_WINDOW_DAYS} days); ten times as many orders are ten times as long a history.\n\n"
    )
    return "## Growth\n\n" + told + tables.table(head, lines) + tables.failures(measured)


def targets(measured: list[Row]) -> list[list[str]]:
    """The exponent of time, and memory against the shortest history that fills a window."""
    sizes = sorted(tables.ended(measured), key=lambda row: row["rows"])
    if len(sizes) < 2:
        return []
    shortest, longest = sizes[0], sizes[-1]
    fitted, last = exponent(sizes), exponent(sizes[-2:])
    grown = f"{2 * shortest['rows']:,} to {2 * longest['rows']:,} lines"
    lines = [
        tables.target(
            f"growth, {grown}: exponent of time", f"<= {_EXPONENT}", f"{fitted:.2f}, last step {last:.2f}",
            max(fitted, last) <= _EXPONENT, "a window's digests are looked for among all there are",
        )
    ]  # fmt: skip
    full = [row for row in sizes if row["days"] >= _WINDOW_DAYS]
    if len(full) > 1:
        ratio = full[-1]["peak_mb"] / full[0]["peak_mb"]
        lines.append(
            tables.target(
                f"growth, {2 * full[0]['rows']:,} to {2 * full[-1]['rows']:,} lines: peak memory", f"<= {_MEMORY}x",
                f"{ratio:.2f}x", ratio <= _MEMORY,
                "a load that lasts has more moments in which a window that is read and one that is written need most",
            )
        )  # fmt: skip
    return lines


def exponent(sizes: list[Row]) -> float:
    """The slope of the straight line through all sizes, both axes logarithmic: with 1, time grows as the rows do."""
    points = [(math.log(row["rows"]), math.log(row["seconds"])) for row in sizes]
    x_mean, y_mean = (sum(each) / len(points) for each in zip(*points, strict=True))
    slope: float = sum((x - x_mean) * (y - y_mean) for x, y in points) / sum((x - x_mean) ** 2 for x, _ in points)
    return slope


def _grow(plan: Plan, templates: Path, days: int, who: str) -> Row:
    folder, end = fresh(plan, "growth", who), LAST_DAY + timedelta(days=1)
    start = end - timedelta(days=days)
    with _till(templates, days) as url:
        command = [OURS, "-m", "benchmarks.pull_ours", url, str(folder / "installation"), start.isoformat(),
                   end.isoformat()]  # fmt: skip
        measured = run(command, folder=folder, seconds=_SECONDS)
        report = report_of(url)
    held = _held(folder / "installation" / "data" / "warehouse" / "engage.duckdb")
    shutil.rmtree(folder)
    told, expected = measured.result, _expected(templates, days)
    return {
        **figures(measured, days * ORDERS_A_DAY), **stood(report), "pull_seconds": told["pull"],
        "load_seconds": told["load"], "result": told,
        "completeness": {"is_complete": held == expected, "held": held, "expected": expected},
    }  # fmt: skip


@contextmanager
def _till(templates: Path, days: int) -> Iterator[str]:
    """The repeating till in a process of its own; yields its address."""
    command = [OURS, "-m", "benchmarks.growth_till", str(templates), str(days)]
    child = subprocess.Popen(  # noqa: S603  our own script
        command, cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None  # noqa: S101  asked for above
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.communicate(timeout=15)


def _held(database: Path) -> Row:
    with duckdb.connect(str(database), read_only=True, config={"memory_limit": "2GB"}) as connection:
        return dict(zip(_NAMES, connection.execute(_HELD).fetchall()[0], strict=True))


def _expected(templates: Path, days: int) -> Row:
    """What was served: so many days, each with the amounts of the one that all are copies of."""
    orders = json.loads(b"[" + (templates / "orders.bin").read_bytes()[:-1] + b"]")
    amount = days * sum(order["total_money"]["amount"] for order in orders)
    keys = duckdb.execute(f"select sum(hash(transaction_id))::varchar from ({_KEYS})", {"days": days}).fetchall()[0][0]
    return {
        "orders": days * ORDERS_A_DAY, "order_amount": amount, "order_keys": keys, "lines": days * LINES_A_DAY,
        "line_amount": amount, "tenders": days * ORDERS_A_DAY, "tender_amount": amount,
    }  # fmt: skip
