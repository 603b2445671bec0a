"""The ledger: what became of every record, also when a run dies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.state import (
    Attempt,
    BatchEnd,
    Doubt,
    Ledger,
    PlanSize,
    Queue,
    RunCounts,
    Runs,
    Settlement,
    open_state,
    return_key,
)
from engage_pipelines.state.database import DELIVERY_BATCHES
from engage_pipelines.state.under_way import rows_now
from engage_pipelines.warehouse import Warehouse, publish
from engage_pipelines_tests.ledger_rows import known_all, mirrored

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
AIQ = ("aiq", "sales")
SIZE = PlanSize(7, {"GBP": Decimal("10.50")}, 2)


@pytest.fixture
def ledger(engine: sa.Engine) -> Ledger:
    return Ledger(engine)


@pytest.fixture
def runs(engine: sa.Engine) -> Runs:
    return Runs(engine)


def begin(ledger: Ledger, *keys: str, batch: str = "b1", hashed: str = "h1", minutes: int = 0) -> Attempt:
    rows = [(key, hashed) for key in keys]
    return ledger.begin(*AIQ, batch, "run", rows, NIGHT + timedelta(minutes=minutes))


def settle(ledger: Ledger, state: str, attempt: Attempt, **more: Any) -> None:
    outcomes = [Settlement(key, state, **more) for key, _ in attempt.rows]
    ledger.settle(attempt, outcomes, NIGHT + timedelta(minutes=1))


def row(engine: sa.Engine, key: str = "k1") -> dict[str, Any]:
    """A record's row as it is this moment."""
    with engine.connect() as connection:
        ledger = rows_now(connection)
        return dict(connection.execute(sa.select(ledger).where(ledger.c.record_key == key)).mappings().one())


def known(ledger: Ledger) -> dict[str, tuple[str, str, str | None]]:
    return {
        r["record_key"]: (r["state"], r["payload_hash"], r["delivered_hash"])
        for r in known_all(ledger, *AIQ).to_pylist()
    }


def test_a_record_is_noted_as_sending_before_the_call(ledger: Ledger, engine: sa.Engine) -> None:
    begin(ledger, "k1")
    found = row(engine)
    assert (found["state"], found["payload_hash"], found["delivered_hash"]) == ("sending", "h1", None)
    assert (found["batch_id"], found["run_id"], found["attempt_count"]) == ("b1", "run", 1)
    assert found["first_attempt_at"] == found["last_attempt_at"] == NIGHT
    assert found["settled_at"] is None


@pytest.mark.parametrize(
    ("state", "held"),
    [("delivered", "h1"), ("accepted", "h1"), ("rejected", None), ("pending", None), ("in_doubt", None)],
)
def test_only_what_arrived_is_held(ledger: Ledger, state: str, held: str | None) -> None:
    settle(ledger, state, begin(ledger, "k1"))
    assert known(ledger) == {"k1": (state, "h1", held)}
    assert ledger.held_keys(*AIQ) == (["k1"] if held else [])


def test_a_later_failure_does_not_forget_what_the_platform_holds(ledger: Ledger) -> None:
    settle(ledger, "delivered", begin(ledger, "k1"), vendor_id="v1")
    for state in ("rejected", "pending", "in_doubt"):
        attempt = begin(ledger, "k1", hashed="h2")
        assert known(ledger)["k1"] == ("sending", "h2", "h1")
        settle(ledger, state, attempt)
        assert known(ledger)["k1"] == (state, "h2", "h1")
    settle(ledger, "delivered", begin(ledger, "k1", hashed="h3"))
    assert known(ledger)["k1"] == ("delivered", "h3", "h3")


