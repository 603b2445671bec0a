"""What a preview tells: how many, why, how long, and what it would look like, without a person in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, BatchLimits, InDoubt, Outcome
from engage_pipelines.delivery.masking import MASK
from engage_pipelines.delivery.results import preview_of
from engage_pipelines.errors import RetryableError
from engage_pipelines.http_client import Limits, Rate
from engage_pipelines.warehouse import PlanResult, Selection
from engage_pipelines_tests.delivery.post_office import PostOffice, deliver_all
from engage_pipelines_tests.plain_till import CUSTOMERS, NIGHT, customer, order
from engage_pipelines_tests.scripted_vendor import scripted_vendor

PEOPLE = """
select customer_id as record_key, null as skipped_reason, null as rejected_reason,
    to_json({
        id: customer_id, firstName: first_name, contact: {email: email, phones: [{mobilePhone: phone}]},
        note: 'write to ' || email, amount: 10.10::decimal(18, 4), nothing: null::varchar
    }) as payload
from selected
"""


@pytest.fixture
def office(tmp_path: Path) -> Iterator[PostOffice]:
    office = PostOffice(tmp_path)
    yield office
    office.close()


def test_everything_that_a_run_would_do_is_counted_with_its_reason(office: PostOffice) -> None:
    def answer(session: Any, batch: Batch) -> list[Outcome]:
        if batch.keys == ("acme:LATER",):
            raise RetryableError("club: status 503")
        states = {"acme:BAD": Outcome("rejected", "no such store")}
        return [states.get(key, Outcome("delivered")) for key in batch.keys]

    office.till.load(*[order(name) for name in ("SAME", "CHANGED", "BAD", "LOST")])
    office.run(office.stream(answer), Selection(keys=("acme:SAME", "acme:CHANGED", "acme:BAD")))
    office.lose(office.stream(answer), Selection(keys=("acme:LOST",)))
    office.till.load(
        order("CHANGED", version=2, total=11), order("LATER"), order("NEW"), order("NEW2"), order("BIG", total=5000),
        order("VOID", state="voided"), order("OPEN", state="open"),
    )  # fmt: skip
    with pytest.raises(RetryableError):
        office.run(office.stream(answer), Selection(keys=("acme:LATER",)))
    hold = office.stream(deliver_all, in_doubt=InDoubt("hold", "a person decides"))
    preview = office.preview(hold)
    assert preview.flow == "club/receipts"
    assert (preview.new, preview.changed, preview.again, preview.unchanged) == (2, 1, 1, 1)
    assert preview.rejected == {"too much money": 1, "refused by the platform": 1}
    assert (preview.skipped, preview.in_doubt, preview.diverged) == ({"open": 1, "voided": 1}, 1, 0)
    assert (preview.source_records, preview.calls) == (10, 1)
    # And that is what a run does.
    result = office.run(hold)
    assert office.sent_keys == ["acme:CHANGED", "acme:LATER", "acme:NEW", "acme:NEW2"]
    assert (result.delivered, result.unchanged, result.rejected, result.in_doubt) == (4, 1, 2, 1)
    assert (result.skipped, result.source_records, result.minimal_calls) == (preview.skipped, 10, 1)


def test_a_preview_of_what_diverged_counts_it_and_sends_none_of_it(office: PostOffice) -> None:
    office.fill(2)
    stream = office.stream(immutable=True)
    office.run(stream)
    office.till.load(order("O001", version=2, total=11))
    preview = office.preview(stream)
    assert (preview.diverged, preview.unchanged, preview.calls, preview.first) == (1, 1, 0, {})
    assert set(office.states().values()) == {"delivered"}


def test_a_preview_looks_at_what_the_run_would_look_at(office: PostOffice) -> None:
    office.fill(3)
    assert office.preview(office.stream(), Selection(keys=("acme:O001",))).source_records == 1


# --- how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "rates", "minutes"),
    [
        (4_500, (Rate(2000, 3600),), 120.0),
        (4_000, (Rate(2000, 3600),), 60.0),
        (4_001, (Rate(2000, 3600),), 120.0),
        (2_000, (Rate(2000, 3600),), 0.0),
        (0, (Rate(2000, 3600),), 0.0),
        # The slowest of several rates decides.
        (4_500, (Rate(5, 1), Rate(120, 60), Rate(2000, 3600)), 120.0),
        (1_000, (Rate(5, 1), Rate(120, 60), Rate(2000, 3600)), 8.0),
        (100, (Rate(5, 1), Rate(120, 60)), 0.3),
        (1_000_000, (), 0.0),
    ],
)
def test_minutes_are_those_that_the_platforms_rates_take(calls: int, rates: tuple[Rate, ...], minutes: float) -> None:
    plan = PlanResult(counts={"send_new": calls}, skipped={})
    assert preview_of("club/receipts", plan, calls, Limits(rates), {}, ()).minutes == minutes


def test_calls_and_minutes_follow_from_the_limits_of_the_stream_and_of_the_account(tmp_path: Path) -> None:
    office = PostOffice(tmp_path, rates=(Rate(20, 3600),))
    office.fill(45)
    one_by_one = office.preview(office.stream(limits=BatchLimits(items=1)))
    assert (one_by_one.new, one_by_one.calls, one_by_one.minutes) == (45, 45, 120.0)
    by_tens = office.preview(office.stream(limits=BatchLimits(items=10)))
    assert (by_tens.calls, by_tens.minutes) == (5, 0.0)
    by_lines = office.preview(office.stream(limits=BatchLimits(items=100, lines=3)))
    # Receipts of two lines each; the least number of calls, as if lines could be split.
    assert by_lines.calls == 30
    office.close()


# --- what it looks like ---------------------------------------------------------------------------


def test_the_first_payloads_are_shown_without_a_person_in_them(office: PostOffice) -> None:
    (office.folder / "people.sql").write_text(PEOPLE)
    office.till.load(*[customer(f"C{n}", phone="+447700900123") for n in range(5)], entity=CUSTOMERS)
    stream = office.stream(sql="people.sql", selects="customers", personal=frozenset({"firstName", "mobilePhone"}))
    preview = office.preview(stream)
    assert list(preview.first) == ["acme:C0", "acme:C1", "acme:C2"]
    assert preview.first["acme:C0"] == {
        "id": "acme:C0", "firstName": MASK, "contact": {"email": "[redacted]", "phones": [{"mobilePhone": MASK}]},
        "note": "write to [redacted]", "amount": "10.1000", "nothing": None,
    }  # fmt: skip
    said = json.dumps(asdict(preview)).lower()
    assert [word for word in ("zebedee", "quill", "example.org", "7700900") if word in said] == []


def test_payloads_are_shown_as_they_would_leave_now(office: PostOffice) -> None:
    office.fill(4)
    assert office.preview(office.stream()).first == {
        f"acme:O00{n}": {"id": f"acme:O00{n}", "total": "10.0000"} for n in range(3)
    }


# --- nothing happens ------------------------------------------------------------------------------


def test_a_preview_calls_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    def post(session: Any, batch: Batch) -> list[Outcome]:
        session.client.call("POST", "receipts", content=b",".join(batch.payloads))
        return deliver_all(session, batch)

    with scripted_vendor((200, {})) as vendor:
        office = PostOffice(tmp_path, url=vendor.url)
        office.fill(3)
        office.till.load(order("BIG", total=5000))
        for _ in range(2):
            office.preview(office.stream(post))
        assert (vendor.asked, office.sent, office.noted(), office.runs.since(NIGHT)) == ([], [], [], [])
        assert (office.plans(), office.queue.waiting("rejected")) == ([], [])
        assert office.run(office.stream(post)).delivered == 3
        assert len(vendor.asked) == 1
        office.close()


def test_a_preview_beside_a_run_that_died_leaves_its_plan_alone(office: PostOffice) -> None:
    office.fill(2)
    office.lose(office.stream())
    (plan,) = office.plans()
    office.preview(office.stream())
    assert (office.plans(), set(office.states().values())) == ([plan], {"sending"})


def test_a_preview_while_a_run_is_under_way_disturbs_neither(office: PostOffice) -> None:
    office.fill(2)
    stream = office.stream()
    seen = []

    def preview_meanwhile(session: Any, batch: Batch) -> list[Outcome]:
        seen.append(office.preview(stream))
        return deliver_all(session, batch)

    assert office.run(office.stream(preview_meanwhile)).delivered == 2
    assert (seen[0].again, office.plans()) == (2, [])
