"""A campaign that passes whatever is wrong would prove nothing: each deliberate bug must make it fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from engage_pipelines_tests.chaos.course_of_tests import Ran, run_campaign


def _straight(data: Path, *more: str) -> Ran:
    """The short course without chance: a kill in each gap between the three steps, and a 200 that says no."""
    return run_campaign(
        data, "--seed", "3", "--minutes", "0", "--straight", "--receipts", "60", "--customers", "40", "--stock", "30",
        "--only", "aiq", "--only", "crmcom", *more,
    )  # fmt: skip


def test_without_a_bug_the_straight_course_finds_nothing(tmp_path: Path) -> None:
    ran = _straight(tmp_path)
    assert (ran.report["findings"], ran.code) == ([], 0), ran.said
    places = {"before the call", "call under way", "answer came", "step 1 committed", "before step 3"}
    assert set(ran.report["kills"]["by_place"]) == {f"deliver: {place}" for place in places}
    assert set(ran.report["faults"]["by_kind"]) == {
        "aiq ok_with_failure", "aiq poison", "crmcom ok_with_failure", "crmcom poison",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mutation", "finding"),
    [("step-1-not-committed", "unnoted"), ("marked-before-the-answer", "lost"), ("body-not-read", "lost")],
)
def test_a_campaign_fails_with_a_deliberate_bug(tmp_path: Path, mutation: str, finding: str) -> None:
    ran = _straight(tmp_path, "--mutation", mutation)
    assert ran.code != 0
    assert ran.report["sound"] is False
    assert ran.report["counts"][finding] > 0, ran.said
    assert (
        f"--seed 3 --minutes 0.0 --receipts 60 --customers 40 --stock 30 --only aiq --only crmcom --mutation {mutation}"
        in ran.said
    )
