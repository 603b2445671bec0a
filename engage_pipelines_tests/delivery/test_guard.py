"""Guard rails: what jumps beyond the usual is not sent before a person has looked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, Outcome, Stream
from engage_pipelines.delivery import Bounds
from engage_pipelines.delivery.guard import find_jumps
from engage_pipelines.errors import GuardError, RejectedError, RetryableError
from engage_pipelines.state import PlanSize
from engage_pipelines.warehouse import PlanResult, Selection
from engage_pipelines_tests.delivery.post_office import PostOffice
from engage_pipelines_tests.plain_till import CUSTOMERS, DAY, NIGHT, customer, order
from engage_pipelines_tests.scripted_vendor import scripted_vendor

# Small enough for a shop of a few receipts.
TIGHT = Bounds(growth=3, changed_share=0.5, gone_share=0.25, floor=2)
ONE_DAY = Selection(touched=(DAY.start, DAY.end))


def days(count: int) -> Selection:
    return Selection(touched=(DAY.start, DAY.start + timedelta(days=count)))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[PostOffice]:
    office = PostOffice(tmp_path, bounds=TIGHT)
    yield office
    office.close()


def sell(office: PostOffice, name: str, count: int, **changes: Any) -> None:
    office.till.load(*[order(f"{name}{n:02}", **changes) for n in range(count)])


def assert_refused(office: PostOffice, stream: Stream, match: str, selection: Selection = Selection()) -> None:  # noqa: B008
    """Nothing is sent, nothing is noted, nothing is left, and the preview warns of the same."""
    before = (office.noted(), office.noted("delivery_runs"), office.noted("delivery_batches"), office.plans())
    with pytest.raises(GuardError, match=match) as refused:
        office.run(stream, selection)
    assert office.sent == []
    assert before == (
        office.noted(), office.noted("delivery_runs"), office.noted("delivery_batches"), office.plans()
    )  # fmt: skip
    message = str(refused.value)
    assert message.startswith("club/receipts: nothing was sent, because ")
    assert message.endswith("run it again with --yes-really (in Dagster: yes_really: true)")
    warnings = office.preview(stream, selection).warnings
    assert warnings != ()
    assert all(warning in message for warning in warnings)


# --- growth ---------------------------------------------------------------------------------------


def test_the_first_run_of_a_stream_may_be_as_large_as_it_is(office: PostOffice) -> None:
    sell(office, "A", 30)
    assert office.preview(office.stream()).warnings == ()
    assert office.run(office.stream()).delivered == 30


def test_many_times_the_records_of_the_last_good_run_are_refused_and_the_platform_hears_nothing(
    tmp_path: Path,
) -> None:
    def post(session: Any, batch: Batch) -> list[Outcome]:
        session.client.call("POST", "receipts", content=b",".join(batch.payloads))
        return [Outcome("accepted")] * len(batch.keys)

    with scripted_vendor((202, {})) as vendor:
        office = PostOffice(tmp_path, url=vendor.url, bounds=TIGHT)
        sell(office, "A", 4)
        stream = office.stream(post)
        assert office.run(stream).accepted == 4
        sell(office, "B", 13)
        assert_refused(office, stream, "13 records are to go out, the last good run had 4")
        assert len(vendor.asked) == 1
        office.close()


def test_what_a_person_has_looked_at_goes_through_and_is_the_new_measure(office: PostOffice) -> None:
    sell(office, "A", 4)
    office.run(office.stream())
    sell(office, "B", 13)
    assert_refused(office, office.stream(), "13 records")
    assert office.run(office.stream(), yes_really=True).delivered == 13
    sell(office, "C", 39)
    assert office.run(office.stream()).delivered == 39
    sell(office, "D", 5)
    assert office.run(office.stream()).delivered == 5


def test_growth_up_to_the_bound_and_below_the_floor_is_no_jump(office: PostOffice) -> None:
    sell(office, "A", 1)
    office.run(office.stream())
    office.bounds = Bounds(growth=3, floor=20)
    sell(office, "B", 20)
    assert office.run(office.stream()).delivered == 20
    office.bounds = Bounds(growth=3, floor=2)
    sell(office, "C", 60)
    assert office.run(office.stream()).delivered == 60
    sell(office, "D", 181)
    assert_refused(office, office.stream(), "181 records are to go out, the last good run had 60")


def test_an_amount_far_beyond_the_last_good_run_is_refused(office: PostOffice) -> None:
    sell(office, "A", 4)
    office.run(office.stream())
    sell(office, "B", 4, total=30.01)
    assert_refused(office, office.stream(), r"120.04 GBP are to go out, the last good run had 40.00")
    sell(office, "B", 4, total=30, version=2)
    assert office.run(office.stream()).delivered == 4


def test_returns_count_like_sales_and_a_new_currency_has_no_measure(office: PostOffice) -> None:
    sell(office, "A", 4)
    office.run(office.stream())
    sell(office, "B", 4, total=-31)
    assert_refused(office, office.stream(), r"-124.00 GBP are to go out, the last good run had 40.00")
    sell(office, "B", 4, total=900, currency="EUR", version=2)
    assert office.run(office.stream()).delivered == 4


def test_growth_is_judged_per_day_that_is_looked_at(office: PostOffice) -> None:
    stream = office.stream(windowed=True)
    sell(office, "A", 4)
    office.run(stream, ONE_DAY)
    sell(office, "B", 24)
    assert_refused(office, stream, "24 records are to go out, the last good run had 4", ONE_DAY)
    assert office.preview(stream, days(2)).warnings == ()
    assert office.run(stream, days(2)).delivered == 24
    # And the other way round: a night after a week is measured against a seventh of it.
    sell(office, "C", 37)
    assert_refused(office, stream, "37 records are to go out, the last good run had 24", ONE_DAY)
    sell(office, "C", 1, state="voided", version=2)
    assert office.run(stream, ONE_DAY).delivered == 36


def test_a_run_that_brought_nothing_there_is_no_measure(office: PostOffice) -> None:
    def down(session: Any, batch: Batch) -> list[Outcome]:
        raise RetryableError("club: status 503")

    def refuse(session: Any, batch: Batch) -> list[Outcome]:
        raise RejectedError("club: refused with 400")

    sell(office, "A", 4)
    office.run(office.stream())
    sell(office, "B", 2)
    with pytest.raises(RetryableError):
        office.run(office.stream(down))
    office.run(office.stream(refuse))
    office.run(office.stream())
    sell(office, "C", 12)
    office.lose(office.stream())
    # Of all these only the first one was good: four records.
    assert office.runs.last_good_size("club", "receipts") == PlanSize(4, {"GBP": Decimal("40.0000")}, 1)
    assert office.run(office.stream()).delivered == 12
    sell(office, "D", 37)
    assert_refused(office, office.stream(), "the last good run had 12")


def test_a_first_load_that_broke_off_may_go_on(office: PostOffice) -> None:
    def half(session: Any, batch: Batch) -> list[Outcome]:
        if len(office.sent) > 1:
            raise RetryableError("club: status 503")
        return [Outcome("delivered")] * len(batch.keys)

    sell(office, "A", 40)
    with pytest.raises(RetryableError):
        office.run(office.stream(half))
    assert office.run(office.stream()).delivered == 30


def test_sending_single_records_by_hand_is_no_measure_for_a_night(office: PostOffice) -> None:
    sell(office, "A", 9)
    office.run(office.stream())
    sell(office, "A", 1, version=2, total=11)
    assert office.run(office.stream(), Selection(keys=("acme:A00",)), yes_really=True).delivered == 1
    sell(office, "B", 9)
    assert office.run(office.stream()).delivered == 9


# --- shares ---------------------------------------------------------------------------------------


def test_a_change_of_most_records_at_once_is_refused(office: PostOffice) -> None:
    sell(office, "A", 10)
    office.run(office.stream())
    sell(office, "A", 6, version=2, total=11)
    assert_refused(office, office.stream(), "6 of 10 records at the platform have changed")
    sell(office, "A", 1, version=3, total=10)
    result = office.run(office.stream())
    assert (result.delivered, result.unchanged) == (5, 5)


def test_a_day_that_is_made_of_changes_is_a_day_like_any_other(office: PostOffice) -> None:
    sell(office, "A", 10)
    office.run(office.stream())
    sell(office, "A", 6, version=2, total=11)
    assert office.run(office.stream(windowed=True), ONE_DAY).delivered == 6


def test_records_that_vanish_from_the_source_stop_the_run(office: PostOffice) -> None:
    office.till.load(*[customer(f"C{n}") for n in range(12)], entity=CUSTOMERS)
    (office.folder / "people.sql").write_text(
        "select customer_id as record_key, to_json({id: customer_id, city: city}) as payload, "
        "null as skipped_reason, null as rejected_reason from selected"
    )
    stream = office.stream(sql="people.sql", selects="customers")
    office.run(stream)
    _remove(office, "customers", "'acme:C0', 'acme:C1', 'acme:C2'")
    assert office.preview(stream).warnings == ()
    _remove(office, "customers", "'acme:C3'")
    office.till.load(customer("NEW"), entity=CUSTOMERS)
    assert_refused(office, stream, "4 of 12 records at the platform are not in the source any more")
    assert office.run(stream, yes_really=True).delivered == 1


def test_only_a_look_at_everything_tells_what_vanished(office: PostOffice) -> None:
    sell(office, "A", 12)
    office.run(office.stream())
    _remove(office, "transactions", "'acme:A00', 'acme:A01', 'acme:A02', 'acme:A03'")
    assert office.run(office.stream(windowed=True), ONE_DAY).unchanged == 8
    assert_refused(office, office.stream(), "4 of 12 records")


def test_receipts_that_are_void_all_of_a_sudden_stop_the_run(office: PostOffice) -> None:
    sell(office, "A", 12)
    office.run(office.stream())
    sell(office, "A", 4, version=2, state="voided")
    assert_refused(office, office.stream(), "4 of 12 records were delivered and are void now")
    result = office.run(office.stream(), yes_really=True)
    assert (result.diverged, result.unchanged) == (4, 8)
    # They are known to be void now, so the next night is not asked again.
    assert office.run(office.stream()).diverged == 4


def test_every_jump_is_named_at_once(office: PostOffice) -> None:
    sell(office, "A", 4)
    office.run(office.stream())
    sell(office, "A", 3, version=2, total=400)
    sell(office, "B", 12)
    with pytest.raises(GuardError, match=r"15 records .*; 1,320.00 GBP .*; 3 of 4 records at the platform have"):
        office.run(office.stream())
    assert len(office.preview(office.stream()).warnings) == 3


def test_what_is_refused_leaves_records_in_doubt_as_they_are(office: PostOffice) -> None:
    sell(office, "A", 4)
    office.run(office.stream())
    sell(office, "B", 2)
    office.lose(office.stream())
    (plan,) = office.plans()
    sell(office, "C", 20)
    with pytest.raises(GuardError, match="22 records"):
        office.run(office.stream())
    assert (office.sent, office.plans()) == ([], [plan])
    assert [key for key, state in office.states().items() if state == "in_doubt"] == ["acme:B00", "acme:B01"]


@pytest.mark.parametrize("counts", [{}, {"unchanged": 5000}, {"skipped": 5000}, {"rejected": 5000}, {"held": 5000}])
def test_what_is_not_sent_is_no_jump(counts: dict[str, int]) -> None:
    plan = PlanResult(counts=counts, skipped={}, is_everything=True)
    assert find_jumps(plan, PlanSize(plan.to_send), PlanSize(1), Bounds()) == []


def test_a_run_notes_what_it_set_out_to_send(office: PostOffice) -> None:
    sell(office, "A", 4)
    sell(office, "B", 2, currency="EUR", total=20)
    office.run(office.stream(windowed=True), days(3))
    (run,) = office.runs.since(NIGHT)
    assert (run["planned_count"], run["day_count"]) == (6, 3)
    assert run["planned_amounts"] == '{"EUR": "40.0000", "GBP": "40.0000"}'


def _remove(office: PostOffice, table: str, keys: str) -> None:
    # Personal tables are in a file of their own.
    home, key = {
        "customers": ("private", "customer_id"), "transactions": ("warehouse", "transaction_id"),
    }[table]  # fmt: skip
    with office.till.warehouse.transaction() as connection:
        connection.execute(f"delete from {home}.core.{table} where {key} in ({keys})")
