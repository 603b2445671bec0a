"""All contenders side by side, on this machine, on the same data, against the same stand-in.

    python -m benchmarks [--quick] [--large] [--rounds 3] [--only pull limit deliver faults]

Each measure is run so many rounds, contender after contender, with fresh files; the median round is the one that
is told. Results go to `benchmarks/results/latest.{json,md}` and `chart.svg`; a measure that is not run keeps what
it had.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import deliver_faults, report
from benchmarks.contenders import (
    DELIVERERS,
    DLT_AS_INSTALLED,
    OURS,
    PULLERS,
    DeliverTask,
    PullTask,
    versions,
)
from benchmarks.contents import completeness
from benchmarks.orders import days_of, make_orders
from benchmarks.processes import HOME, ContenderError, Measured, report_of, run, stand_in

Row = dict[str, Any]
_LATENCIES = (0.0, 0.05, 0.15)
# Calls a second of the till in the measure of a pull under a limit, and of the platform under its own.
_TILL_RATE = 40
_PLATFORM_RATE = 10
# Rows a call and calls in flight: what CRM.COM takes with the product's default, and calls of the size that AIQ takes.
_BATCHES = ((1000, 2), (100, 16))


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for on the command line."""

    sizes: tuple[int, ...]
    rows: int
    fault_rows: int
    rounds: int
    data: Path
    as_installed: bool


def pulls(plan: Plan) -> Iterator[Row]:
    """Pull and load, with and without latency."""
    for count in plan.sizes:
        # Ten times as many are measured where the machine is the limit: there memory and speed show.
        for latency in _LATENCIES if count == plan.sizes[0] else (0.0,):
            yield from _side_by_side(plan, "pull", list(PULLERS), partial(_pull, plan, count, latency))
    if plan.as_installed:
        yield from _side_by_side(plan, "pull", ["dlt, as installed"], partial(_pull, plan, plan.sizes[0], 0.0))


def limited_pulls(plan: Plan) -> Iterator[Row]:
    """Pull from a till that allows so many calls a second."""
    ours = ["engage_pipelines"]
    yield from _side_by_side(
        plan, "pull under a limit", ours, partial(_pull, plan, plan.sizes[0], 0.05, rate=_TILL_RATE)
    )


def deliveries(plan: Plan) -> Iterator[Row]:
    """Deliver, with and without latency, and under the platform's limit."""
    for batch, in_flight in _BATCHES:
        for latency in _LATENCIES:
            yield from _side_by_side(
                plan, "deliver", list(DELIVERERS),
                partial(_deliver, plan, batch, in_flight, latency),
            )  # fmt: skip
    batch, in_flight = _BATCHES[0]
    yield from _side_by_side(
        plan, "deliver under a limit", list(DELIVERERS),
        partial(_deliver, plan, batch, in_flight, 0.05, rate=_PLATFORM_RATE),
    )  # fmt: skip


def faulty_deliveries(plan: Plan) -> Iterator[Row]:
    """Deliver while things go wrong."""
    for who in DELIVERERS:
        folder = _fresh(plan, "faults", who)

        def command(url: str, who: str = who, folder: Path = folder) -> list[str]:
            credential = deliver_faults.KEY if who == "engage_pipelines" else deliver_faults.token_of(url)
            task = DeliverTask(f"{url}/crmcom", plan.fault_rows, 100, folder, in_flight=4, credential=credential)
            return DELIVERERS[who](task)

        measured, accounts = deliver_faults.measure(command, folder, plan.fault_rows)
        yield {
            "measure": "deliver with faults", "contender": who, "batch": 100,
            **_figures(measured, plan.fault_rows), "accounts": report.as_dict(accounts),
        }  # fmt: skip


MEASURES: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "pull": pulls, "limit": limited_pulls, "deliver": deliveries, "faults": faulty_deliveries,
}  # fmt: skip


def _side_by_side(plan: Plan, measure: str, contenders: list[str], once: Callable[[str], Row]) -> Iterator[Row]:
    """Round by round, contender after contender; the median round of each."""
    rounds: dict[str, list[Row]] = {who: [] for who in contenders}
    for _ in range(plan.rounds):
        for who in contenders:
            rounds[who].append(_or_failure(who, once))
    for who in contenders:
        ended = [row for row in rounds[who] if "seconds" in row]
        if not ended:
            yield {"measure": measure, "contender": who, **rounds[who][0]}
            continue
        middle = statistics.median_low([row["seconds"] for row in ended])
        median = next(row for row in ended if row["seconds"] == middle)
        yield {
            "measure": measure, "contender": who, **median, "all_seconds": [row["seconds"] for row in ended],
            "failed_rounds": len(rounds[who]) - len(ended),
        }  # fmt: skip


