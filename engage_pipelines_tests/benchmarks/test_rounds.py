"""Contenders take turns; the median round is told, and whoever failed or lost rows is told as that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plan import Plan
from benchmarks.processes import ContenderError
from benchmarks.rounds import is_sound, side_by_side


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(rounds=3, data=tmp_path)


def test_contenders_take_turns_and_the_median_round_is_told(plan: Plan) -> None:
    order: list[str] = []
    seconds: Iterator[float] = iter([3.0, 30.0, 1.0, 10.0, 2.0, 20.0])

    def once(who: str) -> dict[str, Any]:
        order.append(who)
        return {"seconds": next(seconds)}

    rows = list(side_by_side(plan, "pull", ["a", "b"], once))
    assert order == ["a", "b"] * 3
    assert [(row["contender"], row["seconds"], row["all_seconds"]) for row in rows] == [
        ("a", 2.0, [3.0, 1.0, 2.0]), ("b", 20.0, [30.0, 10.0, 20.0]),
    ]  # fmt: skip
    assert all(map(is_sound, rows))


def test_the_median_is_that_of_the_figure_that_is_judged(plan: Plan) -> None:
    nights = iter([(90.0, 9.0), (80.0, 12.0), (100.0, 10.0)])

    def once(_: str) -> dict[str, Any]:
        seconds, beyond = next(nights)
        return {"seconds": seconds, "beyond": beyond}

    (row,) = side_by_side(plan, "nightly", ["a"], once, by="beyond")
    assert (row["seconds"], row["beyond"], row["all_seconds"]) == (100.0, 10.0, [9.0, 12.0, 10.0])


def test_calls_that_were_refused_in_one_round_show_though_it_is_not_the_median(plan: Plan) -> None:
    rounds = iter([(1.0, 3), (2.0, 0), (3.0, 0)])

    def once(_: str) -> dict[str, Any]:
        seconds, refused = next(rounds)
        return {"seconds": seconds, "refused": refused}

    (row,) = side_by_side(plan, "deliver under a limit", ["a"], once)
    assert (row["seconds"], row["refused"]) == (2.0, 3)


def test_a_contender_that_fails_is_told_as_failed_and_stops_no_other(plan: Plan) -> None:
    def once(who: str) -> dict[str, Any]:
        if who == "a":
            raise ContenderError("ended with 1: MemoryError")
        return {"seconds": 1.0}

    first, second = side_by_side(plan, "pull", ["a", "b"], once)
    assert first == {"measure": "pull", "contender": "a", "failure": "ended with 1: MemoryError"}
    assert not is_sound(first)
    assert is_sound(second)


def test_one_failed_round_of_three_shows_in_the_row(plan: Plan) -> None:
    answers: Iterator[float | None] = iter([1.0, None, 2.0])

    def once(_: str) -> dict[str, Any]:
        if (seconds := next(answers)) is None:
            raise ContenderError("ended with 1")
        return {"seconds": seconds}

    (row,) = side_by_side(plan, "pull", ["a"], once)
    assert (row["seconds"], row["failed_rounds"]) == (1.0, 1)
    assert not is_sound(row)


def test_one_incomplete_round_shows_though_it_is_not_the_median(plan: Plan) -> None:
    rounds = iter([(1.0, False), (2.0, True), (3.0, True)])

    def once(_: str) -> dict[str, Any]:
        seconds, is_complete = next(rounds)
        return {"seconds": seconds, "completeness": {"is_complete": is_complete}}

    (row,) = side_by_side(plan, "pull", ["a"], once)
    assert row["completeness"]["is_complete"]
    assert not is_sound(row)
