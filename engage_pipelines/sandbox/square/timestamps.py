"""RFC 3339 text to whole microseconds since 1970 and back, so that SQLite compares numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(text: object) -> int:
    """Microseconds since 1970 of an RFC 3339 time.

    Raises:
        ValueError: `text` is no time, or it has no offset from UTC.
    """
    if not isinstance(text, str):
        raise ValueError("not a text")  # noqa: TRY004 - one kind of error for every bad time
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset from UTC")
    return from_datetime(moment)


def from_datetime(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (moment - _EPOCH) // _MICROSECOND


def to_text(micros: int) -> str:
    """RFC 3339 in UTC with milliseconds, the way Square writes it."""
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