def _or_failure(who: str, once: Callable[[str], Row]) -> Row:
    try:
        row = once(who)
    except ContenderError as error:
        return {"failure": str(error)[-400:]}
    _say(f"  {who}: {row['rows_per_second']:,.0f} rows/s, {row['peak_mb']:,.0f} MB")
    return row


def _pull(plan: Plan, count: int, latency: float, who: str, *, rate: int = 0) -> Row:
    puller = PULLERS.get(who, DLT_AS_INSTALLED)
    folder, orders = _fresh(plan, "pull", who), make_orders(plan.data / "orders", count)
    load = os.getloadavg()[0]
    with stand_in(OURS, orders=orders, latency=latency, rate=rate) as url:
        task = PullTask(url, *days_of(count), folder, latency, rate)
        measured = run(puller.command(task), folder=folder)
        stood = report_of(url)
    compared = completeness(puller.kind, folder / puller.database, orders / "truth.json")
    row = {
        "latency_ms": latency * 1000, **_figures(measured, count), "completeness": compared, "load": load,
        **_stood(stood), "result": measured.result,
    }  # fmt: skip
    if rate:
        allowed = (stood["calls"] - 1) / rate
        row |= {"rate": rate, "share_of_pull": allowed / measured.result["pull"],
                "share_in_all": allowed / measured.result["seconds"]}  # fmt: skip
    return row


def _deliver(plan: Plan, batch: int, in_flight: int, latency: float, who: str, *, rate: int = 0) -> Row:
    folder, load = _fresh(plan, "deliver", who), os.getloadavg()[0]
    # A second run of drt sends everything again: told once, where it is quick.
    once = bool(rate) or batch < _BATCHES[0][0]
    with stand_in(OURS, latency=latency, rate=rate) as url:
        task = DeliverTask(url, plan.rows, batch, folder, in_flight=in_flight, rate=rate, once=once)
        measured = run(DELIVERERS[who](task), folder=folder)
        stood = report_of(url)
    row = {
        "latency_ms": latency * 1000, "batch": batch, "in_flight": in_flight if who == "engage_pipelines" else 1,
        **_figures(measured, plan.rows), "completeness": _held(stood, plan.rows), "load": load, **_stood(stood),
        "minimal_calls": -(-plan.rows // batch), "result": measured.result,
    }  # fmt: skip
    if rate:
        row |= {"rate": rate, "share_of_rate": (stood["calls"] - 1) / rate / stood["seconds"]}
    return row


def _figures(measured: Measured, rows: int) -> Row:
    seconds = measured.result["seconds"]
    return {
        "rows": rows, "seconds": round(seconds, 3), "rows_per_second": rows / seconds,
        "cpu_seconds": round(measured.cpu_seconds, 2), "peak_mb": measured.peak_bytes / 1e6,
        "wall_seconds": round(measured.wall_seconds, 2),
    }  # fmt: skip


def _stood(stood: Row) -> Row:
    return {
        "calls": stood["calls"], "refused": stood["refused"], "most_in_flight": stood["most_in_flight"],
        "stand_in_cpu_seconds": round(stood["cpu_seconds"], 2),
    }  # fmt: skip


def _held(stood: Row, rows: int) -> Row:
    return {"is_complete": stood["held"] == rows, "rows": {"held": stood["held"], "expected": rows}}


def _fresh(plan: Plan, measure: str, who: str) -> Path:
    folder = plan.data / measure / who.replace(", ", "-").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _plan(given: argparse.Namespace) -> Plan:
    size = 10_000 if given.quick else 100_000
    return Plan(
        sizes=(size, 1_000_000) if given.large else (size,), rows=size, fault_rows=size,
        rounds=1 if given.quick else given.rounds, data=given.data.resolve(), as_installed=given.as_installed,
    )  # fmt: skip


def main() -> None:
    """Measure what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 rows, one round: does everything work?")
    parser.add_argument("--large", action="store_true", help="also 1,000,000 orders")
    parser.add_argument("--as-installed", action="store_true", help="also dlt without any tuning")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--data", type=Path, default=HOME / "data" / "bench")
    parser.add_argument("--results", type=Path, default=HOME / "benchmarks" / "results")
    given = parser.parse_args()
    plan = _plan(given)
    for name in given.only:
        _say(f"{name}:")
        rows = list(MEASURES[name](plan))
        report.write(given.results, name, rows, versions())
    shutil.rmtree(plan.data, ignore_errors=True)
    _say((given.results / "latest.md").read_text())


if __name__ == "__main__":
    main()
