"""How our half-open windows are said to Square."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from engage_pipelines.sources.square.paging import last_moment_before, moment

_MOMENTS = st.datetimes(datetime(2010, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_a_moment_is_written_in_utc_to_the_millisecond() -> None:
    assert moment(datetime.fromisoformat("2024-07-01T02:00:00.123999+02:00")) == "2024-07-01T00:00:00.123Z"


@given(_MOMENTS)
def test_the_last_moment_before_an_end_is_the_latest_millisecond_below_it(end: datetime) -> None:
    last = datetime.fromisoformat(last_moment_before(end))
    assert last < end <= last + timedelta(milliseconds=1)
