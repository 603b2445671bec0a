"""What waits for a person: nothing is dropped by age or count, and a decision is remembered."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from engage_pipelines.state import BatchEnd, Ledger, Queue, Settlement, Waiting

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
MORNING = NIGHT + timedelta(hours=6)
AIQ = ("aiq", "sales")


@pytest.fixture
def ledger(engine: sa.Engine) -> Ledger:
    return Ledger(engine)


@pytest.fixture
def queue(engine: sa.Engine) -> Queue:
    return Queue(engine)


def settle(ledger: Ledger, state: str, *keys: str, minutes: int = 0, hashed: str = "h1", **more: Any) -> None:
    now = NIGHT + timedelta(minutes=minutes)
    attempt = ledger.begin(*AIQ, f"b-{hashed}-{minutes}", "run", [(key, hashed) for key in keys], now)
    end = BatchEnd(1, "POST sales", 400 if state == "rejected" else 200)
    ledger.settle(attempt, [Settlement(key, state, **more) for key in keys], now, end)


def one(queue: Queue, state: str, key: str) -> Waiting:
    (found,) = queue.waiting(state, *AIQ, keys=[key])
    return found


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_the_oldest_waits_in_front_also_if_no_call_was_made_for_it(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "rejected", "late", minutes=20)
    ledger.note(*AIQ, [("by-rule", "rejected", "h", "too much money")], NIGHT + timedelta(minutes=10))
    settle(ledger, "rejected", "early", minutes=5)
    assert [w.record_key for w in queue.waiting("rejected")] == ["early", "by-rule", "late"]
    assert (one(queue, "rejected", "by-rule").attempt_count, one(queue, "rejected", "late").attempt_count) == (0, 1)


def test_what_waits_is_narrowed_by_platform_stream_key_and_code(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "rejected", "k1", reason="no", vendor_code="E1")
    settle(ledger, "rejected", "k2", reason="no", vendor_code="E2")
    settle(ledger, "delivered", "k3")
    ledger.note("voyado", "receipts", [("k1", "rejected", "h", "no rate")], NIGHT)
    assert len(queue.waiting("rejected")) == 3
    assert [w.record_key for w in queue.waiting("rejected", "aiq")] == ["k1", "k2"]
    assert [w.record_key for w in queue.waiting("rejected", *AIQ, vendor_code="E2")] == ["k2"]
    assert queue.waiting("rejected", *AIQ, keys=["k3"]) == []
    assert queue.keys_in(("rejected", "discarded"), *AIQ, keys=["k2", "k9"]) == ["k2"]
    assert queue.keys_in(("rejected",), *AIQ, vendor_code="E1") == ["k1"]


def test_piles_are_counted_by_reason_and_the_largest_comes_first(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "rejected", "k1", reason="no store", vendor_code="E1")
    settle(ledger, "rejected", "k2", "k3", reason="no customer", vendor_code="E2")
    piles = queue.piles(("rejected",))
    assert [(p.stream, p.vendor_code, p.reason, p.records) for p in piles] == [
        ("sales", "E2", "no customer", 2), ("sales", "E1", "no store", 1),
    ]  # fmt: skip


def test_a_payload_is_kept_as_long_as_its_record_is_refused_or_put_aside(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "rejected", "k1", "k2", "k3", hashed="h1")
    queue.keep(*AIQ, [(key, "h1", f'{{"id":"{key}"}}') for key in ("k1", "k2", "k3")])
    assert one(queue, "rejected", "k1").payload == '{"id":"k1"}'
    queue.decide(*AIQ, ["k2"], was=["rejected"], state="discarded", reason="d", now=MORNING)
    settle(ledger, "delivered", "k3", hashed="h1", minutes=5)
    queue.sweep(*AIQ)
    assert one(queue, "rejected", "k1").payload is not None
    assert one(queue, "discarded", "k2").payload is not None
    ledger.note(*AIQ, [("k3", "rejected", "h1", "again")], MORNING)
    assert one(queue, "rejected", "k3").payload is None


def test_a_payload_of_an_older_form_is_not_shown_for_a_newer_one(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "rejected", "k1", hashed="h1")
    queue.keep(*AIQ, [("k1", "h1", "{}")])
    ledger.note(*AIQ, [("k1", "rejected", "h2", "by rule")], MORNING)
    assert one(queue, "rejected", "k1").payload is None
    queue.keep(*AIQ, [("k1", "h2", '{"new":1}')])
    assert one(queue, "rejected", "k1").payload == '{"new":1}'


def test_a_fix_of_a_fix_stands_in_for_what_the_source_gives(queue: Queue) -> None:
    queue.fix(*AIQ, "k1", instead_of="source", payload='{"a":1}', now=NIGHT)
    queue.fix(*AIQ, "k1", instead_of=md5('{"a":1}'), payload='{"a":2}', now=MORNING)
    assert queue.fixes(*AIQ).to_pylist() == [{"record_key": "k1", "instead_of": "source", "payload": '{"a":2}'}]
    # The source has changed since: the new fix is for what it gives now.
    queue.fix(*AIQ, "k1", instead_of="changed", payload='{"a":3}', now=MORNING)
    assert queue.fixes(*AIQ).to_pylist() == [{"record_key": "k1", "instead_of": "changed", "payload": '{"a":3}'}]
    assert queue.fixes("voyado", "receipts").num_rows == 0


def test_a_decision_moves_only_what_is_in_that_state_and_keeps_the_reason_before(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "rejected", "k1", reason="no store", vendor_code="E1")
    settle(ledger, "delivered", "k2")
    moved = queue.decide(*AIQ, ["k1", "k2"], was=["rejected"], state="discarded", reason="discarded: old", now=MORNING)
    assert moved == 1
    found = one(queue, "discarded", "k1")
    assert (found.reason, found.vendor_code) == ("discarded: old (was: no store)", "E1")
    assert (found.settled_at, found.last_attempt_at) == (MORNING, NIGHT)
    assert ledger.states() == {(*AIQ, "delivered"): 1, (*AIQ, "discarded"): 1}


def test_reasons_do_not_grow_beyond_their_column(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "rejected", "k1", reason="x" * 400)
    for _ in range(3):
        queue.decide(*AIQ, ["k1"], was=["rejected"], state="rejected", reason="y" * 300, now=MORNING)
    assert len(one(queue, "rejected", "k1").reason or "") == 400


def test_what_a_person_calls_delivered_is_held_as_it_was_sent(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "delivered", "k1", hashed="h1")
    settle(ledger, "in_doubt", "k1", hashed="h2", minutes=9)
    assert one(queue, "in_doubt", "k1").delivered_hash == "h1"
    queue.decide(*AIQ, ["k1"], was=["in_doubt"], state="delivered", reason="seen there", now=MORNING)
    (row,) = queue.attempts("k1")
    assert (row["state"], row["delivered_hash"], row["delivered_batch_id"]) == ("delivered", "h2", "b-h2-9")
    assert row["delivered_at"] == NIGHT + timedelta(minutes=9)


def test_what_a_person_does_not_find_is_not_held(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "in_doubt", "k1")
    queue.decide(*AIQ, ["k1"], was=["in_doubt"], state="pending", reason="not there", now=MORNING)
    assert [(r["state"], r["delivered_hash"]) for r in queue.attempts("k1")] == [("pending", None)]


def test_a_record_tells_its_last_batch_and_the_one_that_arrived(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "delivered", "k1", hashed="h1")
    settle(ledger, "rejected", "k1", hashed="h2", minutes=9, reason="no")
    (row,) = queue.attempts("k1")
    assert (row["state"], row["batch_id"], row["delivered_batch_id"]) == ("rejected", "b-h2-9", "b-h1-0")
    assert [(b["batch_id"], b["route"], b["status"]) for b in row["batches"]] == [
        ("b-h1-0", "POST sales", 200), ("b-h2-9", "POST sales", 400),
    ]  # fmt: skip


def test_a_record_is_told_from_others_whose_key_begins_or_sounds_like_it(ledger: Ledger, queue: Queue) -> None:
    settle(ledger, "delivered", "s:a", "s:A", "s:a:return:1", "s:A:return:1", "s:a1", "s:%")
    assert [row["record_key"] for row in queue.attempts("s:a")] == ["s:a", "s:a:return:1"]
    assert queue.attempts("s:b") == []
    assert [row["record_key"] for row in queue.attempts("s:%")] == ["s:%"]


def test_thousands_of_named_records_are_found_and_decided(ledger: Ledger, queue: Queue) -> None:
    keys = [f"k{n:05}" for n in range(2_100)]
    settle(ledger, "rejected", *keys)
    assert queue.keys_in(("rejected",), *AIQ, keys=keys) == keys
    assert len(queue.waiting("rejected", *AIQ, keys=keys)) == len(keys)
    assert queue.decide(*AIQ, keys, was=["rejected"], state="pending", reason="again", now=MORNING) == len(keys)
    assert queue.waiting("rejected") == []
