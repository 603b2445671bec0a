"""What becomes of the lines of Square's orders, and which orders cannot be read at all."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from engage_pipelines.sources.square import SQUARE
from engage_pipelines_tests.shared_data import shared
from engage_pipelines_tests.sources.square.mapping import Shop
from engage_pipelines_tests.sources.square.records import line, money, order

MUG = {
    "product_id": "square:V1", "source": "square", "source_product_id": "V1", "sku": "MUG-1", "name": "Blue mug",
    "is_active": True, "modified_at": "2024-01-01 00:00:00+00", "load_id": "before",
}  # fmt: skip


def test_a_line_takes_sku_from_the_catalogue_and_keeps_its_own_name(shop: Shop) -> None:
    shop.put("products", MUG)
    shop.load("orders", [order(line(catalog_object_id="V1", name="  Mug (blue) ", variation_name="Regular"))])
    sold = shop.row("transaction_lines")
    assert (sold["product_id"], sold["sku"], sold["name"]) == ("square:V1", "MUG-1", "Mug (blue)")
    assert (sold["line_id"], sold["source_line_id"]) == ("square:O1:a", "a")


def test_a_clerks_note_is_replaced_by_the_catalogues_name(shop: Shop) -> None:
    shop.put("products", MUG)
    shop.load("orders", [order(line("a", catalog_object_id="V1", name="?damaged"), line("b", name="check"))])
    known, unknown = shop.rows("transaction_lines")
    assert (known["name"], known["remark_code"]) == ("Blue mug", "clerk_note")
    assert (unknown["name"], unknown["remark_code"]) == ("check", "clerk_note")


def test_what_counts_as_a_note_is_a_setting(shop: Shop) -> None:
    shop.load("orders", [order(line(name="check"))], note_pattern="")
    assert shop.row("transaction_lines")["remark_code"] is None


def test_a_line_without_a_name_takes_what_there_is(shop: Shop) -> None:
    shop.put("products", MUG)
    shop.load("orders", [order(line("a", name=None, catalog_object_id="V1"), line("b", name=" "))])
    known, unknown = shop.rows("transaction_lines")
    assert (known["name"], known["remark_code"]) == ("Blue mug", "no_name")
    assert (unknown["name"], unknown["remark_code"]) == ("unnamed", "no_name")


def test_a_negative_quantity_on_a_sold_line_is_kept_with_a_remark(shop: Shop) -> None:
    shop.load("orders", [order(line(total=-1000, quantity="-2"))])
    sold = shop.row("transaction_lines")
    assert (sold["quantity"], sold["is_return"], sold["remark_code"]) == (-2, False, "negative_quantity")


def test_a_weighed_quantity_keeps_its_five_decimals(shop: Shop) -> None:
    shop.load("orders", [order(line(quantity="1.23456"))])
    assert shop.row("transaction_lines")["quantity"] == Decimal("1.23456")


def test_a_line_without_unit_price_gets_it_from_its_gross(shop: Shop) -> None:
    bare = line(quantity="4", total=1000)
    del bare["base_price_money"]
    shop.load("orders", [order(bare)])
    assert shop.row("transaction_lines")["unit_price_amount"] == Decimal("2.50")


def test_line_types_are_told_in_our_words(shop: Shop) -> None:
    lines = [line(uid, item_type=kind) for uid, kind in (("a", "ITEM"), ("b", "CUSTOM_AMOUNT"), ("c", "GIFT_CARD"))]
    shop.load("orders", [order(*lines)])
    assert [row["line_type"] for row in shop.rows("transaction_lines")] == ["item", "custom", "gift_card"]


def test_lines_without_uid_get_a_key_from_their_place(shop: Shop) -> None:
    shop.load("orders", [order(line(uid=""), line(uid=""))])
    assert [row["source_line_id"] for row in shop.rows("transaction_lines")] == ["line-1", "line-2"]


def test_an_unknown_field_disturbs_nothing(shop: Shop) -> None:
    shop.load("orders", [order(line(brand_new={"x": 1}), brand_new=[1, 2])])
    assert (len(shop.rows("transactions")), shop.quarantined) == (1, [])


def test_an_order_without_lines_is_a_receipt_of_nothing(shop: Shop) -> None:
    shop.load("orders", [order(state="DRAFT", total_money=None)])
    receipt = shop.row("transactions")
    assert (receipt["total_amount"], receipt["line_count"], receipt["currency"]) == (Decimal(0), 0, "GBP")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (order(line(), location_id=None), "missing location_id"),
        (order(line(), created_at=None), "missing created_at"),
        (order(line(), updated_at=None), "missing updated_at"),
        (order(line(quantity="a few")), "unparseable quantity"),
        (order(line(quantity=None)), "unparseable quantity"),
        (order(line(currency="XXQ"), currency="XXQ"), "unknown currency XXQ"),
        (order(line("a"), line("b", currency="EUR")), "mixed currencies"),
        (order(line("a"), line("a")), "repeated line uid"),
        (order(line(), total_money=money(10**17)), "amount out of range"),
        (order(total_money=None, location_id="L77"), "missing currency"),
        (order({"uid": "a", "quantity": "1", "total_money": {"amount": 0}}, total_money=money(0)), None),
        (order({"uid": "a", "quantity": "1", "total_money": {"amount": None}}, total_money=money(0)),
         "line without price"),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_read_is_quarantined_alone(shop: Shop, bad: dict[str, Any], reason: str | None) -> None:
    shop.load("orders", [bad, order(line(), order_id="GOOD")])
    assert shop.reasons() == ({"O1": [reason]} if reason else {})
    kept = [row["source_transaction_id"] for row in shop.rows("transactions")]
    assert kept == (["GOOD"] if reason else ["GOOD", "O1"])


def test_an_order_without_id_is_quarantined(shop: Shop) -> None:
    shop.load("orders", [order(line(), order_id=None)])
    assert shop.reasons() == {None: ["missing id"]}
    assert shop.rows("transactions") == []


def test_the_newest_version_of_an_order_wins(shop: Shop) -> None:
    shop.load("orders", [order(line(), state="OPEN"), order(line(), updated_at="2024-07-03T00:00:00Z", version=4)])
    receipt = shop.row("transactions")
    assert (receipt["version"], receipt["status"]) == (4, "completed")


def test_an_order_that_lost_a_line_loses_it_in_core_too(shop: Shop) -> None:
    shop.load("orders", [order(line("a"), line("b"))])
    shop.load("orders", [order(line("a"), updated_at="2024-07-03T00:00:00Z")])
    assert [row["source_line_id"] for row in shop.rows("transaction_lines")] == ["a"]


def test_the_short_form_of_orders_is_read_for_the_proof(shop: Shop) -> None:
    text = shared("specs/examples/square/search_orders_entries.json").read_text()
    entries = [json.dumps(each) for each in json.loads(text)["order_entries"]]
    run = shop.connection.execute
    run("create temp table proof as select unnest(?::varchar[])::json as record", [entries])
    listed = run((SQUARE.folder / "orders_proof.sql").read_text()).fetchall()
    assert listed[0] == ("057P5VYJ4A5X1", "CAISEM82RcpmcFBM0TfOyiHV3es", 1)
    assert listed[1] == ("18YC4JDH91E1H", "CAISENgvlJ6jLWAzERDzjyHVybY", None)
