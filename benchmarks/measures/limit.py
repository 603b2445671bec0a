"""Pull from a till that allows so many calls a second: how much of that is used."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measures.pull import PRODUCT, pulls, size
from benchmarks.plan import Plan, Row
from benchmarks.tables import ended, failures, latency, speed, target
from benchmarks.tables import table as markdown

# The load of the last windows, which nothing can hide, outweighs the rest in a short pull and not in a long one.
_TIMES = (1, 5)
_CALLS_A_SECOND = 40
_LATENCY = 0.05
_WANTED = 0.9


def rows(plan: Plan) -> Iterator[Row]:
    """The product alone: no peer knows a limit."""
    for times in _TIMES:
        yield from pulls(plan, [PRODUCT], times * size(plan), _LATENCY, rate=_CALLS_A_SECOND)


def table(rows: list[Row]) -> str:
    """Calls, refusals, and the share of what was allowed."""
    lines = [
        [
            f"{row['rows']:,}", latency(row), f"{row['rate']}/s", row["contender"], speed(row), str(row["calls"]),
            str(row["refused"]), f"{row['share_of_pull']:.1%}", f"{row['share_in_all']:.1%}",
        ]
        for row in ended(rows)
    ]  # fmt: skip
    head = [
        "orders", "latency", "limit", "contender", "orders/s", "calls", "429", "of the limit: pull", "pull and load",
    ]  # fmt: skip
    return "## Pull under a limit\n\n" + markdown(head, lines) + failures(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """Nearly all that is allowed, the load included."""
    return [
        target(f"pull and load {row['rows']:,} at {latency(row)} under {row['rate']}/s, of what the limit allows",
               f">= {_WANTED:.0%}",
               f"{row['share_in_all']:.1%}", row["share_in_all"] >= _WANTED,
               "the last windows end alone, and what they brought is loaded after that")
        for row in ended(rows)
    ]  # fmt: skip
