"""How far everything is loaded without a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engage_pipelines.state import Bookmarks
from engage_pipelines.state.database import BOOKMARKS

START = datetime(2026, 11, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture
def bookmarks(engine: sa.Engine) -> Bookmarks:
    return Bookmarks(engine)


def test_before_the_first_load_there_is_none(bookmarks: Bookmarks) -> None:
    assert bookmarks.through("acme", "orders") is None
    assert bookmarks.all() == []


def test_a_bookmark_moves_over_windows_that_touch_it_and_over_no_gap(bookmarks: Bookmarks) -> None:
    moves = [((0, 1), 1), ((1, 2), 2), ((3, 4), 2), ((1, 3), 3), ((0, 2), 3), ((3, 3), 3), ((0, 9), 9)]
    for (start, end), through in moves:
        bookmarks.advance("acme", "orders", (), day(start), day(end))
        assert bookmarks.through("acme", "orders") == day(through)


def test_sources_and_entities_do_not_mix(bookmarks: Bookmarks) -> None:
    bookmarks.advance("acme", "orders", ("L1",), day(0), day(1))
    bookmarks.advance("acme", "customers", (), day(0), day(5))
    bookmarks.advance("other", "orders", (), day(0), day(9))
    assert bookmarks.through("acme", "orders") == day(1)
    assert bookmarks.all() == [("acme", "customers", day(5)), ("acme", "orders", day(1)), ("other", "orders", day(9))]


def test_the_slowest_location_counts(bookmarks: Bookmarks) -> None:
    bookmarks.advance("acme", "orders", ("L1", "L2"), day(0), day(3))
    bookmarks.advance("acme", "orders", ("L1",), day(3), day(7))
    assert bookmarks.through("acme", "orders") == day(3)


@given(windows=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 3)), min_size=1, max_size=15))
# One database for all examples: each begins by emptying it.
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_everything_between_the_first_window_and_the_bookmark_was_loaded(
    engine: sa.Engine, windows: list[tuple[int, int]]
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(BOOKMARKS))
    bookmarks = Bookmarks(engine)
    covered: set[int] = set()
    for start, length in windows:
        bookmarks.advance("acme", "orders", (), day(start), day(start + length))
        covered |= set(range(start, start + length))
    through = bookmarks.through("acme", "orders")
    assert through is not None
    assert set(range(windows[0][0], (through - START).days)) <= covered
