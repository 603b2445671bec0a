"""Which windows are pulled: no gap, no overlap, never up to now, and nights that were missed are made up for."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage_pipelines.ingest import cut, pull_range
from engage_pipelines.settings import Settings, SourceSettings, parse_settings

DAYS = st.dates(date(2024, 1, 1), date(2027, 12, 31))
MOMENTS = st.integers(0, 4 * 365 * 24 * 60).map(
    lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
ZONES = st.sampled_from(["Europe/London", "UTC", "Asia/Tokyo", "America/New_York", "Pacific/Auckland"])


def operator(zone: str = "Europe/London") -> Settings:
    return parse_settings({"operator": {"time_zone": zone}}, Path("engage.toml"))


def till(**changes: Any) -> SourceSettings:
    return SourceSettings.model_validate({"history_from": date(2020, 1, 1)} | changes)


def ranged(first: date, last: date, *, now: datetime, **options: Any) -> tuple[datetime, datetime]:
    values: dict[str, Any] = {"settings": operator(), "source": till(), "bookmark": None, "reread": False} | options
    chain, source = values.pop("settings"), values.pop("source")
    return pull_range(chain, source, (first, last), now=now, **values)


FAR = datetime(2030, 1, 1, tzinfo=UTC)


@given(MOMENTS, MOMENTS, st.integers(1, 40))
@settings(deadline=None)
def test_windows_cover_the_range_without_gap_or_overlap(start: datetime, end: datetime, days: int) -> None:
    windows = cut(start, end, days=days)
    if start >= end:
        assert windows == []
        return
    assert (windows[0].start, windows[-1].end) == (start, end)
    assert all(earlier.end == later.start for earlier, later in pairwise(windows))
    assert all(timedelta(0) < w.end - w.start <= timedelta(days=days) for w in windows)


@given(MOMENTS, MOMENTS, st.integers(1, 10), ZONES)
@settings(deadline=None)
def test_windows_of_a_zone_end_at_its_midnights_and_leave_no_gap_either(
    start: datetime, end: datetime, days: int, zone: str
) -> None:
    windows = cut(start, end, days=days, zone=ZoneInfo(zone))
    assert (windows == []) == (start >= end)
    assert all(earlier.end == later.start for earlier, later in pairwise(windows))
    assert all(window.start < window.end for window in windows)
    assert all(window.end.astimezone(ZoneInfo(zone)).time() == time() for window in windows[:-1])
    if windows:
        assert (windows[0].start, windows[-1].end) == (start, end)


@given(DAYS, st.integers(0, 5), ZONES)
@settings(deadline=None)
def test_days_that_follow_each_other_leave_no_gap_and_no_overlap_whatever_the_clocks_do(
    day: date, length: int, zone: str
) -> None:
    last = day + timedelta(days=length)
    _, end = ranged(day, last, now=FAR, settings=operator(zone))
    start, _ = ranged(last + timedelta(days=1), last + timedelta(days=1), now=FAR, settings=operator(zone))
    assert end == start


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 18), 24)]
)
def test_a_day_is_as_long_as_the_shop_has_it(day: date, hours: int) -> None:
    start, end = ranged(day, day, now=FAR)
    assert end - start == timedelta(hours=hours)


@given(MOMENTS, st.integers(-3, 3), st.floats(0, 600), st.booleans(), st.none() | MOMENTS)
@settings(deadline=None)
def test_a_pull_never_reaches_into_what_may_still_settle(
    now: datetime, days_ahead: int, settle: float, reread: bool, bookmark: datetime | None
) -> None:
    last = now.date() + timedelta(days=days_ahead)
    start, end = ranged(
        last - timedelta(days=2), last, now=now, source=till(settle_minutes=settle), reread=reread, bookmark=bookmark
    )
    assert start <= end
    assert end <= now - timedelta(minutes=settle) or cut(start, end, days=1) == []


NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
YESTERDAY = date(2026, 11, 19)


def test_a_night_goes_back_over_the_trailing_days() -> None:
    start, end = ranged(YESTERDAY, YESTERDAY, now=NIGHT, reread=True, source=till(reread_days=4))
    assert (start, end) == (datetime(2026, 11, 15, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))


def test_a_night_overlaps_the_last_one_even_when_nothing_is_to_be_read_again() -> None:
    start, _ = ranged(YESTERDAY, YESTERDAY, now=NIGHT, reread=True, source=till(reread_days=0, overlap_minutes=60))
    assert start == datetime(2026, 11, 18, 23, tzinfo=UTC)


def test_nights_that_were_missed_are_made_up_for_from_the_bookmark_on() -> None:
    bookmark = datetime(2026, 10, 1, tzinfo=UTC)
    start, _ = ranged(YESTERDAY, YESTERDAY, now=NIGHT, reread=True, bookmark=bookmark)
    assert start == bookmark - timedelta(minutes=60)


def test_a_bookmark_that_is_further_than_the_trailing_days_changes_nothing() -> None:
    start, _ = ranged(YESTERDAY, YESTERDAY, now=NIGHT, reread=True, bookmark=NIGHT)
    assert start == datetime(2026, 11, 15, tzinfo=UTC)


def test_a_night_does_not_go_back_before_the_history_that_is_wanted() -> None:
    start, _ = ranged(YESTERDAY, YESTERDAY, now=NIGHT, reread=True, source=till(history_from=date(2026, 11, 18)))
    assert start == datetime(2026, 11, 18, tzinfo=UTC)


def test_a_backfill_is_exactly_the_days_that_were_asked_for() -> None:
    start, end = ranged(date(2026, 7, 1), date(2026, 7, 2), now=NIGHT, bookmark=datetime(2020, 1, 1, tzinfo=UTC))
    assert (start, end) == (datetime(2026, 6, 30, 23, tzinfo=UTC), datetime(2026, 7, 2, 23, tzinfo=UTC))
