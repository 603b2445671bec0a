"""Pieces that the tables of all measures are made of."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.plan import Row


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def target(measure: str, wanted: str, measured: str, is_met: bool, reason: str = "") -> list[str]:
    """One line of the table of targets; where one is missed, the reason in a few words."""
    return [measure, wanted, measured, "yes" if is_met else "**no**", "" if is_met else reason]


def ended(rows: Iterable[Row]) -> list[Row]:
    """Those that have a result."""
    return [row for row in rows if "seconds" in row]


def failures(rows: list[Row]) -> str:
    """Those that have none, with what they said last."""
    failed = [f"\n\n{row['contender']} did not end: `{row['failure'][-160:]}`" for row in rows if "failure" in row]
    return "".join(failed)


def compared(what: str, ours: str, peer: str, theirs: str, times: float | None = None) -> list[str]:
    """One line of the README's comparison; `times`: how often the peer's result the product's is."""
    return [what, ours, peer, theirs, "" if times is None else f"{times:.2g}x" if times < 10 else f"{times:.0f}x"]


def latency(row: Row) -> str:
    """A row's latency as it is told."""
    return f"{row['latency_ms']:.0f} ms"


def speed(row: Row) -> str:
    """A row's speed as it is told."""
    return f"{row['rows_per_second']:,.0f}"


def complete(completeness: Row) -> str:
    """Whether all is there, or of which kind how much."""
    if completeness["is_complete"]:
        return "yes"
    kinds = {name: each for name, each in completeness.items() if name != "is_complete"}
    return "**no**: " + ", ".join(f"{name} {each['held']:,} of {each['expected']:,}" for name, each in kinds.items())
