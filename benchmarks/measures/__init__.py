"""One file per measure: how it is run, its table, its targets.

The list of them is in `benchmarks.__main__`. Any of them may also have `summary(rows)`: the lines that it adds to the
README's comparison, as `benchmarks.tables.compared` makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from benchmarks.plan import Plan, Row


class Measure(Protocol):
    """What a module of this folder has."""

    def rows(self, plan: Plan, /) -> Iterator[Row]:
        """Measure, contender by contender; no rows at all: this is measured on request only, earlier ones stay."""
        ...

    def table(self, rows: list[Row], /) -> str:
        """The rows for people: a heading and a Markdown table."""
        ...

    def targets(self, rows: list[Row], /) -> list[list[str]]:
        """What had to be reached and whether it was, one line each (`benchmarks.tables.target`)."""
        ...
