"""The product beside dlt without any tuning, on request (`--as-installed`): it needs some 10 GB and minutes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measures.pull import AS_INSTALLED, PRODUCT, lines_of, pulls, size, summary
from benchmarks.plan import Plan, Row

__all__ = ["rows", "summary", "table", "targets"]


def rows(plan: Plan) -> Iterator[Row]:
    """Both, without latency."""
    if plan.as_installed:
        yield from pulls(plan, [PRODUCT, AS_INSTALLED], size(plan), 0.0)


def table(rows: list[Row]) -> str:
    """One line for each."""
    return "## Pull and load, beside dlt without tuning\n\n" + lines_of(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """None: the tuned peer is the one that counts."""
    del rows
    return []
