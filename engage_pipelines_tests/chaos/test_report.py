"""The campaign's account: what makes it unsound, and what a person is told."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from engage_pipelines_tests.chaos.report import KINDS, Report


def _shown(report: Report) -> str:
    out = StringIO()
    report.show(Console(file=out, width=200), Path("report.json"))
    return out.getvalue()


def test_a_report_without_findings_is_sound_and_counts_every_kind() -> None:
    report = Report(seed=5, minutes=1.0)
    assert report.is_sound
    assert report.counts == dict.fromkeys(KINDS, 0)
    assert "Nothing lost, nothing doubled, nothing wrong" in _shown(report)


def test_the_same_finding_counts_once_and_tells_how_to_see_it_again(tmp_path: Path) -> None:
    report = Report(seed=5, minutes=0.5, again="make chaos SEED=5 MINUTES=0.5")
    for _ in range(2):
        report.find("lost", "aiq/sales", "square:O1", "accepted by the ledger, and not at the platform")
    report.kills["deliver: call under way"] += 3
    assert not report.is_sound
    assert report.counts["lost"] == 1
    shown = _shown(report)
    assert "lost: aiq/sales square:O1: accepted by the ledger, and not at the platform" in shown
    assert "See it again: make chaos SEED=5 MINUTES=0.5" in shown
    report.write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["kills"] == {"total": 3, "by_place": {"deliver: call under way": 3}}
    assert [finding["kind"] for finding in written["findings"]] == ["lost"]
