"""Conditions of a search over the store, as SQL with bound values."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

Where = tuple[str, tuple[object, ...]]


def between(column: str, first: int | None, last: int | None) -> list[Where]:
    """A time range, both ends included; an end that is None is open."""
    ends: list[Where] = []
    if first is not None:
        ends.append((f"{column} >= ?", (first,)))
    if last is not None:
        ends.append((f"{column} <= ?", (last,)))
    return ends


def one_of(expression: str, values: Sequence[str]) -> list[Where]:
    """The expression is one of the values; no values, no condition."""
    if not values:
        return []
    return [(f"{expression} in (select value from json_each(?))", (msgspec.json.encode(list(values)).decode(),))]


def equal(expression: str, value: object) -> list[Where]:
    """The expression is the value; None, no condition."""
    return [] if value is None else [(f"{expression} = ?", (value,))]


def inside(path: str) -> str:
    """Expression for a value inside the record's JSON, e.g. `source.name`."""
    # A blob must be told to be text, or SQLite takes it for its own binary JSON.
    return f"json_extract(cast(body as text), '$.{path}')"
