"""What is wrong on the till is counted, put aside or marked, and never stops what is right."""

from __future__ import annotations

from typing import Any

import pytest

from engage_pipelines.errors import ContractError, RetryableError
from engage_pipelines.ingest import Loaded
from engage_pipelines.operations import Desk, look
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import fast_source, put, rows
from engage_pipelines_tests.ledger_rows import mirrored
from engage_pipelines_tests.small_shop import line, order

AT = small_shop.sold_at(20)
DAYS_OF_AT = (AT.date(), AT.date())
BAD_ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    "without-creation": (order("BAD", [line("a", 1, "GBP")], AT, created_at=None), "creat"),
    "with-an-unknown-currency": (order("BAD", [line("a", 1, "XXQ")], AT), "currency"),
    "with-a-text-for-an-amount": (
        order("BAD", [line("a", 1, "GBP", total_money={"amount": 510, "currency": "GBP"},
                           base_price_money={"amount": "five pounds", "currency": "GBP"})], AT), "type",
    ),
    "with-a-text-for-a-list": (order("BAD", [line("a", 1, "GBP")], AT, returns="none"), "type"),
    "with-a-text-for-a-quantity": (order("BAD", [line("a", 1, "GBP") | {"quantity": "two"}], AT), "quantity"),
    "with-two-lines-of-one-uid": (order("BAD", [line("a", 1, "GBP"), line("a", 2, "GBP")], AT), "uid"),
    "with-two-currencies": (order("BAD", [line("a", 1, "GBP"), line("b", 2, "EUR")], AT), "currenc"),
}  # fmt: skip


def _orders_again(loaded: Desk) -> Loaded:
    """Pull and load the orders of the days around `AT`."""
    source = loaded.source("square")
    orders = loaded.entity(source, "orders")
    loaded.pull(source, orders, DAYS_OF_AT)
    return loaded.load(source, orders, DAYS_OF_AT)


def _receipts(loaded: Desk) -> int:
    return int(rows(loaded, "select count(*) from core.transactions where transaction_id like 'square:O%'")[0][0])


