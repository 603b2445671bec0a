"""How our half-open windows are said to Square, and how its lists are walked."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from engage_pipelines.sources.square.paging import Page, last_moment_before, moment, walk_in_order

_MOMENTS = st.datetimes(datetime(2010, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_a_moment_is_written_in_utc_to_the_millisecond() -> None:
    assert moment(datetime.fromisoformat("2024-07-01T02:00:00.123999+02:00")) == "2024-07-01T00:00:00.123Z"


@given(_MOMENTS)
def test_the_last_moment_before_an_end_is_the_latest_millisecond_below_it(end: datetime) -> None:
    last = datetime.fromisoformat(last_moment_before(end))
    assert last < end <= last + timedelta(milliseconds=1)


def test_a_page_is_let_go_of_before_the_next_one_is_waited_for() -> None:
    size, held = 4_000_000, []

    def ask(_: str, cursor: str | None) -> Page:
        held.append(tracemalloc.get_traced_memory()[0])
        number = int(cursor or 0)
        return Page((bytes(size), bytes(10)), str(number + 1) if number < 4 else None)

    tracemalloc.start()
    try:
        for records in walk_in_order("a list", "", "", 100, ask):
            del records
    finally:
        tracemalloc.stop()
    assert len(held) == 5
    assert max(held) < size
