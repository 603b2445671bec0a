"""Fields of a request, each checked for its type; a wrong one is refused with Square's code for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engage_pipelines.sandbox.square.refusals import SquareRefusedError, not_offered
from engage_pipelines.sandbox.square.timestamps import to_micros

Fields = Mapping[str, Any]


def section(fields: Fields, name: str) -> Fields:
    """An object inside the request; empty if absent."""
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SquareRefusedError("EXPECTED_OBJECT", f"{name} must be an object.", field=name)
    return value


def text(fields: Fields, name: str) -> str | None:
    """A text, None if absent or empty."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise SquareRefusedError("EXPECTED_STRING", f"{name} must be a string.", field=name)
    return value or None


def texts(fields: Fields, name: str, *, most: int | None = None) -> list[str]:
    """A list of texts; empty if absent."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise SquareRefusedError("EXPECTED_ARRAY", f"{name} must be an array of strings.", field=name)
    if most is not None and len(value) > most:
        raise SquareRefusedError("ARRAY_LENGTH_TOO_LONG", f"{name} holds more than {most} entries.", field=name)
    return value


def flag(fields: Fields, name: str) -> bool:
    """A boolean, also as the text `true` or `false` of a query string; False if absent."""
    value = fields.get(name)
    if value in (None, False, "false"):
        return False
    if value in (True, "true"):
        return True
    raise SquareRefusedError("EXPECTED_BOOLEAN", f"{name} must be a boolean.", field=name)


def whole(fields: Fields, name: str) -> int | None:
    """A whole number, also as the text of a query string; None if absent."""
    value = fields.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    try:
        return int(str(value))
    except ValueError as error:
        raise SquareRefusedError("EXPECTED_INTEGER", f"{name} must be a whole number.", field=name) from error


def bounded(fields: Fields, name: str, *, default: int, highest: int) -> int:
    """A limit that must lie between 1 and `highest`."""
    value = whole(fields, name)
    if value is None:
        return default
    if value < 1:
        raise SquareRefusedError("VALUE_TOO_LOW", f"{name} must be at least 1.", field=name)
    if value > highest:
        raise SquareRefusedError("VALUE_TOO_HIGH", f"{name} must be at most {highest}.", field=name)
    return value


def ignored_beyond(fields: Fields, name: str, *, default: int, highest: int) -> int:
    """A limit that is passed over when it lies outside 1 to `highest`."""
    value = whole(fields, name)
    return value if value is not None and 1 <= value <= highest else default


def moment(fields: Fields, name: str) -> int | None:
    """A time in microseconds since 1970, None if absent."""
    value = fields.get(name)
    if value in (None, ""):
        return None
    try:
        return to_micros(value)
    except ValueError as error:
        raise SquareRefusedError("INVALID_TIME", f"{name} must be an RFC 3339 time.", field=name) from error


def choice(fields: Fields, name: str, allowed: tuple[str, ...], default: str) -> str:
    """One of a few words."""
    value = text(fields, name)
    if value is None:
        return default
    if value not in allowed:
        raise SquareRefusedError("INVALID_ENUM_VALUE", f"{name} must be one of {', '.join(allowed)}.", field=name)
    return value


def descending(fields: Fields, name: str, default: str) -> bool:
    """Whether the sort order is from new to old."""
    return choice(fields, name, ("ASC", "DESC"), default) == "DESC"


def refuse_others(fields: Fields, offered: frozenset[str]) -> None:
    """Refuse filters that the stand-in does not apply; an unfiltered answer would be taken for a filtered one."""
    for name, value in fields.items():
        if name not in offered and value is not None:
            raise not_offered(name)