@pytest.mark.parametrize(("record", "word"), BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_an_order(sandbox: Sandbox, loaded: Desk, record: dict[str, Any], word: str) -> None:
    put(sandbox, "orders", record)
    _orders_again(loaded)
    quarantined = rows(loaded, "select entity, record_id, reason from ops.quarantine")
    assert [(entity, key) for entity, key, _ in quarantined] == [("orders", "BAD")]
    assert word in quarantined[0][2]
    assert _receipts(loaded) == small_shop.RECEIPTS
    assert rows(loaded, "select count(*) from core.transaction_lines where transaction_id = 'square:BAD'") == [(0,)]
    assert look(loaded).quarantined == {("orders", quarantined[0][2]): 1}

    put(sandbox, "orders", order("BAD", [line("a", 1, "GBP")], AT))
    _orders_again(loaded)
    assert rows(loaded, "select count(*) from core.transactions where transaction_id = 'square:BAD'") == [(1,)]
    assert rows(loaded, "from ops.quarantine") == []


def test_many_bad_orders_stop_no_good_one(sandbox: Sandbox, loaded: Desk) -> None:
    bad = [record | {"id": f"BAD{number}"} for number, (record, _) in enumerate(BAD_ORDERS.values())]
    put(sandbox, "orders", *bad)
    _orders_again(loaded)
    assert rows(loaded, "select count(distinct record_id) from ops.quarantine") == [(len(bad),)]
    assert _receipts(loaded) == small_shop.RECEIPTS
    for destination in loaded.destinations:
        for stream in destination.streams:
            if not stream.history:
                assert loaded.deliver(destination, stream, Selection()).is_balanced
    held = sandbox.stand_ins["aiq"].report()
    assert (held["sales"], held["duplicate_sales_received"]) == (small_shop.RECEIPTS - 2 + 1, 0)


def test_a_field_that_nobody_knows_is_counted_and_stays_in_the_spool(sandbox: Sandbox, loaded: Desk) -> None:
    put(sandbox, "orders", order("NEW", [line("a", 1, "GBP")], AT, loyalty_moon_phase="waxing"))
    assert "loyalty_moon_phase" in _orders_again(loaded).unknown_fields
    assert rows(loaded, "select count(*) from ops.loads where unknown_fields like '%loyalty_moon_phase%'") == [(1,)]
    assert rows(loaded, "select count(*) from core.transactions where transaction_id = 'square:NEW'") == [(1,)]


def test_a_negative_quantity_is_a_row_with_a_remark(sandbox: Sandbox, loaded: Desk) -> None:
    back = line("a", 1, "GBP", -2)
    put(sandbox, "orders", order("NEGATIVE", [line("b", 2, "GBP", 4), back], AT))
    _orders_again(loaded)
    lines = "from core.transaction_lines where transaction_id = 'square:NEGATIVE'"
    found = rows(loaded, f"select quantity, remark_code {lines} order by 1")
    assert [int(quantity) for quantity, _ in found] == [-2, 4]
    assert found[0][1] == "negative_quantity"


def test_a_clerks_note_is_a_row_with_a_remark(sandbox: Sandbox, loaded: Desk) -> None:
    note = line("n", 1, "GBP") | {"name": "damaged", "item_type": "CUSTOM_AMOUNT", "catalog_object_id": None}
    put(sandbox, "orders", order("NOTE", [{name: value for name, value in note.items() if value is not None}], AT))
    _orders_again(loaded)
    query = "select remark_code from core.transaction_lines where transaction_id = 'square:NOTE'"
    assert rows(loaded, query) == [("clerk_note",)]


def test_a_receipt_without_a_customer_goes_where_it_can(sandbox: Sandbox, loaded: Desk) -> None:
    days = rows(loaded, "select business_on from core.transactions where customer_id is null and is_countable")
    assert days
    aiq, voyado = loaded.destination("aiq"), loaded.destination("voyado")
    sales, receipts = loaded.stream(aiq, "sales"), loaded.stream(voyado, "receipts")
    assert loaded.deliver(aiq, sales, Selection()).accepted == small_shop.RECEIPTS - 2 + 1
    assert loaded.deliver(voyado, receipts, Selection()).skipped["anonymous"] == sum(
        day >= small_shop.GO_LIVE_ON for (day,) in days
    )


def test_people_and_products_with_faults_are_rows_with_remarks(loaded: Desk) -> None:
    assert rows(loaded, "select remark_code, count(*) from core.customers group by all order by all nulls last") == [
        ("invalid_phone", 1), (None, small_shop.CUSTOMERS - 1),
    ]  # fmt: skip
    assert rows(loaded, "select remark_code, count(*) from core.products group by all order by all nulls last") == [
        ("duplicate_sku_case", 2), ("no_sku", 1), (None, small_shop.PRODUCTS - 3),
    ]  # fmt: skip
    aiq = loaded.destination("aiq")
    assert loaded.deliver(aiq, loaded.stream(aiq, "personas"), Selection()).skipped == {"no phone or e-mail": 1}
    crmcom = loaded.destination("crmcom")
    assert loaded.deliver(crmcom, loaded.stream(crmcom, "products"), Selection()).rejected == 2
    reasons = {str(reason) for reason in mirrored(loaded.ledger)["ops.deliveries"]["reason"].to_pylist() if reason}
    assert any("duplicate code" in reason for reason in reasons)
    assert "no sku" in reasons


@pytest.mark.parametrize(("kind", "error"), [("broken_json", ContractError), ("half_body", RetryableError)])
def test_half_a_page_loads_nothing_and_harms_nothing(
    sandbox: Sandbox, loaded: Desk, kind: str, error: type[Exception]
) -> None:
    before = rows(loaded, "select * exclude (load_id) from core.transactions order by all")
    put(sandbox, "orders", small_shop.receipt(3) | {"updated_at": small_shop.text(AT)})
    sandbox.add_fault("square", kind=kind, route="orders/search")
    source = loaded.source("square")
    orders = loaded.entity(source, "orders")
    with pytest.raises(error):
        loaded.pull(fast_source(source, attempts=2), orders, DAYS_OF_AT)
    loaded.load(source, orders, DAYS_OF_AT)
    assert rows(loaded, "select * exclude (load_id) from core.transactions order by all") == before

    sandbox.clear_faults("square")
    _orders_again(loaded)
    assert _receipts(loaded) == small_shop.RECEIPTS
