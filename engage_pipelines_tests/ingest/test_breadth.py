"""How many windows are pulled side by side."""

from __future__ import annotations

import time

import pytest

from engage_pipelines.http_client import Rate
from engage_pipelines.ingest.breadth import Breadth, ProcessorUse


def grown(
    breadth: Breadth, call_seconds: float, processor_seconds: float, pages: int = 20, *, in_use: float = 0.0
) -> int:
    """How many windows there are after so many pages."""
    for _ in range(pages):
        breadth.note_page(call_seconds, processor_seconds, in_use=in_use)
    return breadth.allowed


def test_pages_that_are_waited_for_make_room_until_the_most_is_reached() -> None:
    breadth = Breadth(5, ())
    assert [grown(breadth, 0.05, 0.001, pages=1) for _ in range(5)] == [3, 4, 5, 5, 5]


def test_a_busy_processor_gets_no_further_window() -> None:
    # Three times 0.01 of 0.05 seconds are more than half.
    assert grown(Breadth(8, ()), 0.05, 0.01) == 3


def test_answers_that_are_late_as_a_load_has_the_processors_make_no_room() -> None:
    breadth = Breadth(8, ())
    assert grown(breadth, 0.15, 0.003, in_use=0.9) == 2
    # What there is stays: who waits for a vendor far away needs it.
    assert grown(breadth, 0.15, 0.003, pages=3, in_use=0.5) == 5
    assert grown(breadth, 0.15, 0.003, in_use=0.9) == 5


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
    breadth.note_page(0.1, 0.001, in_use=0.0)
    assert breadth.allowed == 3
    # Answers that have become slow for good are another thing.
    assert grown(breadth, 0.15, 0.001) == 6


@pytest.mark.parametrize("most", [1, 2])
def test_it_never_begins_with_more_than_the_most(most: int) -> None:
    assert grown(Breadth(most, ()), 1.0, 0.0) == most


def test_one_page_that_was_waited_for_long_says_nothing_of_a_busy_processor() -> None:
    breadth = Breadth(8, ())
    assert grown(breadth, 0.01, 0.0035) == 2
    assert grown(breadth, 0.02, 0.0035, pages=1) == 2
    assert grown(breadth, 0.02, 0.0035) == 3


def test_the_use_of_processors_is_that_of_the_last_five_to_ten_seconds() -> None:
    wall = used = 0.0
    processors = ProcessorUse(2, wall=lambda: wall, used=lambda: used)
    assert processors.now() == 0.0
    told = []
    # Idle for ten seconds, then both processors busy.
    for seconds in (5, 10, 12, 15, 20, 30):
        wall, used = float(seconds), 2 * max(0.0, seconds - 10.0)
        told.append(round(processors.now(), 2))
    assert told == [0.0, 0.0, 0.29, 1.0, 1.0, 1.0]


def test_one_second_of_rest_of_a_busy_process_is_hardly_seen() -> None:
    wall = used = 0.0
    processors = ProcessorUse(2, wall=lambda: wall, used=lambda: used)
    told = []
    for _ in range(40):
        wall, used = wall + 1.0, used + (0.0 if wall == 20.0 else 2.0)
        told.append(processors.now())
    assert min(told) == 0.8


def test_a_process_that_computes_uses_its_processors() -> None:
    processors = ProcessorUse(1)
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert processors.now() > 0.1
