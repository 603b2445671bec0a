"""Page, targets and the README's table say what the rows say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import MEASURES
from benchmarks.measures import pull
from benchmarks.plan import Plan
from benchmarks.tables import target
from engage_pipelines_tests.benchmarks.made_up import failed, pulled

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
VERSIONS = {"product": {"duckdb": "9.9"}}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(rounds=1, data=tmp_path)


def test_a_target_that_is_met_says_so_and_one_that_is_missed_says_why_not() -> None:
    assert target("speed", ">= 2x", "3x", is_met=True, reason="never seen") == ["speed", ">= 2x", "3x", "yes", ""]
    assert target("speed", ">= 2x", "1x", is_met=False, reason="too old") == [
        "speed",
        ">= 2x",
        "1x",
        "**no**",
        "too old",
    ]


def test_a_pull_is_judged_against_the_tuned_peer_and_the_bare_script_of_the_same_run() -> None:
    rows = [pulled("engage_pipelines", 60_000), pulled("dlt, tuned", 4_000), pulled("bare script", 100_000)]
    lines = pull.targets(rows)
    assert [(line[2], line[3]) for line in lines] == [("15.00x", "yes"), ("0.60x", "**no**"), ("300 MB", "yes")]
    assert lines[1][4]


def test_memory_that_grows_with_the_orders_misses_its_target() -> None:
    rows = [pulled("engage_pipelines", 1.0), pulled("engage_pipelines", 1.0, rows=10_000, peak_mb=360.0)]
    assert [line[1:4] for line in pull.targets(rows)][-1] == ["<= 1.1x", "1.20x", "**no**"]


def test_memory_is_judged_at_the_latency_that_needs_most() -> None:
    rows = [pulled("engage_pipelines", 1.0), pulled("engage_pipelines", 1.0, latency_ms=150.0, peak_mb=401.0)]
    assert [line[1:4] for line in pull.targets(rows)] == [["<= 400 MB", "401 MB", "**no**"]]


def test_every_measure_has_a_page_and_targets_before_anything_was_measured() -> None:
    for measure in MEASURES.values():
        assert measure.targets([]) == []
    assert "## Targets" in report.page({}, MEASURES)


def test_a_measure_replaces_its_own_rows_and_keeps_the_others(tmp_path: Path, plan: Plan) -> None:
    report.keep(tmp_path, "pull", [pulled("dlt, tuned", 1.0)], VERSIONS, plan)
    report.keep(tmp_path, "as-installed", [pulled("dlt, as installed", 7.0)], VERSIONS, plan)
    report.keep(tmp_path, "pull", [pulled("dlt, tuned", 2.0)], VERSIONS, plan)
    measures = json.loads((tmp_path / "latest.json").read_text())["measures"]
    assert measures["pull"]["rows"][0]["rows_per_second"] == 2.0
    assert measures["as-installed"]["rows"][0]["rows_per_second"] == 7.0


def test_the_page_tells_versions_failures_lost_rows_and_how_often_was_measured(tmp_path: Path, plan: Plan) -> None:
    lost = {"is_complete": False, "orders": {"held": 999, "expected": 1000, "is_same": False}}
    rows = [pulled("engage_pipelines", 5000), pulled("dlt, tuned", 1000, completeness=lost), failed("bare script")]
    report.keep(tmp_path, "pull", rows, VERSIONS, plan)
    report.write_page(tmp_path, MEASURES)
    page = (tmp_path / "latest.md").read_text()
    assert "duckdb 9.9" in page
    assert "bare script did not end: `ended with 1: MemoryError`" in page
    assert "**no**: orders 999 of 1,000" in page
    assert "median of 3 rounds, load of the machine before 0.5 to 0.5" in page
    assert "engage_pipelines" in (tmp_path / "chart.svg").read_text()


def test_the_readme_gets_the_tuned_peer_and_one_that_failed_and_keeps_its_other_text(
    tmp_path: Path, plan: Plan
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{report.BEGIN}\n\nold table\n\n{report.END}\n\nThe end.\n")
    rows = [pulled("engage_pipelines", 5000), pulled("dlt, tuned", 1000), failed("bare script")]
    report.keep(tmp_path, "pull", rows, VERSIONS, plan)
    report.write_readme(readme, tmp_path, MEASURES)
    text = readme.read_text()
    assert text.startswith("# Title\n\n<!--")
    assert text.endswith(f"{report.END}\n\nThe end.\n")
    assert "old table" not in text
    assert "| dlt, tuned | 1,000 orders/s, 300 MB | 5x |" in text
    assert "| bare script | did not end |" in text
    assert (
        "1 of 2 targets are met; missed: pull 1,000 orders, no latency, against dlt, tuned (5.00x, wanted >= 12x)"
        in text
    )


def test_a_readme_without_a_place_for_the_table_is_told(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{report.BEGIN}\n")
    with pytest.raises(SystemExit, match="no place for the table"):
        report.write_readme(readme, tmp_path, MEASURES)


def test_readme_and_page_are_what_the_last_results_say() -> None:
    """Whoever changes how results are told runs `python -m benchmarks --page`."""
    results = json.loads((RESULTS / "latest.json").read_text())
    assert report.summary(results, MEASURES) in (ROOT / "README.md").read_text()
    assert report.page(results, MEASURES) == (RESULTS / "latest.md").read_text()


def test_no_quick_run_is_among_the_results() -> None:
    measures = json.loads((RESULTS / "latest.json").read_text())["measures"]
    assert [name for name, measured in measures.items() if measured.get("is_quick")] == []
