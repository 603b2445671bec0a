"""The guard lets the product through and stops a slower, hungrier or chattier one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import guard
from benchmarks.contenders import OURS, PULLERS, Puller, PullTask

SOUND = {name: bound.most for name, bound in guard.BOUNDS.items()}


def test_figures_at_their_bounds_pass() -> None:
    assert guard.above(SOUND) == []
    assert "ABOVE" not in guard.told(SOUND)


@pytest.mark.parametrize("name", guard.BOUNDS)
def test_each_figure_above_its_bound_is_told(name: str) -> None:
    worse = {**SOUND, name: guard.BOUNDS[name].most * 1.01 + 0.01}
    assert guard.above(worse) == [name]
    (line,) = [line for line in guard.told(worse).splitlines() if line.startswith("ABOVE")]
    assert guard.BOUNDS[name].meaning in line


def test_a_figure_that_is_no_number_does_not_pass() -> None:
    assert guard.above({**SOUND, "pull": float("nan")}) == ["pull"]


def test_a_pull_at_three_times_its_processor_time_does_not_pass(tmp_path: Path) -> None:
    def command(task: PullTask) -> list[str]:
        folder = str(task.folder / "installation")
        return [OURS, "-m", "engage_pipelines_tests.benchmarks.slowed_pull", task.url, folder, *task.days]

    slowed = Puller("ours", command, PULLERS["engage_pipelines"].database)
    figure = guard.against_bare(tmp_path, guard.pulls(tmp_path, slowed, rounds=1))
    assert guard.above({"pull": figure}) == ["pull"]