def test_attempts_are_counted_and_the_last_reason_does_not_stay(ledger: Ledger, engine: sa.Engine) -> None:
    settle(ledger, "rejected", begin(ledger, "k1"), reason="no", vendor_code="E1", vendor_id="v1")
    assert (row(engine)["reason"], row(engine)["vendor_code"]) == ("no", "E1")
    attempt = begin(ledger, "k1", batch="b2", minutes=10)
    found = row(engine)
    assert (found["attempt_count"], found["batch_id"], found["reason"], found["vendor_code"]) == (2, "b2", None, None)
    settle(ledger, "delivered", attempt)
    ended = row(engine)
    for moment in (found, ended):
        assert (moment["first_attempt_at"], moment["last_attempt_at"]) == (NIGHT, NIGHT + timedelta(minutes=10))
    assert (ended["attempt_count"], ended["batch_id"], ended["reason"], ended["vendor_code"]) == (2, "b2", None, None)
    assert (ended["vendor_id"], ended["settled_at"]) == ("v1", NIGHT + timedelta(minutes=1))


def test_a_note_without_a_call_is_no_attempt(ledger: Ledger, engine: sa.Engine) -> None:
    ledger.note(*AIQ, [("k1", "rejected", "h1", "too much money" * 100)], NIGHT)
    found = row(engine)
    assert (found["state"], found["attempt_count"], found["first_attempt_at"]) == ("rejected", 0, None)
    assert len(found["reason"]) == 400
    attempt = begin(ledger, "k1", minutes=3)
    assert (row(engine)["attempt_count"], row(engine)["first_attempt_at"]) == (1, NIGHT + timedelta(minutes=3))
    settle(ledger, "delivered", attempt)
    ledger.note(*AIQ, [("k1", "diverged", "h2", "changed")], NIGHT)
    assert known(ledger)["k1"] == ("diverged", "h2", "h1")
    assert row(engine)["attempt_count"] == 1


def test_overlong_words_of_a_vendor_are_cut(ledger: Ledger, engine: sa.Engine) -> None:
    settle(ledger, "rejected", begin(ledger, "k1"), reason="r" * 500, vendor_code="c" * 100, vendor_id="i" * 200)
    found = row(engine)
    assert (len(found["reason"]), len(found["vendor_code"]), len(found["vendor_id"])) == (400, 64, 128)


def test_what_a_dead_run_left_is_in_doubt_and_what_it_settled_is_not(ledger: Ledger) -> None:
    settle(ledger, "delivered", begin(ledger, "k1"))
    begin(ledger, "k2", "k3", batch="b2")
    ledger.begin("voyado", "sales", "b", "run", [("k9", "h")], NIGHT)
    for _ in range(2):
        found = sorted(ledger.find_in_doubt(*AIQ), key=lambda doubt: doubt.record_key)
        assert found == [Doubt("k2", "h1", "run"), Doubt("k3", "h1", "run")]
    assert known(ledger)["k2"] == ("in_doubt", "h1", None)
    assert ledger.states() == {
        ("aiq", "sales", "delivered"): 1, ("aiq", "sales", "in_doubt"): 2, ("voyado", "sales", "sending"): 1,
    }  # fmt: skip
    assert ledger.states("voyado", "sales") == {("voyado", "sales", "sending"): 1}


def test_nothing_to_note_is_no_work(ledger: Ledger) -> None:
    ledger.settle(ledger.begin(*AIQ, "b", "run", [], NIGHT), [], NIGHT)
    ledger.settle_doubts(*AIQ, [], NIGHT)
    ledger.note(*AIQ, [], NIGHT)
    assert known(ledger) == {}
    assert ledger.find_in_doubt(*AIQ) == []


def test_a_run_is_noted_at_its_beginning_and_counted_at_its_end(runs: Runs) -> None:
    runs.open("r1", *AIQ, SIZE, NIGHT)
    (opened,) = runs.since(NIGHT)
    assert (opened["run_id"], opened["ended_at"], opened["skipped"]) == ("r1", None, {})
    counts = RunCounts(source_record_count=5, delivered_count=2, skipped_count=3, call_count=1, skipped={"voided": 3})
    runs.close("r1", counts, NIGHT + timedelta(minutes=2))
    runs.open("r2", *AIQ, SIZE, NIGHT + timedelta(days=1))
    closed, _ = runs.since(NIGHT)
    assert (closed["delivered_count"], closed["skipped"], closed["call_count"]) == (2, {"voided": 3}, 1)
    assert [run["run_id"] for run in runs.since(NIGHT + timedelta(hours=1))] == ["r2"]


