"""Deliver a catalogue in the platform's batches, with and without latency and under its limit, beside drt."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.contenders import DELIVERERS, OURS, DeliverTask
from benchmarks.plan import Plan, Row
from benchmarks.processes import report_of, run, stand_in
from benchmarks.rounds import figures, fresh, side_by_side, stood
from benchmarks.tables import compared, complete, ended, failures, latency, speed, target
from benchmarks.tables import table as markdown

PRODUCT = "engage_pipelines"
_LATENCIES = (0.0, 0.05, 0.15)
_CALLS_A_SECOND = 10
# Rows a call and calls in flight: what CRM.COM takes with the product's default, and calls of the size that AIQ takes.
_BATCHES = ((1000, 2), (100, 16))
_TIMES_DRT = 10
_OF_THE_RATE = 0.98
_SECOND_RUN_SECONDS = 2


def rows(plan: Plan) -> Iterator[Row]:
    """Both batches at every latency, then under the limit."""
    latencies = _LATENCIES[1:2] if plan.is_quick else _LATENCIES
    for batch, in_flight in _BATCHES:
        for delay in latencies:
            # A thousand calls one after the other, each of 150 ms: drt alone takes three minutes for that.
            if batch == _BATCHES[0][0] or delay < _LATENCIES[-1] or plan.is_large:
                yield from _deliveries(plan, batch, in_flight, delay)
    for delay in latencies:
        yield from _deliveries(plan, *_BATCHES[0], delay, rate=_CALLS_A_SECOND)


def _deliveries(plan: Plan, batch: int, in_flight: int, delay: float, *, rate: int = 0) -> Iterator[Row]:
    setting = f"{batch:,} rows a call, {delay * 1000:.0f} ms" + (f", at most {rate}/s" if rate else "")
    once = partial(_deliver, plan, batch, in_flight, delay, rate=rate)
    yield from side_by_side(plan, "deliver under a limit" if rate else "deliver", list(DELIVERERS), once, setting)


def _deliver(plan: Plan, batch: int, in_flight: int, delay: float, who: str, *, rate: int = 0) -> Row:
    folder, count = fresh(plan, "deliver", who), 10_000 if plan.is_quick else 100_000
    # A second run of drt sends everything again: told once, where it is quick.
    once = bool(rate) or batch < _BATCHES[0][0]
    with stand_in(OURS, latency=delay, rate=rate) as url:
        task = DeliverTask(url, count, batch, folder, in_flight=in_flight, rate=rate, once=once)
        measured = run(DELIVERERS[who](task), folder=folder)
        report = report_of(url)
    row = {
        "latency_ms": delay * 1000, "batch": batch, "in_flight": in_flight if who == PRODUCT else 1,
        **figures(measured, count), "completeness": _held(report, count), **stood(report),
        "minimal_calls": -(-count // batch), "result": measured.result,
    }  # fmt: skip
    if rate:
        row |= {"rate": rate, "share_of_rate": (report["calls"] - 1) / rate / report["seconds"]}
    return row


def _held(report: Row, count: int) -> Row:
    """Different rows, as no platform may hold one that was never sent; that none came twice is another measure's."""
    return {"is_complete": report["held"] == count, "rows": {"held": report["held"], "expected": count}}


def table(rows: list[Row]) -> str:
    """One line per batch, latency, limit and contender."""
    lines = [
        [
            f"{row['batch']:,}", latency(row), f"{row['rate']}/s" if "rate" in row else "none", row["contender"],
            speed(row), f"{row['cpu_seconds']:.1f}", f"{row['peak_mb']:,.0f}", str(row["in_flight"]),
            _calls(row), str(row["refused"]), f"{row['share_of_rate']:.1%}" if "rate" in row else "",
            _second(row), complete(row["completeness"]),
        ]
        for row in ended(rows)
    ]  # fmt: skip
    head = [
        "rows a call", "latency", "limit", "contender", "rows/s", "CPU s", "peak MB", "in flight", "calls", "429",
        "of the rate", "second run", "complete",
    ]  # fmt: skip
    count = max((row["rows"] for row in ended(rows)), default=0)
    return f"## Deliver {count:,} rows\n\n" + markdown(head, lines) + failures(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """Times drt's speed where calls take time; the limit used and kept; nothing sent again."""
    lines = []
    for ours, theirs in _pairs(rows):
        if ours["latency_ms"] == 50:
            times = ours["rows_per_second"] / theirs["rows_per_second"]
            what = f"deliver at 50 ms, {ours['batch']:,} rows a call, {ours['in_flight']} in flight, against drt"
            lines.append(target(what, f">= {_TIMES_DRT}x", f"{times:.1f}x", times >= _TIMES_DRT, _why_not(ours)))
    for row in ended(rows):
        if row["contender"] == PRODUCT and "rate" in row:
            lines += _under_limit(row)
    return lines


def _why_not(ours: Row) -> str:
    calls = ours["rows"] / ours["batch"] * ours["latency_ms"] / 1000
    return (
        f"{ours['in_flight']} calls in flight: waiting alone takes {calls / ours['in_flight']:.1f} s here and "
        f"{calls:.1f} s in drt, which has one"
    )


def _under_limit(row: Row) -> list[list[str]]:
    second, what = row["result"]["second"], f"deliver at {latency(row)} under {row['rate']}/s"
    return [
        target(f"{what}, of the rate", f">= {_OF_THE_RATE:.0%}", f"{row['share_of_rate']:.1%}",
               row["share_of_rate"] >= _OF_THE_RATE, "planning and notes between the calls"),
        target(f"{what}, refused with 429", "0", str(row["refused"]), not row["refused"], "the pace was too quick"),
        target(f"{what}, calls (with one for the token)", f"{row['minimal_calls'] + 1}", str(row["calls"]),
               row["calls"] == row["minimal_calls"] + 1, "calls were repeated"),
        target(f"{what}, unchanged second run", f"0 calls, <= {_SECOND_RUN_SECONDS} s",
               f"{second['calls']} calls, {second['seconds']:.2f} s",
               not second["calls"] and second["seconds"] <= _SECOND_RUN_SECONDS, "the whole catalogue is compared"),
    ]  # fmt: skip


def summary(rows: list[Row]) -> list[list[str]]:
    """Each batch at 50 ms, against drt."""
    return [
        compared(f"deliver {ours['rows']:,} rows at 50 ms, {ours['batch']:,} a call, {ours['in_flight']} in flight",
                 f"{speed(ours)} rows/s", theirs["contender"], f"{speed(theirs)} rows/s",
                 ours["rows_per_second"] / theirs["rows_per_second"])
        for ours, theirs in _pairs(rows) if ours["latency_ms"] == 50
    ]  # fmt: skip


def _pairs(rows: list[Row]) -> list[tuple[Row, Row]]:
    """The product's row and drt's, wherever there is no limit."""
    free = {(row["batch"], row["latency_ms"], row["contender"]): row for row in ended(rows) if "rate" not in row}
    return [
        (row, free[batch, delay, "drt"])
        for (batch, delay, who), row in free.items()
        if who == PRODUCT and (batch, delay, "drt") in free
    ]


def _calls(row: Row) -> str:
    first = row["result"]["first"]
    return str(first["calls"]) if "calls" in first else str(row["minimal_calls"])


def _second(row: Row) -> str:
    second = row["result"]["second"]
    if second is None:
        return "not run"
    calls = second.get("calls", row["calls"] - row["minimal_calls"])
    return f"{calls} calls, {second['seconds']:.2f} s"
