"""What becomes of Square's locations, catalogue, customers, counts, payments and refunds."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from engage_pipelines_tests.shared_data import shared
from engage_pipelines_tests.sources.square.mapping import Shop
from engage_pipelines_tests.sources.square.records import customer, item, line, money, order, payment, refund, variation


def example(name: str) -> Any:
    return json.loads(shared(f"specs/examples/square/{name}.json").read_text())


def test_the_vendors_locations_become_stores(shop: Shop) -> None:
    shop.load("locations", example("locations_list")["locations"])
    park = next(row for row in shop.rows("stores") if row["source_store_id"] == "18YC4JDH91E1H")
    assert (park["name"], park["time_zone"], park["currency"]) == ("Grant Park", "America/Los_Angeles", "USD")
    assert (park["city"], park["street"], park["postal_code"]) == ("San Francisco", "123 Main St", "94114")
    assert (park["country_code"], park["is_active"], park["remark_code"]) == ("US", True, None)
    assert park["modified_at"] == datetime(2016, 9, 19, 17, 33, 12, tzinfo=UTC)


def test_a_location_in_no_known_zone_takes_the_fallback(shop: Shop) -> None:
    shop.load("locations", [{"id": "L1", "currency": "GBP", "timezone": "Mars/Olympus", "status": "INACTIVE"}])
    store = shop.row("stores")
    assert (store["time_zone"], store["remark_code"], store["is_active"]) == ("UTC", "unknown_time_zone", False)
    assert store["name"] == "L1"


def test_a_location_without_a_known_currency_is_quarantined(shop: Shop) -> None:
    shop.load("locations", [{"id": "A", "currency": "XXQ"}, {"id": "B"}])
    assert shop.reasons() == {"A": ["unknown currency XXQ"], "B": ["missing currency"]}


def test_the_vendors_items_become_one_product_per_variation(shop: Shop) -> None:
    shop.load("catalog", example("catalog_search")["objects"])
    names = {row["source_product_id"]: row["name"] for row in shop.rows("products")}
    assert names == {
        "5GSZPX6EU7MM75S57OONG3V5": "Tea - Black",
        "XVLBN7DU6JTWHJTG5F265B43": "Tea - Black, Large",
        "FHYBVIA6NVBCSOVETA62WEA4": "Tea - Green",
    }
    large = next(row for row in shop.rows("products") if row["name"].endswith("Large"))
    assert (large["price_amount"], large["currency"]) == (Decimal("2.25"), "USD")
    assert (large["sku"], large["remark_code"]) == (None, "no_sku")


def test_objects_that_are_no_variation_are_no_products(shop: Shop) -> None:
    shop.load("catalog", example("catalog_list")["objects"])
    assert shop.rows("products") == []


def test_a_variation_takes_name_text_and_category_from_its_item(shop: Shop) -> None:
    category = {"type": "CATEGORY", "id": "K1", "updated_at": "2024-01-01T00:00:00Z", "category_data": {"name": "Cups"}}
    thing = item(description="Blue.", categories=[{"id": "K1"}], updated_at="2024-05-01T00:00:00Z")
    cost = [{"unit_cost_money": money(400)}]
    shop.load("catalog", [category, thing, variation(name="Large", upc="5012345678900", vendor_information=cost)])
    product = shop.row("products")
    assert (product["name"], product["description"], product["category"]) == ("Mug, Large", "Blue.", "Cups")
    assert (product["sku"], product["gtin"]) == ("SKU-V1", "5012345678900")
    assert (product["price_amount"], product["cost_amount"]) == (Decimal("12.50"), Decimal("4.00"))
    # A new name of the item changes its variations too.
    assert product["modified_at"] == datetime(2024, 5, 1, tzinfo=UTC)
    assert (product["is_active"], product["remark_code"]) == (True, None)


def test_a_variation_listed_twice_is_one_product(shop: Shop) -> None:
    alone = variation(sku="NEW", updated_at="2024-06-01T00:00:00Z")
    shop.load("catalog", [item(variations=[variation(sku="OLD")]), alone])
    assert shop.row("products")["sku"] == "NEW"


@pytest.mark.parametrize("gone", [{"is_deleted": True}, {"item": {"is_archived": True}}])
def test_what_is_deleted_or_archived_is_not_active(shop: Shop, gone: dict[str, Any]) -> None:
    archived = gone.pop("item", {})
    shop.load("catalog", [item(**archived), variation(**gone)])
    assert shop.row("products")["is_active"] is False


def test_a_deleted_variation_without_data_keeps_the_name_it_had(shop: Shop) -> None:
    shop.load("catalog", [item(), variation(name="Large")])
    ghost = {"type": "ITEM_VARIATION", "id": "V1", "updated_at": "2024-09-01T00:00:00Z", "is_deleted": True}
    shop.load("catalog", [ghost])
    product = shop.row("products")
    assert (product["name"], product["is_active"]) == ("Mug, Large", False)


def test_skus_that_differ_by_case_only_are_remarked(shop: Shop) -> None:
    shop.load("catalog", [item(), variation("V1", sku="ab-1"), variation("V2", sku="AB-1"), variation("V3", sku="C")])
    remarks = {row["source_product_id"]: row["remark_code"] for row in shop.rows("products")}
    assert remarks == {"V1": "duplicate_sku_case", "V2": "duplicate_sku_case", "V3": None}


def test_skus_that_differ_by_blanks_only_are_remarked(shop: Shop) -> None:
    shop.load("catalog", [item(), variation("V1", sku="ab-1"), variation("V2", sku="ab-1 ")])
    assert {row["remark_code"] for row in shop.rows("products")} == {"duplicate_sku_case"}
    assert {row["sku"] for row in shop.rows("products")} == {"ab-1"}


def test_one_sku_on_two_variations_is_remarked(shop: Shop) -> None:
    shop.load("catalog", [item(), variation("V1", sku="A"), variation("V2", sku="A")])
    assert {row["remark_code"] for row in shop.rows("products")} == {"duplicate_sku"}


def test_a_deleted_variation_may_share_its_sku(shop: Shop) -> None:
    shop.load("catalog", [item(), variation("V1", sku="A"), variation("V2", sku="a", is_deleted=True)])
    assert {row["remark_code"] for row in shop.rows("products")} == {None}


def test_a_variation_in_an_unknown_currency_is_quarantined_without_its_sisters(shop: Shop) -> None:
    bad = variation("V1", price_money=money(1, "XXQ"))
    shop.load("catalog", [item(variations=[bad, variation("V2")]), bad, variation("V2")])
    assert shop.reasons() == {"V1": ["unknown currency XXQ"]}
    assert shop.row("products")["source_product_id"] == "V2"


def test_the_vendors_customers_are_read(shop: Shop) -> None:
    shop.load("customers", example("customers_search")["customers"])
    bond = next(row for row in shop.rows("customers") if row["last_name"] == "Bond")
    assert (bond["first_name"], bond["email"]) == ("James", "james.bond@example.com")
    assert (bond["street"], bond["city"], bond["country_code"]) == ("505 Electric Ave, Suite 600", "New York", "US")
    assert bond["phone"] == "+12125554250"
    assert (bond["is_email_unsubscribed"], bond["reference_id"]) == (False, "YOUR_REFERENCE_ID_2")
    assert bond["created_at"] == datetime(2018, 1, 23, 20, 21, 54, 859000, tzinfo=UTC)


def test_a_phone_without_country_code_is_read_in_the_customers_country(shop: Shop) -> None:
    shop.load("customers", [customer(phone_number="0821 234567", address={"country": "DE"})])
    assert shop.row("customers")["phone"] == "+49821234567"


def test_a_phone_of_nobodys_country_is_read_in_the_operators(shop: Shop) -> None:
    shop.load("customers", [customer(phone_number="020 7946 0018", address={"country": "ZZ"})])
    record = shop.row("customers")
    assert (record["phone"], record["country_code"]) == ("+442079460018", None)


def test_an_address_in_capitals_and_blanks_is_cleaned(shop: Shop) -> None:
    shop.load("customers", [customer(email_address="  Ada@Example.COM ")])
    assert shop.row("customers")["email"] == "ada@example.com"


@pytest.mark.parametrize("email", ["ada", "ada@", "@example.com", "a b@example.com", "ada@example", "ada@example..com"])
def test_what_cannot_be_an_address_is_dropped_with_a_remark(shop: Shop, email: str) -> None:
    shop.load("customers", [customer(email_address=email)])
    record = shop.row("customers")
    assert (record["email"], record["remark_code"]) == (None, "invalid_email")


def test_several_remarks_are_told_together(shop: Shop) -> None:
    shop.load("customers", [customer(email_address="ada", phone_number="12")])
    assert shop.row("customers")["remark_code"] == "invalid_email,invalid_phone"


def test_empty_texts_are_absent(shop: Shop) -> None:
    shop.load("customers", [customer(given_name=" ", email_address="", phone_number="", address={"country": ""})])
    record = shop.row("customers")
    assert [record[name] for name in ("first_name", "email", "phone", "country_code", "street", "remark_code")] == [
        None
    ] * 6


@pytest.mark.parametrize(
    ("written", "meant"), [("1998-09-21", date(1998, 9, 21)), ("0000-09-21", None), ("soon", None)]
)
def test_a_birthday_without_year_is_no_date_of_birth(shop: Shop, written: str, meant: date | None) -> None:
    shop.load("customers", [customer(birthday=written)])
    assert shop.row("customers")["birth_on"] == meant


def test_a_customer_without_time_of_change_is_quarantined(shop: Shop) -> None:
    shop.load("customers", [customer(updated_at=None)])
    assert shop.reasons() == {"C1": ["missing updated_at"]}


def test_the_vendors_count_becomes_a_stock_level(shop: Shop) -> None:
    shop.load("inventory_counts", example("inventory_counts")["counts"])
    level = shop.row("inventory_levels")
    assert (level["product_id"], level["store_id"]) == ("square:W62UWFY35CWMYGVWK6TWJDNI", "square:59TNP9SA8VGDA")
    assert level["quantity"] == 79


def test_the_newest_count_of_a_shelf_wins_and_less_than_nothing_is_remarked(shop: Shop) -> None:
    count = {"catalog_object_id": "V1", "location_id": "L1", "state": "IN_STOCK", "quantity": "5",
             "calculated_at": "2024-01-01T00:00:00Z"}  # fmt: skip
    shop.load("inventory_counts", [count, {**count, "quantity": "-1.5", "calculated_at": "2024-01-02T00:00:00Z"}])
    level = shop.row("inventory_levels")
    assert (level["quantity"], level["remark_code"]) == (Decimal("-1.5"), "negative_quantity")


def test_counts_that_cannot_be_read_are_quarantined(shop: Shop) -> None:
    count = {"catalog_object_id": "V1", "location_id": "L1", "quantity": "x", "calculated_at": "2024-01-01T00:00:00Z"}
    shop.load("inventory_counts", [count, {"catalog_object_id": "V2", "location_id": "L1", "quantity": "1"}])
    assert shop.reasons() == {"V1:L1": ["unparseable quantity"], "V2:L1": ["missing calculated_at"]}


def test_the_vendors_payment_is_read(shop: Shop) -> None:
    shop.load("payments", example("payments_list")["payments"])
    paid = shop.row("payments")
    assert (paid["amount"], paid["tip_amount"], paid["total_amount"]) == (Decimal("5.55"), Decimal(0), Decimal("5.55"))
    assert (paid["status"], paid["receipt_number"]) == ("completed", "bP9m")
    assert paid["transaction_id"] == "square:d7eKah653Z579f3gVtjlxpSlmUcZY"


def test_a_payment_equals_the_tender_it_paid(shop: Shop) -> None:
    tender = {"id": "P1", "type": "CARD", "amount_money": money(1000), "tip_money": money(100)}
    shop.load("orders", [order(line(total=900), total_money=money(1000), total_tip_money=money(100), tenders=[tender])])
    shop.load("payments", [payment()])
    paid, moved = shop.row("payments"), shop.row("transaction_tenders")
    assert (paid["payment_id"], paid["total_amount"]) == (moved["tender_id"], moved["amount"])
    assert paid["amount"] == Decimal(9)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("COMPLETED", "completed"), ("APPROVED", "pending"), ("PENDING", "pending"), ("CANCELED", "failed"),
     ("FAILED", "failed")],
)  # fmt: skip
def test_payment_states_are_told_in_our_words(shop: Shop, written: str, meant: str) -> None:
    shop.load("payments", [payment(status=written)])
    assert (shop.row("payments")["status"], shop.row("payments")["remark_code"]) == (meant, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"location_id": None}, "missing location_id"), ({"amount_money": None}, "missing amount_money"),
     ({"created_at": None}, "missing created_at"), ({"total_money": money(1, "EUR")}, "mixed currencies")],
)  # fmt: skip
def test_a_payment_that_cannot_be_read_is_quarantined(shop: Shop, fields: dict[str, Any], reason: str) -> None:
    shop.load("payments", [payment(**fields)])
    assert shop.reasons() == {"P1": [reason]}
    assert shop.rows("payments") == []


def test_a_refund_that_has_an_order_fills_nothing_itself(shop: Shop) -> None:
    shop.load("refunds", example("refunds_list")["refunds"])
    assert shop.quarantined == []
    assert shop.rows("transactions") == []


def test_a_refund_without_an_order_is_a_return_of_its_own(shop: Shop) -> None:
    shop.load("payments", [payment()])
    shop.load("refunds", [refund(payment_id="P1")])
    receipt = shop.row("transactions")
    assert (receipt["transaction_type"], receipt["total_amount"]) == ("return", Decimal("-5.55"))
    assert (receipt["is_countable"], receipt["refund_of_transaction_id"]) == (True, "square:O1")
    # 23:30 UTC is 00:30 in London: still the day before, by the cut-over at four.
    assert receipt["business_on"] == date(2024, 7, 1)
    back, moved = shop.row("transaction_lines"), shop.row("transaction_tenders")
    assert (back["line_type"], back["total_amount"], back["quantity"]) == ("custom", Decimal("-5.55"), -1)
    assert (moved["tender_type"], moved["amount"]) == ("card", Decimal("-5.55"))


@pytest.mark.parametrize(
    ("written", "status"),
    [("COMPLETED", "completed"), ("PENDING", "open"), ("REJECTED", "voided"), ("FAILED", "voided")],
)
def test_only_a_completed_refund_counts(shop: Shop, written: str, status: str) -> None:
    shop.load("refunds", [refund(status=written)])
    receipt = shop.row("transactions")
    assert (receipt["status"], receipt["is_countable"]) == (status, status == "completed")


def test_a_refund_that_gets_its_order_later_stops_counting_on_its_own(shop: Shop) -> None:
    shop.load("refunds", [refund(status="PENDING")])
    shop.load("refunds", [refund(order_id="R1", updated_at="2024-07-03T00:00:00Z")])
    receipt = shop.row("transactions")
    assert (receipt["status"], receipt["is_countable"]) == ("voided", False)
    assert receipt["remark_code"] == "superseded_by_order"
    assert shop.rows("transaction_tenders") == []


def test_a_refund_in_an_unknown_currency_is_quarantined(shop: Shop) -> None:
    shop.load("refunds", [refund(amount_money=money(1, "XXQ"))])
    assert shop.reasons() == {"F9": ["unknown currency XXQ"]}