@pytest.mark.parametrize("filled", [True, False])
def test_the_mirror_has_the_columns_and_types_of_the_model(ledger: Ledger, runs: Runs, filled: bool) -> None:
    if filled:
        settle(ledger, "delivered", begin(ledger, "k1"))
        begin(ledger, "k2", batch="b2")
        runs.open("r1", *AIQ, SIZE, NIGHT)
    for name, rows in mirrored(ledger).items():
        declared = TABLE_BY_NAME[name].arrow_schema()
        assert rows.schema.names == declared.names
        assert rows.schema.types == declared.types
        assert rows.num_rows == (0 if not filled else 1 if name == "ops.delivery_runs" else 2)


def test_the_mirror_can_be_published(ledger: Ledger, runs: Runs, tmp_path: Path) -> None:
    settle(ledger, "delivered", begin(ledger, "k1"))
    runs.open("r1", *AIQ, SIZE, NIGHT)
    runs.close("r1", RunCounts(skipped={"voided": 2}), NIGHT)
    warehouse = Warehouse(tmp_path / "warehouse")
    published = publish(warehouse, ledger.mirror())
    names = ("ops.deliveries", "ops.delivery_runs", "ops.delivery_batches")
    assert [published.rows[name] for name in names] == [1, 1, 1]
    with warehouse.connection() as connection:
        found = connection.execute("select skipped ->> 'voided', started_at from ops.delivery_runs").fetchall()
    assert found == [("2", NIGHT)]


def test_ten_thousand_records_go_through_all_steps(ledger: Ledger) -> None:
    keys = [f"acme:{n:05}" for n in range(10_000)]
    for batch in range(10):
        settle(ledger, "delivered", begin(ledger, *keys[batch * 1000 : batch * 1000 + 1000], batch=f"b{batch}"))
    assert ledger.states() == {("aiq", "sales", "delivered"): 10_000}
    assert known_all(ledger, *AIQ).num_rows == 10_000
    assert pa.compute.count_distinct(mirrored(ledger)["ops.deliveries"]["record_key"]).as_py() == 10_000


def test_a_batch_of_one_outcome_for_all_settles_its_own_records_only(ledger: Ledger, engine: sa.Engine) -> None:
    attempt, other = begin(ledger, "k1", "k2"), begin(ledger, "k3", batch="b2")
    settle(ledger, "accepted", attempt, vendor_id="file-7")
    assert known(ledger) == {
        "k1": ("accepted", "h1", "h1"), "k2": ("accepted", "h1", "h1"), "k3": ("sending", "h1", None)
    }  # fmt: skip
    assert {row(engine, key)["vendor_id"] for key in ("k1", "k2")} == {"file-7"}
    settle(ledger, "rejected", other, reason="no", vendor_code="E1")
    assert (row(engine, "k3")["state"], row(engine, "k3")["vendor_code"]) == ("rejected", "E1")


def test_what_is_asked_for_comes_back_as_it_was_whatever_is_in_a_key(ledger: Ledger) -> None:
    strange = ['quote"', "back\\slash", "line\nbreak", "\u00e9\U0001f600", '["k1",', "null", ""]
    settle(ledger, "delivered", begin(ledger, *strange))
    settle(ledger, "rejected", begin(ledger, "refused", batch="b2"))
    rows = ledger.known(*AIQ, [*strange, "refused"]).to_pylist()
    found = {row["record_key"]: (row["state"], row["delivered_hash"], row["correction_count"]) for row in rows}
    assert found == {**dict.fromkeys(strange, ("delivered", "h1", 0)), "refused": ("rejected", None, 0)}


