"""The runs of a stream: what they planned, what they did, and which of them count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from engage_pipelines.state import PlanSize, RunCounts, Runs

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
AIQ = ("aiq", "sales")


@pytest.fixture
def runs(engine: sa.Engine) -> Runs:
    return Runs(engine)


def run(runs: Runs, name: str, day: int, size: PlanSize, counts: RunCounts | None) -> None:
    """A run that began on a day; one without counts never ended."""
    began = NIGHT + timedelta(days=day)
    runs.open(name, *AIQ, size, began)
    if counts is not None:
        runs.close(name, counts, began + timedelta(minutes=5))


def test_a_run_tells_what_it_planned_and_what_it_did(runs: Runs) -> None:
    size = PlanSize(5, {"GBP": Decimal("12.3400"), "EUR": Decimal("-1.00")}, days=2)
    run(runs, "r1", 0, size, RunCounts(source_record_count=7, accepted_count=5, skipped_count=2, skipped={"open": 2}))
    (row,) = runs.since(NIGHT)
    assert (row["planned_count"], row["day_count"], row["accepted_count"]) == (5, 2, 5)
    assert row["skipped"] == {"open": 2}
    assert runs.last_good_size(*AIQ) == size
    assert runs.since(NIGHT + timedelta(seconds=1)) == []


def test_a_run_that_died_did_nothing_and_ended_never(runs: Runs) -> None:
    run(runs, "r1", 0, PlanSize(5), None)
    (row,) = runs.since(NIGHT)
    assert (row["ended_at"], row["skipped"]) == (None, {})
    assert runs.last_good_size(*AIQ) is None
    assert runs.last_whole_start(*AIQ) is None
    assert runs.first_start(*AIQ) == NIGHT


def test_only_a_run_that_brought_something_there_tells_what_is_usual(runs: Runs) -> None:
    run(runs, "good", 0, PlanSize(100, days=3), RunCounts(delivered_count=100))
    run(runs, "nothing-new", 1, PlanSize(0), RunCounts(unchanged_count=100))
    run(runs, "platform-down", 2, PlanSize(900), RunCounts(pending_count=900))
    run(runs, "died", 3, PlanSize(5000), None)
    assert runs.last_good_size(*AIQ) == PlanSize(100, {}, 3)
    assert runs.last_good_size("aiq", "personas") is None


def test_a_run_that_left_something_behind_is_not_a_whole_one(runs: Runs) -> None:
    run(runs, "whole", 0, PlanSize(5), RunCounts(accepted_count=5))
    run(runs, "left-two", 1, PlanSize(5), RunCounts(accepted_count=3, pending_count=2))
    run(runs, "died", 2, PlanSize(5), None)
    assert runs.last_whole_start(*AIQ) == NIGHT
    run(runs, "empty", 3, PlanSize(0), RunCounts())
    assert runs.last_whole_start(*AIQ) == NIGHT + timedelta(days=3)
    assert runs.first_start(*AIQ) == NIGHT
    assert (runs.first_start("crmcom", "products"), runs.last_whole_start("crmcom", "products")) == (None, None)
