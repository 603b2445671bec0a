"""How many windows are pulled side by side."""

from __future__ import annotations

import pytest

from engage_pipelines.http_client import Rate
from engage_pipelines.ingest.breadth import Breadth


def grown(breadth: Breadth, call_seconds: float, processor_seconds: float, pages: int = 20) -> int:
    """How many windows there are after so many pages."""
    for _ in range(pages):
        breadth.note_page(call_seconds, processor_seconds)
    return breadth.allowed


def test_pages_that_are_waited_for_make_room_until_the_most_is_reached() -> None:
    breadth = Breadth(5, ())
    assert [grown(breadth, 0.05, 0.001, pages=1) for _ in range(5)] == [3, 4, 5, 5, 5]


def test_a_busy_processor_gets_no_further_window() -> None:
    # Three times 0.01 of 0.05 seconds are more than half.
    assert grown(Breadth(8, ()), 0.05, 0.01) == 3


@pytest.mark.parametrize(
    ("rates", "windows"),
    # Calls of 50 ms: 40 a second are two at once, and one more so that none of them is missed.
    [((Rate(40, 1),), 3), ((Rate(200, 1), Rate(600, 60)), 2), ((Rate(100, 1),), 6), ((Rate(1000, 1),), 8)],
)
def test_there_are_no_more_windows_than_the_limit_has_work_for(rates: tuple[Rate, ...], windows: int) -> None:
    assert grown(Breadth(8, rates), 0.05, 0.0001) == windows


def test_one_slow_answer_is_not_taken_for_all() -> None:
    breadth = Breadth(8, (Rate(40, 1),))
    grown(breadth, 0.05, 0.001)
    breadth.note_page(0.1, 0.001)
    assert breadth.allowed == 3
    # Answers that have become slow for good are another thing.
    assert grown(breadth, 0.15, 0.001) == 6


@pytest.mark.parametrize("most", [1, 2])
def test_it_never_begins_with_more_than_the_most(most: int) -> None:
    assert grown(Breadth(most, ()), 1.0, 0.0) == most