def test_some_records_can_be_asked_for_and_those_that_are_not_settled(ledger: Ledger) -> None:
    settle(ledger, "delivered", begin(ledger, *(f"k{n}" for n in range(2990))))
    settle(ledger, "rejected", begin(ledger, "k2999", batch="b2"))
    begin(ledger, *(f"k{n}" for n in range(2990, 2999)), batch="b3")
    wanted = [f"k{n}" for n in range(2000, 4000)]
    # Of those that were never there before, only that they are under way is known.
    assert sorted(ledger.known(*AIQ, wanted)["record_key"].to_pylist()) == [*wanted[:990], "k2999"]
    assert ledger.known(*AIQ, []).num_rows == 0
    unsettled = ledger.special(*AIQ)
    assert unsettled.num_rows == 10
    assert set(unsettled["state"].to_pylist()) == {"sending", "rejected"}


def test_a_batch_is_noted_with_its_step_and_its_end(ledger: Ledger, engine: sa.Engine) -> None:
    attempt = begin(ledger, "k1", "k2")
    end = BatchEnd(3, "POST sales", 200, "req-1", "one was refused")
    outcomes = [Settlement("k1", "delivered"), Settlement("k2", "rejected", "no")]
    ledger.settle(attempt, outcomes, NIGHT + timedelta(minutes=1), end)
    with engine.connect() as connection:
        (batch,) = connection.execute(sa.select(DELIVERY_BATCHES)).mappings().all()
    assert (batch["record_count"], batch["started_at"], batch["ended_at"]) == (2, NIGHT, NIGHT + timedelta(minutes=1))
    assert (batch["call_count"], batch["route"], batch["status"], batch["request_id"]) == (
        3,
        "POST sales",
        200,
        "req-1",
    )
    assert (batch["outcomes"], batch["answer"]) == ('{"delivered": 1, "rejected": 1}', "one was refused")
    assert row(engine)["delivered_batch_id"] == "b1"
    # The same records in the same form, in another run: another row.
    ledger.begin(*AIQ, "b1", "run 2", [("k1", "h1")], NIGHT)
    assert mirrored(ledger)["ops.delivery_batches"].num_rows == 2


def test_what_a_return_has_taken_back_is_held_no_more_and_goes_out_anew(ledger: Ledger, engine: sa.Engine) -> None:
    keys = [f"k{n}" for n in range(600)]
    settle(ledger, "accepted", begin(ledger, *keys))
    returns = [return_key(key, 0) for key in keys]
    settle(ledger, "accepted", begin(ledger, *returns, batch="b2"))
    assert ledger.states() == {("aiq", "sales", "pending"): 600, ("aiq", "sales", "accepted"): 600}
    assert (row(engine)["delivered_hash"], row(engine)["correction_count"]) == (None, 1)
    assert sorted(ledger.held_keys(*AIQ)) == sorted(returns)


def test_an_attempt_without_an_outcome_for_each_record_is_refused_and_stays_open(ledger: Ledger) -> None:
    attempt = begin(ledger, "k1", "k2")
    with pytest.raises(ValueError, match="1 outcomes for 2 records of batch b1"):
        ledger.settle(attempt, [Settlement("k1", "delivered")], NIGHT)
    assert [doubt.record_key for doubt in ledger.find_in_doubt(*AIQ)] == ["k1", "k2"]


