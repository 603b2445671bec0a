"""Rates and pauses while several requests wait at once, in one process or in several, and while clocks are set."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engage_pipelines.errors import RetryableError
from engage_pipelines.http_client import Memory, Pacer, Rate
from engage_pipelines.http_client.pacing import window
from engage_pipelines_tests.http_client.test_pacing import most_within
from engage_pipelines_tests.http_client.virtual_time import VirtualTime

_RATES = st.lists(st.builds(Rate, st.integers(1, 6), st.sampled_from([0.5, 1.0, 3.0, 60.0])), max_size=3)
# Who asks (two processes), when, and in which thread; four threads each have their own list.
_CALLERS = st.lists(st.lists(st.floats(0, 3), max_size=8), min_size=1, max_size=4)
_PAUSES = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 20)), max_size=3)
_JUMPS = st.floats(2, 1e6)
# Between two readings of the wall clock, which has microseconds, in a float, which has a quarter of one left.
_BLUR = 2e-6


class Account:
    """Two processes that share an account, each with a pacer of its own."""

    def __init__(self, rates: Sequence[Rate], file: Path, patience: float = 1e9) -> None:
        self.time = VirtualTime()
        self.left: list[float] = []
        self.pacers = [
            Pacer(
                Memory(rates, file=file, clock=self.time.wall), sleep=self.time.sleep, now=self.time.now,
                patience=patience,
            )
            for _ in range(2)
        ]  # fmt: skip

    def ask(self, process: int, idle: Sequence[float]) -> None:
        for seconds in idle:
            self.time.sleep(seconds)
            self.pacers[process].wait()
            self.left.append(self.time.seconds)

    def pause_after(self, process: int, seconds: float, length: float) -> None:
        self.time.sleep(seconds)
        self.pacers[process].pause(length)

    def set_clock_after(self, seconds: float, by: float) -> None:
        self.time.sleep(seconds)
        self.time.wall_is_off_by += by


@contextmanager
def account(rates: Sequence[Rate]) -> Iterator[Account]:
    with tempfile.TemporaryDirectory() as folder:
        yield Account(rates, Path(folder) / "acme.pace")


def asking(acme: Account, callers: Sequence[Sequence[float]]) -> list[Callable[[], object]]:
    return [partial(acme.ask, n % 2, idle) for n, idle in enumerate(callers)]


@given(_RATES, _CALLERS, _PAUSES)
@example([], [[1.2109375]], [(0.3986604746484735, 1.0)])
@settings(max_examples=120, deadline=None)
def test_no_window_is_overdrawn_and_no_pause_is_broken_however_many_wait(
    rates: list[Rate], callers: list[list[float]], pauses: list[tuple[float, float]]
) -> None:
    with account(rates) as acme:
        pausing = [partial(acme.pause_after, n % 2, *p) for n, p in enumerate(pauses)]
        acme.time.run(*asking(acme, callers), *pausing)
    assert len(acme.left) == sum(map(len, callers))
    for rate in rates:
        assert not acme.left or most_within(acme.left, rate.seconds) <= rate.requests
    for began, length in pauses:
        # A request may leave in the very moment in which the pause begins.
        assert not [moment for moment in acme.left if began < moment < began + length - _BLUR]


@given(_RATES, _CALLERS, _PAUSES)
@settings(max_examples=60, deadline=None)
def test_a_pause_costs_no_more_than_its_length(
    rates: list[Rate], callers: list[list[float]], pauses: list[tuple[float, float]]
) -> None:
    with account(rates) as undisturbed:
        undisturbed.time.run(*asking(undisturbed, callers))
    with account(rates) as acme:
        pausing = [partial(acme.pause_after, n % 2, *p) for n, p in enumerate(pauses)]
        acme.time.run(*asking(acme, callers), *pausing)
    longest = max(map(window, rates), default=0.0)
    lost = sum(length for _, length in pauses) + longest * len(pauses)
    assert max(acme.left, default=0.0) <= max(undisturbed.left, default=0.0) + lost + _BLUR


def test_a_request_whose_turn_was_settled_before_the_pause_obeys_it_too(tmp_path: Path) -> None:
    acme = Account([Rate(1, 10.0)], tmp_path / "acme.pace")
    acme.time.run(
        lambda: acme.ask(0, [0.0, 0.0]), lambda: acme.ask(1, [1.0]), lambda: acme.pause_after(1, 5.0, 60.0)
    )  # fmt: skip
    step = window(Rate(1, 10.0))
    # They keep their order and their distance, and nobody waits longer than the pause made necessary.
    assert acme.left == pytest.approx([0.0, 65.0, 65.0 + step])


def test_whoever_was_next_before_a_pause_is_next_after_it(tmp_path: Path) -> None:
    acme = Account([Rate(1, 10.0)], tmp_path / "acme.pace")
    acme.time.run(lambda: acme.ask(0, [0.0, 0.0]), lambda: acme.ask(1, [1.0]), lambda: acme.pause_after(1, 9.0, 3.0))
    # The second was due in the pause, the third after it: no turn is lost, and no window wasted.
    assert acme.left == pytest.approx([0.0, 12.0, 12.0 + window(Rate(1, 10.0))])


def test_a_pause_in_the_very_moment_of_leaving_still_counts() -> None:
    time = VirtualTime()
    memory = Memory([Rate(1, 10.0)], clock=time.monotonic)
    wishes = [60.0]

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if wishes:
            pacer.pause(wishes.pop())

    pacer = Pacer(memory, sleep=sleep)
    pacer.wait()
    due = window(Rate(1, 10.0))
    assert pacer.wait().waited == pytest.approx(due + 60.0)
    assert time.seconds == pytest.approx(due + 60.0)


def test_a_request_that_waits_already_does_not_wait_for_a_pause_beyond_our_patience(tmp_path: Path) -> None:
    acme = Account([Rate(1, 10.0)], tmp_path / "acme.pace", patience=100.0)
    with pytest.raises(RetryableError, match="asked to be left alone until 2026-11-20 02:20:05 UTC") as raised:
        acme.time.run(lambda: acme.ask(0, [0.0, 0.0]), lambda: acme.pause_after(1, 5.0, 1200.0))
    assert raised.value.retry_at is not None
    assert acme.time.seconds < 11.0


@given(_RATES, _CALLERS, st.floats(0, 10), _JUMPS)
@settings(max_examples=80, deadline=None)
def test_a_clock_that_is_set_back_neither_overdraws_nor_silences(
    rates: list[Rate], callers: list[list[float]], after: float, jump: float
) -> None:
    with account(rates) as undisturbed:
        undisturbed.time.run(*asking(undisturbed, callers))
    with account(rates) as acme:
        acme.time.run(*asking(acme, callers), lambda: acme.set_clock_after(after, -jump))
    for rate in rates:
        assert not acme.left or most_within(acme.left, rate.seconds) <= rate.requests
    # Unknown is only how long nobody had looked at the clock before it was set: that may be waited for once more.
    late = max(map(window, rates), default=0.0) + 3.0
    assert max(acme.left, default=0.0) <= max(undisturbed.left, default=0.0) + late


@given(_RATES, _CALLERS, st.floats(0, 10), _JUMPS, st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_clock_that_is_set_forward_costs_one_window_at_most_even_if_it_is_set_right_again(
    rates: list[Rate], callers: list[list[float]], after: float, jump: float, is_set_right: bool
) -> None:
    with account(rates) as acme:
        setting = [lambda: acme.set_clock_after(after, jump)]
        if is_set_right:
            setting.append(lambda: acme.set_clock_after(after + 2.0, -jump))
        acme.time.run(*asking(acme, callers), *setting)
    for rate in rates:
        assert not acme.left or most_within(acme.left, rate.seconds) <= 2 * rate.requests


def test_a_pause_is_not_lengthened_by_a_clock_that_is_set_back(tmp_path: Path) -> None:
    acme = Account([], tmp_path / "acme.pace")
    acme.pacers[0].pause(60.0)
    acme.time.wall_is_off_by = -7200.0
    assert acme.pacers[1].wait().waited == 60.0


def test_a_clock_that_is_slewed_has_not_jumped(tmp_path: Path) -> None:
    acme = Account([Rate(1, 10.0)], tmp_path / "acme.pace")
    acme.pacers[0].wait()
    acme.time.wall_is_off_by = -0.5
    assert acme.pacers[1].wait().waited == pytest.approx(window(Rate(1, 10.0)))
