"""The shops on the Square stand-in: Square's arithmetic in every order, and the counts that the sources promise."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engage_pipelines.sandbox.shops import fill_from_online_retail, fill_made_up_shop, is_empty
from engage_pipelines.sandbox.shops.made_up_catalogue import check_digit
from engage_pipelines.sandbox.shops.order_shapes import spread
from engage_pipelines.sandbox.square import SquareStandIn
from engage_pipelines.sandbox.square.store import Search
from engage_pipelines_tests.shared_data import shared

AMOUNTS = ("total_money", "tax_money", "discount_money", "tip_money", "service_charge_money")


def records(stand_in: SquareStandIn, kind: str) -> list[dict[str, Any]]:
    found = stand_in.store.page(Search(kind, "created_at"), None, 1_000_000)
    return [json.loads(record.body) for record in found]


def cents(record: dict[str, Any], name: str) -> int:
    return int(record[name]["amount"])


def total(rows: list[dict[str, Any]], name: str) -> int:
    return sum(cents(row, name) for row in rows)


def listed(order: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return order.get(name, [])


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SquareStandIn]:
    stand_in = SquareStandIn(tmp_path_factory.mktemp("made-up"))
    assert is_empty(stand_in)
    fill_made_up_shop(stand_in, receipts=6_000)
    yield stand_in
    stand_in.close()


@pytest.fixture(scope="module")
def orders(made_up: SquareStandIn) -> list[dict[str, Any]]:
    return records(made_up, "order")


# --- Arithmetic ----------------------------------------------------------------------------------------------------


def test_spreading_loses_nothing_and_gives_the_rest_to_the_largest_remainders() -> None:
    assert spread(100, [1, 1, 1]) == [34, 33, 33]
    assert spread(5, [10, 30, 60]) == [1, 1, 3]
    assert spread(7, [0, 0]) == [0, 0]
    assert sum(spread(-101, [3, 5, 9])) == -101


def test_every_line_is_gross_less_discount_and_contains_its_tax(orders: list[dict[str, Any]]) -> None:
    for order in orders:
        returned = [line for part in listed(order, "returns") for line in part["return_line_items"]]
        for line in [*listed(order, "line_items"), *returned]:
            gross = cents(line, "gross_sales_money" if "gross_sales_money" in line else "gross_return_money")
            assert gross - cents(line, "total_discount_money") == cents(line, "total_money") >= 0
            assert total(line.get("applied_discounts", []), "applied_money") == cents(line, "total_discount_money")
            assert total(line.get("applied_taxes", []), "applied_money") == cents(line, "total_tax_money")
            assert cents(line, "total_tax_money") * 6 <= cents(line, "total_money") + 6


def test_every_line_is_quantity_times_price_and_its_modifiers(orders: list[dict[str, Any]]) -> None:
    for order in orders:
        for line in listed(order, "line_items"):
            exact = Decimal(line["quantity"]) * cents(line, "base_price_money")
            variation = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
            assert cents(line, "variation_total_price_money") == variation
            gross = variation + total(line.get("modifiers", []), "total_price_money")
            assert cents(line, "gross_sales_money") == gross


def test_every_order_is_the_sum_of_its_lines_charges_and_tips(orders: list[dict[str, Any]]) -> None:
    for order in orders:
        lines, charges = listed(order, "line_items"), listed(order, "service_charges")
        service = total(charges, "total_money")
        assert cents(order, "total_service_charge_money") == service
        assert cents(order, "total_discount_money") == total(lines, "total_discount_money")
        assert cents(order, "total_discount_money") == total(listed(order, "discounts"), "applied_money")
        tax = total(lines, "total_tax_money") + total(charges, "total_tax_money")
        assert cents(order, "total_tax_money") == tax == total(listed(order, "taxes"), "applied_money")
        expected = total(lines, "total_money") + service + cents(order, "total_tip_money")
        assert cents(order, "total_money") == expected


def test_the_net_of_every_order_is_what_was_sold_less_what_came_back(orders: list[dict[str, Any]]) -> None:
    for order in orders:
        back = order.get("return_amounts")
        for name in AMOUNTS:
            sold = cents(order, name if name == "total_money" else f"total_{name}")
            assert cents(order["net_amounts"], name) == sold - (cents(back, name) if back else 0)
        lines = [line for part in listed(order, "returns") for line in part["return_line_items"]]
        assert (cents(back, "total_money") if back else 0) == total(lines, "total_money")


def test_tenders_less_refunds_are_the_net_of_every_completed_order(orders: list[dict[str, Any]]) -> None:
    for order in orders:
        tenders, refunds = listed(order, "tenders"), listed(order, "refunds")
        if order["state"] != "COMPLETED":
            assert not tenders
            continue
        paid = total(tenders, "amount_money") - total(refunds, "amount_money")
        assert paid == cents(order["net_amounts"], "total_money")
        assert sum(cents(t, "tip_money") for t in tenders if "tip_money" in t) == cents(order, "total_tip_money")


def test_a_payment_is_its_tender_without_the_tip(made_up: SquareStandIn, orders: list[dict[str, Any]]) -> None:
    payments = {payment["id"]: payment for payment in records(made_up, "payment")}
    tenders = [tender for order in orders for tender in listed(order, "tenders")]
    assert len(tenders) == len(payments)
    for tender in tenders:
        payment = payments[tender["payment_id"]]
        tip = cents(tender, "tip_money") if "tip_money" in tender else 0
        assert cents(tender, "amount_money") == cents(payment, "total_money") == cents(payment, "amount_money") + tip
        assert payment["order_id"] == tender["transaction_id"]
        assert payment["receipt_number"] == payment["id"][:4]


def test_every_refund_stands_on_an_order_and_on_its_payment(
    made_up: SquareStandIn, orders: list[dict[str, Any]]
) -> None:
    payments = {payment["id"]: payment for payment in records(made_up, "payment")}
    refunds = records(made_up, "refund")
    on_orders = {refund["id"]: order["id"] for order in orders for refund in listed(order, "refunds")}
    assert {refund["id"]: refund["order_id"] for refund in refunds} == on_orders
    for refund in refunds:
        payment = payments[refund["payment_id"]]
        assert refund["id"] in payment["refund_ids"]
        assert cents(refund, "amount_money") <= cents(payment, "refunded_money") <= cents(payment, "total_money")


def test_returns_name_the_order_and_the_lines_they_take_back(orders: list[dict[str, Any]]) -> None:
    by_id = {order["id"]: order for order in orders}
    returns = [(order, part) for order in orders for part in listed(order, "returns")]
    assert returns
    for order, part in returns:
        source = by_id[part["source_order_id"]]
        assert source["closed_at"] < order["created_at"]
        lines = {line["uid"]: line for line in source["line_items"]}
        for line in part["return_line_items"]:
            origin = lines[line["source_line_item_uid"]]
            assert line.get("catalog_object_id") == origin.get("catalog_object_id")
            assert Decimal(line["quantity"]) <= Decimal(origin["quantity"])


# --- The made-up shop ----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_shop_and_another_seed_another(tmp_path: Path) -> None:
    stand_ins = [SquareStandIn(tmp_path / str(number)) for number in range(3)]
    for stand_in, seed in zip(stand_ins, (1, 1, 2), strict=True):
        fill_made_up_shop(stand_in, receipts=300, seed=seed)
    kinds = ("order", "payment", "refund", "customer", "catalog", "count")
    first, again, other = ([records(stand_in, kind) for kind in kinds] for stand_in in stand_ins)
    for stand_in in stand_ins:
        stand_in.close()
    assert first == again
    assert first != other


def test_a_filled_till_is_not_empty_and_progress_ends_at_the_last_receipt(tmp_path: Path) -> None:
    stand_in = SquareStandIn(tmp_path)
    told: list[tuple[int, int]] = []
    fill_made_up_shop(stand_in, receipts=700, progress=lambda done, of: told.append((done, of)))
    empty, report = is_empty(stand_in), stand_in.report()
    stand_in.close()
    assert not empty
    assert told[-1] == (700, 700)
    assert report["all"]["receipts"] == 700


def test_a_filling_that_breaks_off_leaves_an_empty_till(tmp_path: Path) -> None:
    def give_up(done: int, of: int) -> None:
        raise KeyboardInterrupt

    stand_in = SquareStandIn(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fill_made_up_shop(stand_in, receipts=600, progress=give_up)
    empty, report = is_empty(stand_in), stand_in.report()
    stand_in.close()
    assert empty
    assert report["all"]["receipts"] == report["customers"] == 0


def test_kinds_of_receipts_come_in_the_shares_of_a_shop(orders: list[dict[str, Any]]) -> None:
    share = 100 / len(orders)
    states = Counter(order["state"] for order in orders)
    backs = [order for order in orders if listed(order, "returns")]
    pure = [order for order in backs if not listed(order, "line_items")]
    assert 3 < len(pure) * share < 5
    assert 0.5 < (len(backs) - len(pure)) * share < 1.6
    assert 0.5 < states["CANCELED"] * share < 1.6
    assert 3 <= states["OPEN"] <= 12
    assert 60 < sum("customer_id" in order for order in orders) * share < 70
    late = [order for order in orders if order["version"] > 1]
    assert 0.3 < len(late) * share < 1.2
    for order in late:
        waited = datetime.fromisoformat(order["updated_at"]) - datetime.fromisoformat(order["closed_at"])
        assert 1 <= waited.total_seconds() / 86_400 <= 3.1


def test_receipts_lie_in_the_stores_days_hours_and_currencies(
    made_up: SquareStandIn, orders: list[dict[str, Any]]
) -> None:
    stores = {store["id"]: store for store in records(made_up, "location")}
    assert sorted(store["currency"] for store in stores.values()) == ["EUR", "GBP", "GBP"]
    for order in orders:
        store = stores[order["location_id"]]
        local = datetime.fromisoformat(order["created_at"]).astimezone(ZoneInfo(store["timezone"]))
        assert date(2024, 10, 1) <= local.date() <= date(2026, 10, 14)
        assert 9 <= local.hour < 20
        assert order["total_money"]["currency"] == store["currency"]


def test_receipts_show_what_real_ones_show(orders: list[dict[str, Any]]) -> None:
    lines = [line for order in orders for line in listed(order, "line_items")]
    assert any("modifiers" in line for line in lines)
    assert any("." in line["quantity"] and "quantity_unit" in line for line in lines)
    assert any(line["item_type"] == "CUSTOM_AMOUNT" and "catalog_object_id" not in line for line in lines)
    assert any(cents(line, "gross_sales_money") == 0 for line in lines)
    assert {"damaged", "?", "check"} <= {line["name"] for line in lines}
    assert any(order.get("service_charges") for order in orders)
    assert any(len(listed(order, "tenders")) == 2 for order in orders)
    scopes = {discount["scope"] for order in orders for discount in listed(order, "discounts")}
    assert scopes == {"LINE_ITEM", "ORDER"}
    tipped = Counter(order["location_id"] for order in orders if cents(order, "total_tip_money"))
    assert tipped.most_common(1)[0][0] == "LPARIS00000003"


def test_the_catalogue_has_its_oddities_and_right_check_digits(made_up: SquareStandIn) -> None:
    found = records(made_up, "catalog")
    kinds = Counter(entry["type"] for entry in found)
    assert kinds["ITEM_VARIATION"] == 300
    assert kinds["ITEM"] == 121
    variations = [entry["item_variation_data"] for entry in found if entry["type"] == "ITEM_VARIATION"]
    skus = Counter(variation.get("sku") for variation in variations)
    assert skus[None] == 1
    assert {"mug-01", "MUG-01"} <= set(skus)
    assert max(skus.values()) == 1
    codes = [variation["upc"] for variation in variations if "upc" in variation]
    assert {len(code) for code in codes} == {12, 13}
    assert len(set(codes)) == len(codes)
    assert all(check_digit(code[:-1]) == code[-1] for code in codes)
    assert all(variation["vendor_information"] for variation in variations)


def test_check_digits_are_those_of_published_numbers() -> None:
    assert check_digit("400638133393") == "1"
    assert check_digit("03600029145") == "2"


def test_stock_is_counted_once_per_variation_and_store(made_up: SquareStandIn) -> None:
    counts = records(made_up, "count")
    keys = {(count["catalog_object_id"], count["location_id"]) for count in counts}
    assert len(keys) == len(counts) == 720
    quantities = [Decimal(count["quantity"]) for count in counts]
    assert min(quantities) < 0 < max(quantities)
    assert any(quantity == 0 for quantity in quantities)


def test_customers_are_nobody_and_some_cannot_be_reached(made_up: SquareStandIn, orders: list[dict[str, Any]]) -> None:
    customers = {customer["id"]: customer for customer in records(made_up, "customer")}
    assert len(customers) == 1500
    mails = [customer["email_address"] for customer in customers.values() if "email_address" in customer]
    assert len(set(mails)) == len(mails)
    assert all(mail.split("@")[1] in {"example.com", "example.org"} for mail in mails)
    assert 1300 < len(mails) < 1400
    sound = ("+447700900", "07700 900", "+336399800", "+33199")
    phones = [customer["phone_number"] for customer in customers.values() if "phone_number" in customer]
    assert 20 < sum(not phone.startswith(sound) for phone in phones) < 75
    assert any("email_address" not in c and "phone_number" not in c for c in customers.values())
    assert any(";" in c["family_name"] and '"' in c["given_name"] for c in customers.values())
    for order in orders:
        if "customer_id" in order:
            assert customers[order["customer_id"]]["created_at"] < order["created_at"]


# --- Online Retail -------------------------------------------------------------------------------------------------

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


def from_rows(directory: Path, *rows: tuple[str, ...]) -> SquareStandIn:
    columns = {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
    pq.write_table(pa.table(columns), directory / "rows.parquet")
    stand_in = SquareStandIn(directory)
    fill_from_online_retail(stand_in, directory / "rows.parquet")
    return stand_in


def test_an_invoice_becomes_an_order_with_dirty_lines_as_they_were(tmp_path: Path) -> None:
    stand_in = from_rows(
        tmp_path,
        ("536365", "85123A", " WHITE HANGER ", "6", "2011-07-01 08:27:00", "2.55", "17850.0", "EIRE"),
        ("536366", "M", "", "1", "2011-07-01 09:00:00", "1.00", "", "Unspecified"),
        ("536365", "85123a", "?", "-2", "2011-07-01 08:26:00", "0.0", "17850.0", "EIRE"),
    )
    first, second = records(stand_in, "order")
    customers, catalogue = records(stand_in, "customer"), records(stand_in, "catalog")
    stand_in.close()
    assert first["reference_id"] == "536365"
    assert first["created_at"] == first["closed_at"] == first["updated_at"] == "2011-07-01T07:26:00.000Z"
    assert [(line["name"], line["quantity"]) for line in first["line_items"]] == [(" WHITE HANGER ", "6")]
    back = first["returns"][0]["return_line_items"]
    assert [(line["name"], line["quantity"], line["uid"]) for line in back] == [("?", "2", "2")]
    assert cents(first["net_amounts"], "total_money") == 1530
    assert "name" not in second["line_items"][0]
    assert "customer_id" not in second
    assert [(c["id"], c["address"]) for c in customers] == [("17850", {"country": "IE"})]
    names = {entry["id"]: entry["item_data"]["name"] for entry in catalogue if entry["type"] == "ITEM"}
    assert names == {"ITEM-85123A": "WHITE HANGER", "ITEM-85123a": "?", "ITEM-M": "M"}


def test_a_negative_price_comes_back_as_a_positive_return(tmp_path: Path) -> None:
    row = ("A563186", "B", "Adjust bad debt", "1", "2011-08-12 14:51:00", "-11062.06", "", "United Kingdom")
    stand_in = from_rows(tmp_path, row)
    (order,) = records(stand_in, "order")
    stand_in.close()
    assert "line_items" not in order
    assert cents(order["returns"][0]["return_line_items"][0], "total_money") == 1_106_206
    assert cents(order["net_amounts"], "total_money") == -1_106_206


def test_a_price_finer_than_the_till_can_hold_stops_the_filling(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="three decimals"):
        from_rows(tmp_path, ("1", "A", "x", "1", "2011-08-12 14:51:00", "0.0001", "", "France"))


def test_the_real_shop_holds_what_its_documentation_counts(tmp_path: Path) -> None:
    parquet = shared("data/online_retail/online_retail.parquet")
    stand_in = SquareStandIn(tmp_path)
    fill_from_online_retail(stand_in, parquet)
    report = stand_in.report()
    stand_in.close()
    assert report["all"] == report["countable"]
    assert report["all"]["receipts"] == 25_900
    assert report["all"]["lines"] == 541_909
    assert report["all"]["amount"] == {"GBP": "9747747.93"}
    assert report["customers"] == 4_372
    assert report["items"] == report["variations"] == 4_070
    assert report["payments"] == report["refunds"] == report["counts"] == 0