def test_what_is_under_way_is_seen_by_all_who_look_and_changes_no_row_before_its_end(
    ledger: Ledger, engine: sa.Engine
) -> None:
    settle(ledger, "delivered", begin(ledger, "k1", "k2"))
    attempt = begin(ledger, "k1", "k3", batch="b2", hashed="h2", minutes=5)
    assert ledger.states() == {("aiq", "sales", "sending"): 2, ("aiq", "sales", "delivered"): 1}
    assert sorted(ledger.special(*AIQ).to_pylist(), key=lambda row: row["record_key"]) == [
        {"record_key": "k1", "state": "sending", "payload_hash": "h2", "delivered_hash": "h1", "correction_count": 0},
        {"record_key": "k3", "state": "sending", "payload_hash": "h2", "delivered_hash": None, "correction_count": 0},
    ]
    assert [found["state"] for key in ("k1", "k2", "k3") for found in Queue(engine).attempts(key)] == [
        "sending", "delivered", "sending"
    ]  # fmt: skip
    assert {found["state"] for found in ledger.known(*AIQ, ["k1", "k2", "k3"]).to_pylist()} == {"delivered"}
    settle(ledger, "pending", attempt)
    assert known(ledger) == {
        "k1": ("pending", "h2", "h1"), "k2": ("delivered", "h1", "h1"), "k3": ("pending", "h2", None)
    }  # fmt: skip


def test_a_large_stream_is_read_whole_whatever_else_is_there(ledger: Ledger) -> None:
    settle(ledger, "delivered", begin(ledger, *(f"k{n}" for n in range(90))))
    other = ledger.begin("voyado", "receipts", "b", "run", [(f"k{n}", "h9") for n in range(910)], NIGHT)
    ledger.settle(other, [Settlement(key, "accepted") for key, _ in other.rows], NIGHT)
    for stream, count, hashed in ((AIQ, 90, "h1"), (("voyado", "receipts"), 910, "h9"), (("aiq", "none"), 0, None)):
        with ledger.held(*stream) as rows:
            found = rows.read_all()
        assert (found.num_rows, set(found["delivered_hash"].to_pylist())) == (count, {hashed} if hashed else set())
        assert sorted(found["record_key"].to_pylist()) == sorted(f"k{n}" for n in range(count))


def test_rows_that_an_older_release_wrote_before_a_call_are_in_doubt(ledger: Ledger, engine: sa.Engine) -> None:
    settle(ledger, "pending", begin(ledger, "k1"))
    with engine.begin() as connection:
        connection.execute(sa.text("update deliveries set state = 'sending'"))
    assert ledger.find_in_doubt(*AIQ) == [Doubt("k1", "h1", "run")]


def test_an_older_form_that_had_to_go_again_leaves_the_record_diverged(ledger: Ledger) -> None:
    attempt = begin(ledger, "k1", "k2")
    outcomes = [Settlement("k1", "accepted", changed_to="h2"), Settlement("k2", "pending", changed_to="h2")]
    ledger.settle(attempt, outcomes, NIGHT)
    assert known(ledger) == {"k1": ("diverged", "h2", "h1"), "k2": ("pending", "h1", None)}


def test_a_database_of_an_older_release_gains_what_is_new(state_url: str) -> None:
    engine = open_state(state_url)
    with engine.begin() as connection:
        connection.execute(sa.text("drop index deliveries_special"))
        for name in ("correction_count", "delivered_at"):
            connection.execute(sa.text(f"alter table deliveries drop column {name}"))
        begin_values = "('aiq', 'sales', 'k1', 'delivered', 'h1', 1)"
        names = "(destination, stream, record_key, state, payload_hash, attempt_count)"
        connection.execute(sa.text(f"insert into deliveries {names} values {begin_values}"))
    engine.dispose()
    engine = open_state(state_url)
    assert row(engine)["correction_count"] == 0
    assert Ledger(engine).special(*AIQ).num_rows == 0
    assert "deliveries_special" in {index["name"] for index in sa.inspect(engine).get_indexes("deliveries")}
    engine.dispose()


def test_two_ledgers_on_one_database_see_each_other_at_once(ledger: Ledger, state_url: str) -> None:
    other_engine = open_state(state_url)
    begin(ledger, "k1")
    assert known(Ledger(other_engine)) == {"k1": ("sending", "h1", None)}
    other_engine.dispose()
