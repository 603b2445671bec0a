"""Pull and load a history of orders, with and without latency, beside tuned dlt and a bare script.

With `--as-installed` also dlt without any tuning, whose memory grows with the number of orders: a table of its own,
which stays when the others are measured again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.contenders import DLT_AS_INSTALLED, OURS, PULLERS, PullTask
from benchmarks.contents import completeness
from benchmarks.orders import days_of, make_orders
from benchmarks.plan import Plan, Row
from benchmarks.processes import report_of, run, stand_in
from benchmarks.rounds import figures, fresh, side_by_side, stood
from benchmarks.tables import compared, complete, ended, failures, latency, speed, target
from benchmarks.tables import table as markdown

PRODUCT = "engage_pipelines"
AS_INSTALLED = "dlt, as installed"
_LATENCIES = (0.0, 0.05, 0.15)
_LARGE = 1_000_000
_MOST_MB = 400
_FLAT = 1.1
# Peer, how many times its speed is wanted, and why that may be missed.
_WANTED = (
    ("dlt, tuned", 12.0, "loading checks, versions and proves every record, window by window, each on disk"),
    ("bare script", 0.65, "that one keeps no spool, versions or proof, checks nothing and asks once, not twice"),
)


def size(plan: Plan) -> int:
    """Orders of the normal pull."""
    return 10_000 if plan.is_quick else 100_000


def rows(plan: Plan) -> Iterator[Row]:
    """Every contender at every latency; with `--large` also ten times as many orders."""
    for delay in _LATENCIES[:2] if plan.is_quick else _LATENCIES:
        yield from pulls(plan, list(PULLERS), size(plan), delay)
    for delay in _LATENCIES if plan.is_large else ():
        yield from pulls(plan.for_large(), list(PULLERS), _LARGE, delay)


def pulls(plan: Plan, contenders: list[str], count: int, delay: float, *, rate: int = 0) -> Iterator[Row]:
    """Some contenders in one setting."""
    setting = f"{count:,} orders, {delay * 1000:.0f} ms" + (f", at most {rate}/s" if rate else "")
    once = partial(pull, plan, count, delay, rate=rate)
    yield from side_by_side(plan, "pull under a limit" if rate else "pull", contenders, once, setting)


def pull(plan: Plan, count: int, delay: float, who: str, *, rate: int = 0) -> Row:
    """One contender, once."""
    puller = DLT_AS_INSTALLED if who == AS_INSTALLED else PULLERS[who]
    folder, orders = fresh(plan, "pull", who), make_orders(plan.data / "orders", count)
    with stand_in(OURS, orders=orders, latency=delay, rate=rate) as url:
        task = PullTask(url, *days_of(count), folder, delay, rate)
        measured = run(puller.command(task), folder=folder)
        report = report_of(url)
    found = completeness(puller.kind, folder / puller.database, orders / "truth.json")
    row = {
        "latency_ms": delay * 1000, **figures(measured, count), "completeness": found, **stood(report),
        "result": measured.result,
    }  # fmt: skip
    if rate:
        allowed = (report["calls"] - 1) / rate
        row |= {"rate": rate, "share_of_pull": allowed / measured.result["pull"],
                "share_in_all": allowed / measured.result["seconds"]}  # fmt: skip
    return row


def table(rows: list[Row]) -> str:
    """One line per size, latency and contender."""
    return "## Pull and load\n\n" + lines_of(rows)


def lines_of(rows: list[Row]) -> str:
    """The rows of pulls as a table."""
    lines = [
        [
            f"{row['rows']:,}", latency(row), row["contender"], speed(row), f"{row['cpu_seconds']:.1f}",
            f"{row['peak_mb']:,.0f}", complete(row["completeness"]), f"{row['stand_in_cpu_seconds']:.1f}",
        ]
        for row in ended(rows)
    ]  # fmt: skip
    head = ["orders", "latency", "contender", "orders/s", "CPU s", "peak MB", "complete", "stand-in's CPU s"]
    return markdown(head, lines) + failures(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """Times the peers' speed where there is no latency; memory at any latency, and that it does not grow."""
    at_once = {(row["rows"], row["contender"]): row for row in ended(rows) if not row["latency_ms"]}
    peaks = _peaks(rows)
    lines = []
    for count, peak in peaks.items():
        for peer, wanted, reason in _WANTED:
            if (count, PRODUCT) in at_once and (theirs := at_once.get((count, peer))):
                times = at_once[count, PRODUCT]["rows_per_second"] / theirs["rows_per_second"]
                what = f"pull {count:,} orders, no latency, against {peer}"
                lines.append(target(what, f">= {wanted:g}x", f"{times:.2f}x", times >= wanted, reason))
        lines.append(
            target(f"peak memory of {count:,} orders, at any latency", f"<= {_MOST_MB} MB", f"{peak:.4g} MB",
                   peak <= _MOST_MB, "DuckDB keeps what its limit of memory allows")
        )  # fmt: skip
    return [*lines, *_flatness(peaks)]


def _peaks(rows: list[Row]) -> dict[int, float]:
    """The most that the product held, by number of orders."""
    peaks: dict[int, float] = {}
    for row in ended(rows):
        if row["contender"] == PRODUCT:
            peaks[row["rows"]] = max(peaks.get(row["rows"], 0.0), row["peak_mb"])
    return peaks


def _flatness(peaks: dict[int, float]) -> Iterator[list[str]]:
    if len(peaks) > 1:
        least, most = min(peaks), max(peaks)
        times = peaks[most] / peaks[least]
        yield target(f"peak memory of {most:,} orders against {least:,}", f"<= {_FLAT:g}x", f"{times:.2f}x",
                     times <= _FLAT, "a short pull is over before its load is in full swing")  # fmt: skip


def summary(rows: list[Row]) -> list[list[str]]:
    """Each size without latency, against each peer; one that failed is there too."""
    at_once = [row for row in ended(rows) if not row["latency_ms"]]
    ours = {row["rows"]: row for row in at_once if row["contender"] == PRODUCT}
    lines = [
        compared(f"pull and load {row['rows']:,} orders", _said(ours[row["rows"]]), row["contender"], _said(row),
                 ours[row["rows"]]["rows_per_second"] / row["rows_per_second"])
        for row in at_once if row["contender"] != PRODUCT and row["rows"] in ours
    ]  # fmt: skip
    failed = {row["contender"] for row in rows if "failure" in row}
    return lines + [compared("pull and load", "", who, "did not end") for who in sorted(failed)]


def _said(row: Row) -> str:
    gaps = "" if row["completeness"]["is_complete"] else ", **not complete**"
    return f"{speed(row)} orders/s, {row['peak_mb']:,.0f} MB{gaps}"
