"""Refusals through the whole engine: what is isolated, what is kept, what it costs, and what is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, BatchLimits, Outcome
from engage_pipelines.errors import CredentialsError, RejectedError, RetryableError, UnknownOutcomeError
from engage_pipelines_tests.delivery.post_office import PostOffice, deliver_all
from engage_pipelines_tests.plain_till import NIGHT, order
from engage_pipelines_tests.scripted_vendor import HANG_UP, Script, scripted_vendor


@pytest.fixture
def office(tmp_path: Path) -> Iterator[PostOffice]:
    office = PostOffice(tmp_path)
    yield office
    office.close()


def refusing(poison: Collection[str]) -> Callable[[Any, Batch], list[Outcome]]:
    """A platform that refuses every batch with one of these in it, and does not say which."""

    def refuse(session: Any, batch: Batch) -> list[Outcome]:
        if set(poison) & set(batch.keys):
            raise RejectedError("club: POST receipts: refused with 400 E1", vendor_code="E1")
        return deliver_all(session, batch)

    return refuse


def post(session: Any, batch: Batch) -> list[Outcome]:
    """One call by HTTP; a 200 tells of each record."""
    body = b"[" + b",".join(batch.payloads) + b"]"
    answer = session.client.call("POST", "receipts", params={"key": "secret"}, content=body)
    states: dict[str, str] = answer.json(dict[str, str])
    return [Outcome("rejected", "no such store", "E7") if states.get(k) else Outcome("delivered") for k in batch.keys]


# --- a batch that is refused as a whole -----------------------------------------------------------


@pytest.mark.parametrize("bad", [(0,), (99,), (10, 90), (5, 33, 66, 97)])
def test_poison_is_isolated_within_a_known_number_of_calls_and_waits_with_its_payload(
    office: PostOffice, bad: tuple[int, ...]
) -> None:
    keys = office.fill(200)
    poison = {keys[n] for n in bad}
    result = office.run(office.stream(refusing(poison), limits=BatchLimits(items=100)))
    assert (result.delivered, result.rejected, result.is_balanced) == (200 - len(bad), len(bad), True)
    extra = len(office.sent) - result.minimal_calls
    assert extra <= len(bad) * (ceil(log2(100)) + 2) + 1
    waiting = {w.record_key: w for w in office.queue.waiting("rejected")}
    assert set(waiting) == poison
    for key, record in waiting.items():
        assert record.payload == f'{{"id":"{key}","total":10.0000}}'
        assert (record.vendor_code, record.reason) == ("E1", "club: POST receipts: refused with 400 E1")
    # Nobody who was taken was sent twice.
    accepted = [key for batch in office.sent if not poison & set(batch.keys) for key in batch.keys]
    assert sorted(accepted) == sorted(set(keys) - poison)


def test_what_was_refused_is_sent_again_only_once_it_has_changed_and_then_its_payload_is_forgotten(
    office: PostOffice,
) -> None:
    keys = office.fill(8)
    office.run(office.stream(refusing(keys[3:4])))
    assert (office.run(office.stream()).rejected, office.sent) == (1, [])
    office.till.load(order("O003", version=2, total=11))
    assert office.run(office.stream()).delivered == 1
    assert office.queue.waiting("rejected") == []
    assert _payloads_kept(office) == []


def test_refusals_of_single_records_cost_no_further_calls(office: PostOffice) -> None:
    def refuse_thirds(session: Any, batch: Batch) -> list[Outcome]:
        return [Outcome("rejected", "no such store", "E7") if int(k[-2:]) % 3 == 0 else Outcome("delivered")
                for k in batch.keys]  # fmt: skip

    office.fill(20)
    result = office.run(office.stream(refuse_thirds))
    assert (len(office.sent), result.delivered, result.rejected) == (2, 13, 7)
    assert len(_payloads_kept(office)) == 7


def test_what_our_own_rules_refuse_is_kept_too(office: PostOffice) -> None:
    office.till.load(order("BIG", total=5000))
    office.run(office.stream())
    (record,) = office.queue.waiting("rejected")
    assert (record.payload, record.reason) == ('{"id":"acme:BIG","total":5000.0000}', "too much money")


def test_a_refused_change_leaves_what_the_platform_holds_as_it_is(office: PostOffice) -> None:
    office.fill(1)
    office.run(office.stream())
    office.till.load(order("O000", version=2, total=11))
    office.run(office.stream(refusing(["acme:O000"])))
    (row,) = office.noted()
    assert (row["state"], row["delivered_hash"] is None) == ("rejected", False)
    office.till.load(order("O000", version=3, total=10))
    # Back to what the platform has: there is nothing to refuse any more.
    assert (office.run(office.stream()).unchanged, office.states()) == (1, {"acme:O000": "accepted"})


# --- a platform that takes nothing ----------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
def test_a_platform_that_refuses_the_first_hundred_and_takes_none_is_left_alone(
    office: PostOffice, whole: bool
) -> None:
    keys = office.fill(150)

    def refuse_each(session: Any, batch: Batch) -> list[Outcome]:
        return [Outcome("rejected", "your account is closed", "E9")] * len(batch.keys)

    stream = office.stream(refusing(keys) if whole else refuse_each)
    with pytest.raises(RejectedError, match="club/receipts: the first 100 records were all refused, so the rest waits"):
        office.run(stream)
    assert sorted(office.states()) == keys[:100]
    assert set(office.states().values()) == {"rejected"}
    (run,) = office.runs.since(NIGHT)
    assert (run["rejected_count"], run["pending_count"], run["source_record_count"]) == (100, 50, 150)
    assert len(_payloads_kept(office)) == 100
    # The cause is gone: the rest goes by itself, those that were refused once a person says so.
    result = office.run(office.stream())
    assert (office.sent_keys, result.delivered, result.rejected) == (keys[100:], 50, 100)
    again = office.queue.keys_in(("rejected",), "club", "receipts")
    office.queue.decide("club", "receipts", again, was=("rejected",), state="pending", reason="again", now=NIGHT)
    assert office.run(office.stream()).delivered == 100


def test_one_that_is_taken_tells_that_the_platform_is_well(office: PostOffice) -> None:
    keys = office.fill(150)
    result = office.run(office.stream(refusing(keys[:99] + keys[100:]), limits=BatchLimits(items=50)))
    assert (result.rejected, result.delivered) == (149, 1)


def test_fewer_refusals_than_a_hundred_are_the_records_own(office: PostOffice) -> None:
    keys = office.fill(99)
    result = office.run(office.stream(refusing(keys)))
    assert (result.rejected, result.is_balanced) == (99, True)


# --- what is written down -------------------------------------------------------------------------


def _audit(folder: Path, *answers: Script, count: int = 2, error: type[Exception] | None = None) -> dict[str, Any]:
    """The audit row of a single batch that was answered so."""
    with scripted_vendor(*answers) as vendor:
        office = PostOffice(folder, url=vendor.url)
        office.fill(count)
        if error:
            with pytest.raises(error):
                office.run(office.stream(post))
        else:
            office.run(office.stream(post))
        (row,) = office.noted("delivery_batches")
        assert row["call_count"] == len(vendor.asked) == office.client.calls
        office.close()
    return row


def test_a_batch_that_arrived_is_written_down_with_route_status_and_the_platforms_own_number(tmp_path: Path) -> None:
    row = _audit(tmp_path, (200, {}, {"x-request-id": "r-77"}), count=3)
    assert (row["destination"], row["stream"], row["record_count"]) == ("club", "receipts", 3)
    assert (row["call_count"], row["route"], row["status"], row["request_id"]) == (1, "POST receipts", 200, "r-77")
    assert (json.loads(row["outcomes"]), row["answer"]) == ({"delivered": 3}, None)
    assert (row["started_at"], row["ended_at"]) == (NIGHT, NIGHT)


def test_records_that_were_refused_one_by_one_are_counted_in_their_batch(tmp_path: Path) -> None:
    row = _audit(tmp_path, (200, {"acme:O001": "refused"}))
    assert (json.loads(row["outcomes"]), row["answer"]) == ({"delivered": 1, "rejected": 1}, "no such store")


def test_a_batch_that_was_refused_as_a_whole_has_all_its_calls_in_one_row(tmp_path: Path) -> None:
    refused = (400, {"code": "E1", "message": "call +447700900123"})
    row = _audit(tmp_path, refused, refused, (200, {}, {"x-request-id": "r-3"}))
    assert (row["call_count"], row["status"], row["request_id"]) == (3, 200, "r-3")
    assert json.loads(row["outcomes"]) == {"delivered": 1, "rejected": 1}
    assert row["answer"] == "acme: POST receipts: refused with 400 E1"


@pytest.mark.parametrize(
    ("answer", "error", "status", "state", "said"),
    [
        ((503, {}), RetryableError, 503, "pending", "acme: POST receipts: status 503 after 1 try"),
        ((502, {}), RetryableError, 502, "in_doubt", "acme: POST receipts: status 502 after 1 try"),
        (HANG_UP, RetryableError, None, "in_doubt", "acme: POST receipts: RemoteProtocolError after 1 try"),
        ((401, {}), CredentialsError, 401, "pending", "acme: POST receipts: refused with 401"),
        ((200, b"<html>"), Exception, 200, "in_doubt", "answer with status 200 is not the documented JSON"),
    ],
)
def test_a_batch_that_came_to_nothing_says_why(
    tmp_path: Path, answer: Script, error: type[Exception], status: int | None, state: str, said: str
) -> None:
    row = _audit(tmp_path, answer, error=error)
    assert (row["status"], json.loads(row["outcomes"])) == (status, {state: 2})
    assert row["answer"].startswith(said)


def test_every_attempt_has_a_row_of_its_own_and_a_dead_one_has_no_end(office: PostOffice) -> None:
    office.fill(2)
    office.lose(office.stream())
    with pytest.raises(UnknownOutcomeError):
        office.run(office.stream(_no_answer))
    office.run(office.stream())
    rows = sorted(office.noted("delivery_batches"), key=lambda row: row["started_at"])
    assert len({row["batch_id"] for row in rows}) == 1
    assert len({row["run_id"] for row in rows}) == 3
    assert [row["outcomes"] and json.loads(row["outcomes"]) for row in rows] == [
        None,
        {"in_doubt": 2},
        {"delivered": 2},
    ]
    assert [row["ended_at"] is None for row in rows] == [True, False, False]
    (last, *_) = office.queue.attempts("acme:O000")
    assert len(last["batches"]) == 3
    assert last["attempt_count"] == 3


def test_nothing_that_is_written_down_has_a_key_or_a_query_in_it(tmp_path: Path) -> None:
    row = _audit(tmp_path, (400, {"code": "E1"}), count=1)
    assert "secret" not in json.dumps(row, default=str)


def test_files_count_as_one_call_each(office: PostOffice) -> None:
    office.fill(4)
    office.run(office.stream(rows="rows.sql", history=True, limits=BatchLimits(items=2, lines=4)))
    rows = office.noted("delivery_batches")
    assert [(row["call_count"], row["route"], row["record_count"]) for row in rows] == [(1, None, 2)] * 2


def _no_answer(session: Any, batch: Batch) -> list[Outcome]:
    raise UnknownOutcomeError("club: no answer")


def _payloads_kept(office: PostOffice) -> list[str]:
    with office.engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql("select record_key from payloads")]
