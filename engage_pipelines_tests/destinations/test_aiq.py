"""AIQ: what a customer, a receipt and a stock level look like there, and that the stand-in takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch
from engage_pipelines.destinations.aiq import (
    AIQ,
    INVENTORY,
    PERSONAS,
    SALES,
    AiqOptions,
    Session,
)
from engage_pipelines.errors import (
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import RetryPolicy, VendorClient
from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.server import running_sandbox
from engage_pipelines_tests.destinations.core_rows import CoreRows, Row, add_level, add_line, add_sale


def options(**changes: Any) -> AiqOptions:
    return AiqOptions(**{"uid": "1234", **changes})


@pytest.fixture
def core() -> CoreRows:
    rows = CoreRows()
    rows.add("stores", store_id="sq:S1", name="High Street")
    rows.add(
        "products", product_id="sq:P1", sku="TEA-1", name="Green tea", category="Tea", brand="Leaf",
        price_amount="10", cost_amount="4", is_active=True,
    )  # fmt: skip
    rows.add("products", product_id="sq:P2", sku=None, name="Loose cake", is_active=True)
    return rows


def one_sale(core: CoreRows, **changes: Any) -> Row:
    return core.rows(AIQ, SALES, options(**changes))["sq:T1"]


def visit(core: CoreRows, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one_sale(core, **changes).payload)["visit"]
    return found


# --- receipts


def test_a_sale_is_this_document_and_no_other(core: CoreRows) -> None:
    add_sale(core)
    add_line(core, 2, product_id="sq:P2", sku=None, name='Cake "slice"', quantity="0.5", discount_amount="0")
    add_line(core, 1)
    row = one_sale(core)
    assert row.payload == (
        '{"visit":{"pos_id":"sq:T1","pos_user":"sq:C1","sendNotification":0,'
        '"transaction_date":"2026-03-01 13:05:09 -0500","transaction_total":19.6000,"location":"High Street",'
        '"visit_details_attributes":['
        '{"sku":"TEA-1","name":"Green tea, hot","category":"Tea","brand":"Leaf",'
        '"price":10.0000,"discount":2.0000,"quantity":2.00000},'
        '{"sku":"sq:P2","name":"Cake \\"slice\\"","price":10.0000,"discount":0.0000,"quantity":0.50000}]}}'
    )
    assert (row.skipped_reason, row.rejected_reason) == (None, None)


def test_a_refund_is_a_document_of_its_own_with_negative_figures(core: CoreRows) -> None:
    add_sale(
        core, "sq:T1", transaction_type="return", refund_of_transaction_id="sq:T0",
        utc_offset_minutes=330, tip_amount="0", total_amount="-19.60",
    )  # fmt: skip
    add_line(core, quantity="-2", gross_amount="-20", discount_amount="-2", is_return=True)
    assert one_sale(core).payload == (
        '{"visit":{"pos_id":"sq:T1","pos_user":"sq:C1","sendNotification":0,'
        '"transaction_date":"2026-03-01 23:35:09 +0530","transaction_total":-19.6000,"location":"High Street",'
        '"visit_details_attributes":[{"sku":"TEA-1","name":"Green tea, hot","category":"Tea","brand":"Leaf",'
        '"price":10.0000,"discount":-2.0000,"quantity":-2.00000}]}}'
    )


def test_the_payload_is_the_same_on_every_run(core: CoreRows) -> None:
    add_sale(core)
    for number in (3, 1, 2):
        add_line(core, number)
    assert one_sale(core) == one_sale(core)


def test_an_amount_of_many_digits_arrives_to_the_last_one(core: CoreRows) -> None:
    add_sale(core, tip_amount="0", total_amount="12345678901234.5678")
    add_line(core)
    assert '"transaction_total":12345678901234.5678,' in one_sale(core).payload


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_test": True, "is_countable": False}, "test receipt"),
        ({"status": "voided", "is_countable": False}, "voided"),
        ({"status": "open", "is_countable": False, "closed_at": None}, "open"),
        ({"is_countable": False}, "does not count as revenue"),
    ],
)
def test_a_receipt_that_is_no_revenue_is_skipped_with_a_reason(
    core: CoreRows, changes: dict[str, Any], reason: str
) -> None:
    add_sale(core, **changes)
    add_line(core)
    assert one_sale(core).skipped_reason == reason


def test_a_receipt_without_lines_is_skipped_with_a_reason(core: CoreRows) -> None:
    add_sale(core)
    assert one_sale(core).skipped_reason == "no lines"


def test_a_receipt_without_a_customer_goes_to_the_anonymous_user(core: CoreRows) -> None:
    add_sale(core, customer_id=None)
    add_line(core)
    assert visit(core)["pos_user"] == "anonymous"
    assert visit(core, anonymous_pos_user="walk-in")["pos_user"] == "walk-in"


def test_a_receipt_without_a_customer_is_skipped_where_no_anonymous_user_is_set(core: CoreRows) -> None:
    add_sale(core, customer_id=None)
    add_line(core)
    assert one_sale(core, anonymous_pos_user="").skipped_reason == "anonymous sale"


def test_a_receipt_of_an_unknown_store_is_rejected(core: CoreRows) -> None:
    add_sale(core, store_id="sq:S9")
    add_line(core)
    row = one_sale(core)
    assert (row.skipped_reason, row.rejected_reason) == (None, "store unknown")


def test_a_skipped_receipt_is_not_rejected_too(core: CoreRows) -> None:
    add_sale(core, store_id="sq:S9", status="voided", is_countable=False)
    row = one_sale(core)
    assert (row.skipped_reason, row.rejected_reason) == ("voided", None)


def test_the_store_name_set_for_aiq_wins_over_the_till_s(core: CoreRows) -> None:
    core.name_store("sq:S1", "Store4")
    add_sale(core)
    add_line(core)
    assert visit(core)["location"] == "Store4"


def test_tips_count_only_on_request(core: CoreRows) -> None:
    add_sale(core)
    add_line(core)
    assert visit(core)["transaction_total"] == 19.6
    assert visit(core, include_tips=True)["transaction_total"] == 21.6
    assert visit(core, total_includes_tax=False)["transaction_total"] == 18


def test_a_line_can_carry_its_own_price_instead_of_the_unit_s(core: CoreRows) -> None:
    add_sale(core)
    add_line(core)
    assert visit(core, price_basis="line")["visit_details_attributes"][0]["price"] == 20


@pytest.mark.parametrize(
    ("line", "sku"),
    [
        ({"sku": "OLD-1"}, "OLD-1"),
        ({"sku": " "}, "TEA-1"),
        ({"sku": None, "product_id": "sq:P2"}, "sq:P2"),
        ({"sku": None, "product_id": None}, "custom"),
    ],
)
def test_a_line_s_sku_is_its_own_else_the_product_s_else_a_stand_in(
    core: CoreRows, line: dict[str, Any], sku: str
) -> None:
    add_sale(core)
    add_line(core, **line)
    assert visit(core)["visit_details_attributes"][0]["sku"] == sku


def test_the_channel_or_the_location_is_sent_as_pos_type_on_request(core: CoreRows) -> None:
    add_sale(core, channel="Web shop")
    add_line(core)
    assert "pos_type" not in visit(core)
    assert visit(core, pos_type="channel")["pos_type"] == "Web shop"
    assert visit(core, pos_type="location")["pos_type"] == "High Street"


def test_customers_are_texted_only_on_request(core: CoreRows) -> None:
    add_sale(core)
    add_line(core)
    assert visit(core, send_notification=1)["sendNotification"] == 1


def test_only_selected_receipts_are_shaped(core: CoreRows) -> None:
    add_sale(core)
    add_line(core)
    add_sale(core, "sq:T2")
    add_line(core, 1, "sq:T2")
    assert set(core.rows(AIQ, SALES, options(), "transaction_id = 'sq:T2'")) == {"sq:T2"}


# --- customers


def test_a_customer_is_this_document_and_no_other(core: CoreRows) -> None:
    core.add(
        "customers", customer_id="sq:C1", first_name="Ada", last_name="Byron", email="ada@example.com",
        phone="+18881110000", street="1 Mill Lane", postal_code="80023", city="Broomfield",
        country_code="US", birth_on=date(1990, 2, 3), is_email_unsubscribed=True,
    )  # fmt: skip
    assert core.rows(AIQ, PERSONAS, options()) == {
        "sq:C1": Row(
            '{"member":{"srcID":"sq:C1","firstName":"Ada","lastName":"Byron","mobilePhone":"8881110000",'
            '"email":"ada@example.com","address":"1 Mill Lane, 80023 Broomfield, US","birthdate":"1990-02-03",'
            '"emailOptIn":false}}',
            None,
            None,
        )
    }


def test_what_a_customer_does_not_have_is_not_sent(core: CoreRows) -> None:
    core.add("customers", customer_id="sq:C1", first_name=" ", email="ada@example.com", street="")
    assert core.rows(AIQ, PERSONAS, options())["sq:C1"].payload == (
        '{"member":{"srcID":"sq:C1","email":"ada@example.com"}}'
    )


def test_a_customer_without_phone_and_e_mail_is_skipped(core: CoreRows) -> None:
    core.add("customers", customer_id="sq:C1", first_name="Ada")
    assert core.rows(AIQ, PERSONAS, options())["sq:C1"].skipped_reason == "no phone or e-mail"


@pytest.mark.parametrize(
    ("phone", "ten_digits", "sent"),
    [
        ("+18881110000", True, "8881110000"),
        ("+18881110000", False, "+18881110000"),
        ("+35722123456", True, "+35722123456"),
    ],
)
def test_phones_are_sent_as_set(core: CoreRows, phone: str, ten_digits: bool, sent: str) -> None:
    core.add("customers", customer_id="sq:C1", phone=phone)
    payload = core.rows(AIQ, PERSONAS, options(ten_digit_phones=ten_digits))["sq:C1"].payload
    assert json.loads(payload)["member"]["mobilePhone"] == sent


def test_an_opt_out_stays_at_home_where_that_is_set(core: CoreRows) -> None:
    core.add("customers", customer_id="sq:C1", phone="+18881110000", is_email_unsubscribed=True)
    payload = core.rows(AIQ, PERSONAS, options(send_email_opt_out=False))["sq:C1"].payload
    assert "emailOptIn" not in payload


# --- stock


def test_a_stock_level_is_this_document_and_no_other(core: CoreRows) -> None:
    add_level(core, quantity="-1.5")
    assert core.rows(AIQ, INVENTORY, options()) == {
        "sq:P1|sq:S1": Row(
            '{"sku":"TEA-1","productID":"sq:P1","name":"Green tea","category":"Tea","brand":"Leaf",'
            '"price":10.0000,"cost":4.0000,"margin":0.6000,"quantity":-1.50000,"location":"High Street"}',
            None,
            None,
        )
    }


@pytest.mark.parametrize(
    ("price", "cost", "expected"),
    [
        ("10", "4", 0.6), ("3", "2", 0.3333), ("4", "5", -0.25),
        ("0", "4", None), (None, "4", None), ("10", None, None), ("0.0001", "99999999999999", None),
    ],
)  # fmt: skip
def test_the_margin_is_a_share_of_the_price_or_absent(
    core: CoreRows, price: str | None, cost: str | None, expected: float | None
) -> None:
    core.add("products", product_id="sq:P3", sku="M", price_amount=price, cost_amount=cost, is_active=True)
    add_level(core, "sq:P3")
    item = json.loads(core.rows(AIQ, INVENTORY, options())["sq:P3|sq:S1"].payload)
    assert item.get("margin") == expected


def test_the_margin_is_sent_in_percent_on_request(core: CoreRows) -> None:
    add_level(core)
    row = core.rows(AIQ, INVENTORY, options(margin_unit="percent"))["sq:P1|sq:S1"]
    assert json.loads(row.payload)["margin"] == 60


def test_stock_that_cannot_be_named_is_rejected_with_its_reason(core: CoreRows) -> None:
    add_level(core, "sq:P2")
    add_level(core, "sq:P9")
    add_level(core, "sq:P1", "sq:S9")
    found = {key: row.rejected_reason for key, row in core.rows(AIQ, INVENTORY, options()).items()}
    assert found == {
        "sq:P2|sq:S1": "no sku", "sq:P9|sq:S1": "product unknown", "sq:P1|sq:S9": "store unknown",
    }  # fmt: skip


def test_stock_of_an_inactive_product_is_skipped(core: CoreRows) -> None:
    core.add("products", product_id="sq:P3", sku=None, is_active=False)
    add_level(core, "sq:P3")
    row = core.rows(AIQ, INVENTORY, options())["sq:P3|sq:S1"]
    assert (row.skipped_reason, row.rejected_reason) == ("inactive product", None)


def test_of_two_products_with_one_sku_in_a_store_the_first_goes_whatever_is_selected(core: CoreRows) -> None:
    core.add("products", product_id="sq:P0", sku="TEA-1", is_active=False)
    core.add("products", product_id="sq:P4", sku="TEA-1", is_active=True)
    for product_id in ("sq:P0", "sq:P1", "sq:P4"):
        add_level(core, product_id)
    rows = core.rows(AIQ, INVENTORY, options(), "product_id = 'sq:P4'")
    assert rows["sq:P4|sq:S1"].rejected_reason == "duplicate sku at this location: same as sq:P1"
    assert core.rows(AIQ, INVENTORY, options())["sq:P1|sq:S1"].rejected_reason is None


# --- the stand-in


@contextmanager
def stand_in(tmp_path: Path) -> Iterator[tuple[Session, Any]]:
    known = {"aiq": {"api_key": "k-123", "uid": "1234"}}
    with running_sandbox(tmp_path, vendors=["aiq"], options=known) as sandbox:
        url = f"{sandbox.url}/aiq"
        retry = RetryPolicy(attempts=2, first_wait=0.0)
        with VendorClient("AIQ", url, headers={"x-apikey": "k-123"}, retry=retry) as client:
            yield Session(client, options(base_url=url)), sandbox.frames["aiq"]


def shaped(core: CoreRows, stream: Any) -> Batch:
    rows = core.rows(AIQ, stream, options())
    return Batch("b1", tuple(rows), tuple(row.payload.encode() for row in rows.values()))


def filled(core: CoreRows) -> CoreRows:
    core.add("customers", customer_id="sq:C1", email="ada@example.com", phone="+18881110000")
    for number in range(5):
        add_sale(core, f"sq:T{number}", customer_id="sq:C1" if number else None)
        add_line(core, 1, f"sq:T{number}")
    add_level(core)
    return core


def test_the_stand_in_takes_customers_sales_and_stock_as_they_are_shaped(core: CoreRows, tmp_path: Path) -> None:
    filled(core)
    with stand_in(tmp_path) as (opened, frame):
        for stream in AIQ.streams:
            assert {outcome.state for outcome in stream.send(opened, shaped(core, stream))} == {"accepted"}
        report = frame.stand_in.report()
    assert (report["sales"], report["personas"]) == (5, 1)
    assert Decimal(report["transaction_total"]) == Decimal("98")
    assert report["sales_received_with_notification"] == 0


def test_a_batch_sent_again_leaves_the_same_behind(core: CoreRows, tmp_path: Path) -> None:
    filled(core)
    with stand_in(tmp_path) as (opened, frame):
        SALES.send(opened, shaped(core, SALES))
        once = frame.stand_in.report()
        frame.faults.add(Fault("reset_after", route="createUpdateSales", times=1))
        SALES.send(opened, shaped(core, SALES))
        again = frame.stand_in.report()
    assert (once["sales"], again["sales"]) == (5, 5)
    assert once["transaction_total"] == again["transaction_total"]
    # Once, then twice more: the call whose answer was lost, and its repeat.
    assert again["sales_received"] == 15


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("row_errors", keys=("sq:T3",)), RejectedError),
        (Fault("ok_with_failure"), RetryableError),
        (Fault("broken_json"), UnknownOutcomeError),
        (Fault("expired_token"), CredentialsError),
        (Fault("status", status=500), RetryableError),
    ],
)
def test_a_fault_of_the_stand_in_becomes_its_error(
    core: CoreRows, tmp_path: Path, fault: Fault, error: type[Exception]
) -> None:
    with stand_in(tmp_path) as (opened, frame):
        frame.faults.add(fault)
        with pytest.raises(error):
            SALES.send(opened, shaped(filled(core), SALES))
