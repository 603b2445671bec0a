"""AIQ: what a customer, a receipt and a stock level look like there, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.aiq import (
    AIQ,
    INVENTORY,
    PERSONAS,
    SALES,
    AiqOptions,
    Session,
    connect,
)
from engage_pipelines.errors import (
    ConfigError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Limits, RetryPolicy, VendorClient
from engage_pipelines_tests.destinations.core_rows import CoreRows, Row
from engage_pipelines_tests.destinations.scripted_vendor import ScriptedVendor, scripted_vendor

OK = (200, {"data": None, "errors": [], "code": 200, "success": True})


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


def add_sale(core: CoreRows, transaction_id: str = "sq:T1", **changes: Any) -> None:
    values: dict[str, Any] = {
        "transaction_id": transaction_id, "store_id": "sq:S1", "customer_id": "sq:C1", "status": "completed",
        "is_countable": True, "closed_at": datetime(2026, 3, 1, 18, 5, 9, tzinfo=UTC),
        "utc_offset_minutes": -300, "tax_amount": "1.60", "tip_amount": "2.00", "total_amount": "21.60",
    }  # fmt: skip
    core.add("transactions", **(values | changes))


def add_line(core: CoreRows, number: int = 1, transaction_id: str = "sq:T1", **changes: Any) -> None:
    values: dict[str, Any] = {
        "line_id": f"{transaction_id}:{number}", "transaction_id": transaction_id, "line_number": number,
        "product_id": "sq:P1", "sku": "TEA-1", "name": "Green tea, hot", "quantity": "2",
        "unit_price_amount": "10", "gross_amount": "20", "discount_amount": "2",
    }  # fmt: skip
    core.add("transaction_lines", **(values | changes))


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


def add_level(core: CoreRows, product_id: str = "sq:P1", store_id: str = "sq:S1", quantity: str = "7") -> None:
    core.add("inventory_levels", product_id=product_id, store_id=store_id, quantity=quantity)


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


# --- the calls


@contextmanager
def session(vendor: ScriptedVendor, **changes: Any) -> Iterator[Session]:
    client = VendorClient("AIQ", vendor.url, headers={"x-apikey": "k-123"}, retry=RetryPolicy(attempts=1))
    with client:
        yield Session(client, options(base_url=vendor.url, **changes))


def batch(*payloads: bytes) -> Batch:
    return Batch("b1", tuple(f"key{number}" for number in range(len(payloads))), payloads)


SALE = b'{"visit":{"pos_id":"1"}}'
PERSONA = b'{"member":{"srcID":"c1","firstName":"Ada","email":"ada@example.com","mobilePhone":"8881110000"}}'


def send(
    stream: Any, payloads: Sequence[bytes], *answers: tuple[int, Any], **changes: Any
) -> tuple[ScriptedVendor, Sequence[Outcome]]:
    with scripted_vendor(*answers) as vendor, session(vendor, **changes) as opened:
        return vendor, stream.send(opened, batch(*payloads))


def test_a_session_sends_the_key_and_shows_it_nowhere() -> None:
    with scripted_vendor(OK, (401, {})) as vendor:
        opened = connect(options(base_url=vendor.url), {"AIQ_API_KEY": "k-123"}, Limits())
        with opened.client:
            SALES.send(opened, batch(SALE))
            with pytest.raises(CredentialsError) as caught:
                SALES.send(opened, batch(SALE))
    assert [call.headers["x-apikey"] for call in vendor.asked] == ["k-123", "k-123"]
    assert "k-123" not in f"{caught.value} {opened!r}"


def test_one_sale_goes_by_the_single_call() -> None:
    vendor, outcomes = send(SALES, [SALE], OK)
    assert [(call.path, call.body) for call in vendor.asked] == [("/api/v1.1/createUpdateSale/1234", SALE)]
    assert outcomes == [Outcome("accepted")]


def test_several_sales_go_by_the_bulk_call_each_as_a_whole_body() -> None:
    vendor, outcomes = send(SALES, [SALE, SALE], OK)
    assert vendor.asked[0].path == "/api/v1.1/createUpdateSales/1234"
    assert vendor.asked[0].json() == [{"visit": {"pos_id": "1"}}] * 2
    assert outcomes == [Outcome("accepted")] * 2


def test_the_elements_of_a_bulk_call_can_be_bare() -> None:
    sales, _ = send(SALES, [SALE, SALE], OK, bulk_envelope=False)
    personas, _ = send(PERSONAS, [PERSONA], OK, bulk_envelope=False)
    assert sales.asked[0].json() == [{"pos_id": "1"}] * 2
    assert personas.asked[0].json()[0]["srcID"] == "c1"


def test_personas_and_stock_go_as_arrays() -> None:
    personas, accepted = send(PERSONAS, [PERSONA], OK)
    stock, _ = send(INVENTORY, [b'{"sku":"a"}', b'{"sku":"b"}'], OK)
    assert (personas.asked[0].path, personas.asked[0].json()) == (
        "/api/v1.1/createUpdateMembers/1234", [json.loads(PERSONA)],
    )  # fmt: skip
    assert (stock.asked[0].path, stock.asked[0].json()) == (
        "/api/v1.1/createUpdateInventory/1234", [{"sku": "a"}, {"sku": "b"}],
    )  # fmt: skip
    assert accepted == [Outcome("accepted")]


def test_the_account_id_cannot_leave_its_place_in_the_path() -> None:
    vendor, _ = send(SALES, [SALE], OK, uid="12/34?x", api_path="api")
    assert vendor.asked[0].path == "/api/createUpdateSale/12%2F34%3Fx"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"success": False, "errors": []}), RejectedError),
        ((200, {"success": True, "errors": [{"message": "no", "code": 17}]}), RejectedError),
        ((200, {"errors": ["no"]}), RejectedError),
        ((400, {"errors": [{"message": "bad date"}], "success": False}), RejectedError),
        ((422, b"<html>"), RejectedError),
        ((200, {"success": False, "errors": [{"message": "busy", "code": 503}]}), RetryableError),
        ((200, {"success": False, "code": 429}), RetryableError),
        ((200, {"success": False, "errors": [{"code": 401}]}), CredentialsError),
        ((403, {}), CredentialsError),
        ((404, {"errors": [{"message": "not found"}]}), ConfigError),
        ((200, b"{half"), UnknownOutcomeError),
        ((200, []), UnknownOutcomeError),
        ((503, {}), RetryableError),
    ],
)
def test_an_answer_that_is_no_yes_becomes_the_error_that_says_what_to_do(
    answer: tuple[int, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        send(SALES, [SALE, SALE], answer)


@pytest.mark.parametrize("body", [{}, {"data": 1}, {"success": True, "errors": None}, {"errors": []}])
def test_a_2xx_without_errors_is_a_yes(body: Any) -> None:
    assert send(SALES, [SALE], (202, body))[1] == [Outcome("accepted")]


def test_a_refusal_carries_the_vendor_s_code_and_words() -> None:
    refused = (200, {"success": False, "errors": [{"message": "date unreadable", "code": "E17"}]})
    with pytest.raises(RejectedError, match="code E17: date unreadable") as caught:
        send(SALES, [SALE], refused)
    assert caught.value.vendor_code == "E17"


def test_a_refusal_never_repeats_who_the_customer_is() -> None:
    words = "Ada <ada@example.com> (888) 111-0000 8881110000 cannot be read " + "x" * 300
    with pytest.raises(RejectedError) as caught:
        send(PERSONAS, [PERSONA], (400, {"errors": [{"message": words}], "success": False}))
    told = str(caught.value)
    assert "cannot be read" in told
    assert not [part for part in ("Ada", "ada@", "888") if part in told]
    assert len(told) < 300


# --- the declaration


def test_the_streams_run_customers_first_and_stock_last() -> None:
    assert [(stream.name, stream.after) for stream in AIQ.streams] == [
        ("personas", ()), ("sales", ("personas",)), ("inventory", ("sales",)),
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"uid": ""}, {"pos_type": "shop"}, {"tips": True}])
def test_a_wrong_option_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**wrong)
