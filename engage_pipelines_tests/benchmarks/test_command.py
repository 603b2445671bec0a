"""`python -m benchmarks`: one cheap measure from end to end, and what its exit code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import MEASURES, main

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LATEST = BENCHMARKS / "results" / "latest.json"


def test_a_quick_run_writes_its_own_results_removes_what_it_made_and_leaves_the_last_ones_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = LATEST.read_bytes()
    code = main(["--quick", "--only", "limit", "--data", str(tmp_path / "data"), "--results", str(tmp_path / "told")])
    told = capsys.readouterr()
    measured = json.loads((tmp_path / "told" / "latest.json").read_text())["measures"]["limit"]
    assert code == 0
    assert measured["is_quick"]
    assert measured["rows"]
    assert all(row["completeness"]["is_complete"] for row in measured["rows"])
    assert "engage_pipelines, round 1 of 1: " in told.err
    assert "## Pull under a limit" in told.out
    assert list((tmp_path / "data").iterdir()) == []
    assert LATEST.read_bytes() == before


def test_the_list_names_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MEASURES)


def test_no_measure_is_left_out_of_the_list() -> None:
    files = {file.stem for file in (BENCHMARKS / "measures").glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in MEASURES} == files


def test_a_measure_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "everything"])
    assert "limit" in capsys.readouterr().err
