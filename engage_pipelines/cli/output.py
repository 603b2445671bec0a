"""How commands speak: tables for people, JSON for programs, bars while something lasts, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engage_pipelines.errors import (
    ConfigError,
    ContractError,
    CredentialsError,
    EngageError,
    RejectedError,
    RetryableError,
    WarehouseBusyError,
)

# Everything for people goes to stderr: stdout is what a program reads.
console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)
plain = Console(file=sys.stdout)

_EXIT_CODES: tuple[tuple[type[EngageError], int], ...] = (
    (ConfigError, 3),
    (CredentialsError, 3),
    (RetryableError, 4),
    (WarehouseBusyError, 4),
    (ContractError, 5),
    (RejectedError, 5),
)
NEEDS_A_PERSON = 1


def exit_code(error: EngageError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), NEEDS_A_PERSON)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout; decimals as exact text, times as ISO 8601."""
    plain.print_json(json.dumps(value, default=_plain), highlight=False)


def as_json(value: Any) -> str:
    """A value as indented JSON."""
    return json.dumps(value, default=_plain, indent=2, sort_keys=False) + "\n"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows for people; numbers are right-aligned and grouped."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[position], int | float | Decimal) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    console.print(table)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with named fields for people, however narrow the terminal is.

    Fields that are too many for its width get a line each, and the rows are the columns. What holds several values
    stands in a table of its own below.

    Args:
        title: of the table.
        rows: with the same fields, of which the first one names the row.
    """
    several = [field for field in rows[0] if any(isinstance(row[field], dict | list) for row in rows)]
    name, *fields = (field for field in rows[0] if field not in several)
    widths = (max(len(field), *(len(_text(row[field])) for row in rows)) for field in (name, *fields))
    # Each column has a border and a blank on both sides.
    if sum(width + 3 for width in widths) < console.width:
        print_table(title, [name, *fields], [[row[field] for field in (name, *fields)] for row in rows])
    else:
        print_table(title, [name, *(row[name] for row in rows)], [[f, *(row[f] for row in rows)] for f in fields])
    for field in several:
        if found := [(row[name], row[field]) for row in rows if row[field]]:
            print_table(field, [name, ""], found)


class Bars:
    """Progress bars by flow; a flow that runs several times (months) goes on in its own bar."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __call__(self, flow: str) -> Callable[[int, int], None]:
        """The listener of one flow."""

        def listen(done: int, total: int) -> None:
            if self._progress is None:
                return
            if flow not in self._tasks:
                self._tasks[flow] = self._progress.add_task(flow, total=total)
            self._progress.update(self._tasks[flow], completed=done, total=total)

        return listen


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Bars]:
    """Show progress bars while the context is open; none when `quiet` or when nobody watches."""
    if quiet or not console.is_terminal:
        yield Bars(None)
        return
    with Progress(
        TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        yield Bars(progress)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return exact(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return sorted(value) if not isinstance(value, tuple) else list(value)
    return str(value)


def exact(value: Decimal) -> str:
    """An amount without needless zeros, but with two places at least."""
    text = f"{value:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        whole, _, fraction = exact(value).partition(".")
        return f"{int(whole):,}.{fraction}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    # What comes from outside may look like markup.
    return "" if value is None else escape(str(value))
