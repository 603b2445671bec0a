"""Which windows to pull. Windows are half-open, in UTC, and never end at "now"."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from engage_pipelines.connector import Window
from engage_pipelines.settings import Settings, SourceSettings


def cut(start: datetime, end: datetime, *, days: int, zone: ZoneInfo | None = None) -> list[Window]:
    """Cut `[start, end)` into windows of at most `days` days, without gap or overlap, in order.

    With a zone, windows end at its midnights, so that a day pulled again replaces that day's window also
    where the clocks changed in between.
    """
    windows = []
    while start < end:
        windows.append(Window(start, min(_behind(start, days, zone), end)))
        start = windows[-1].end
    return windows


def _behind(start: datetime, days: int, zone: ZoneInfo | None) -> datetime:
    if zone is None:
        return start + timedelta(days=days)
    day = start.astimezone(zone).date() + timedelta(days=days)
    return datetime.combine(day, time(), zone).astimezone(UTC)


def pull_range(
    settings: Settings,
    source: SourceSettings,
    days: tuple[date, date],
    *,
    now: datetime,
    bookmark: datetime | None,
    reread: bool,
) -> tuple[datetime, datetime]:
    """The range of modification time to pull for the days `first..last` (both included).

    Args:
        settings: for the operator's time zone.
        source: settle time, overlap, days to re-read, start of history.
        days: first and last day, in the operator's time zone.
        now: the present moment.
        bookmark: how far everything is loaded, or None.
        reread: True at night: go back over the trailing days, and over any day that was missed.
    """
    first, last = days
    end = min(settings.midnight(last + timedelta(days=1)), now - timedelta(minutes=source.settle_minutes))
    start = settings.midnight(first)
    if reread:
        start -= max(timedelta(days=source.reread_days), timedelta(minutes=source.overlap_minutes))
        if bookmark is not None:
            start = min(start, bookmark - timedelta(minutes=source.overlap_minutes))
        start = max(start, settings.midnight(source.history_from))
    return start, max(start, end)
