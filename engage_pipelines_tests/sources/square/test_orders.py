"""What becomes of Square's orders: money, time, kind, lines and tenders."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from engage_pipelines_tests.shared_data import shared
from engage_pipelines_tests.sources.square.mapping import LONDON, Shop
from engage_pipelines_tests.sources.square.records import line, money, order, return_order, returned_line


def example(name: str) -> Any:
    return json.loads(shared(f"specs/examples/square/{name}.json").read_text())


def assert_in_balance(shop: Shop) -> None:
    """The equation at the top of transactions.sql, for every row."""
    for row in shop.rows("transactions"):
        lines = [each for each in shop.rows("transaction_lines") if each["transaction_id"] == row["transaction_id"]]
        around = row["tip_amount"] + row["service_charge_amount"] + row["rounding_amount"]
        assert sum((each["total_amount"] for each in lines), around) == row["total_amount"]
        assert sum(each["gross_amount"] for each in lines) == row["gross_amount"]
        assert row["line_count"] == len(lines)
        assert row["remark_code"] is None


def test_the_vendors_own_example_adds_up_to_the_cent(shop: Shop) -> None:
    shop.load("orders", [example("order_with_taxes_and_discounts")["order"]])
    first, second = sorted(shop.rows("transaction_lines"), key=lambda row: row["line_number"])
    assert (first["gross_amount"], first["discount_amount"], first["tax_amount"], first["total_amount"]) == (
        Decimal("15.99"), Decimal("0.87"), Decimal("1.36"), Decimal("16.48"),
    )  # fmt: skip
    assert (second["gross_amount"], second["discount_amount"], second["tax_amount"], second["total_amount"]) == (
        Decimal("45.00"), Decimal("3.46"), Decimal("3.74"), Decimal("45.28"),
    )  # fmt: skip
    assert second["quantity"] == 2
    assert second["unit_price_amount"] == Decimal("22.00")
    assert second["name"] == "New York Steak, Larger"
    receipt = shop.row("transactions")
    assert receipt["total_amount"] == Decimal("61.76")
    assert receipt["gross_amount"] - receipt["discount_amount"] + receipt["tax_amount"] == Decimal("61.76")
    assert (receipt["currency"], receipt["channel"], receipt["receipt_number"]) == ("USD", "My App", "my-order-001")
    assert (receipt["status"], receipt["is_countable"], receipt["closed_at"]) == ("open", False, None)
    assert_in_balance(shop)


def test_a_paid_order_of_the_vendors_has_its_tenders(shop: Shop) -> None:
    shop.load("orders", [example("pay_order_response")["order"]])
    receipt = shop.row("transactions")
    assert (receipt["status"], receipt["is_countable"], receipt["version"]) == ("completed", True, 4)
    assert receipt["modified_at"] == datetime(2019, 8, 6, 2, 47, 37, 140000, tzinfo=UTC)
    tenders = shop.rows("transaction_tenders")
    assert [tender["amount"] for tender in tenders] == [Decimal("10.00"), Decimal("10.00")]
    assert {tender["tender_type"] for tender in tenders} == {"card"}
    assert_in_balance(shop)


def test_all_order_examples_of_the_vendor_are_read(shop: Shop) -> None:
    old = [{**each, "created_at": "2019-01-01T00:00:00Z", "updated_at": "2019-01-01T00:00:00Z"}
           for each in example("batch_retrieve_orders")["orders"]]  # fmt: skip
    shop.load("orders", [*old, example("order_with_discounts")["order"]])
    assert shop.quarantined == []
    assert len(shop.rows("transactions")) == 2
    assert_in_balance(shop)


@pytest.mark.parametrize(
    ("currency", "written", "meant"), [("JPY", 1500, "1500"), ("GBP", 1500, "15.00"), ("KWD", 1500, "1.500")]
)
def test_the_currency_says_where_the_decimal_point_goes(shop: Shop, currency: str, written: int, meant: str) -> None:
    shop.load("orders", [order(line(total=written, currency=currency), currency=currency)])
    assert shop.row("transactions")["total_amount"] == Decimal(meant)
    assert shop.row("transaction_lines")["unit_price_amount"] == Decimal(meant)


def test_a_sale_after_midnight_belongs_to_the_business_day_before(shop: Shop) -> None:
    # 02:30 UTC is 03:30 in London in July: before the cut-over at four.
    shop.load("orders", [order(line(), closed_at="2024-07-02T02:30:00Z")])
    receipt = shop.row("transactions")
    assert receipt["business_on"] == date(2024, 7, 1)
    assert receipt["utc_offset_minutes"] == 60
    assert receipt["closed_at"] == datetime(2024, 7, 2, 2, 30, tzinfo=UTC)


def test_a_sale_after_the_cut_over_belongs_to_its_own_day(shop: Shop) -> None:
    shop.load("orders", [order(line(), closed_at="2024-07-02T03:00:00Z")])
    assert shop.row("transactions")["business_on"] == date(2024, 7, 2)


def test_in_winter_the_store_has_another_offset(shop: Shop) -> None:
    shop.load("orders", [order(line(), closed_at="2024-01-02T04:00:00Z")])
    receipt = shop.row("transactions")
    assert (receipt["utc_offset_minutes"], receipt["business_on"]) == (0, date(2024, 1, 2))


def test_a_zone_west_of_greenwich_has_a_negative_offset(shop: Shop) -> None:
    shop.put("stores", {**LONDON, "store_id": "square:L2", "source_store_id": "L2", "time_zone": "America/Los_Angeles"})
    shop.load("orders", [order(line(), location_id="L2", closed_at="2024-07-02T06:00:00Z")])
    receipt = shop.row("transactions")
    assert (receipt["utc_offset_minutes"], receipt["business_on"]) == (-420, date(2024, 7, 1))


def test_an_order_of_an_unknown_store_takes_the_fallback_zone(shop: Shop) -> None:
    shop.load("orders", [order(line(), location_id="L77")])
    receipt = shop.row("transactions")
    assert (receipt["store_id"], receipt["utc_offset_minutes"]) == ("square:L77", 0)


@pytest.mark.parametrize(
    ("state", "status", "countable"),
    [
        ("COMPLETED", "completed", True),
        ("OPEN", "open", False),
        ("DRAFT", "open", False),
        ("CANCELED", "voided", False),
    ],
)
def test_only_completed_orders_count(shop: Shop, state: str, status: str, countable: bool) -> None:
    shop.load("orders", [order(line(), state=state)])
    receipt = shop.row("transactions")
    assert (receipt["status"], receipt["is_countable"]) == (status, countable)


def test_a_state_that_is_new_is_kept_open_with_a_remark(shop: Shop) -> None:
    shop.load("orders", [order(line(), state="PARKED")])
    receipt = shop.row("transactions")
    assert (receipt["status"], receipt["remark_code"]) == ("open", "unknown_state")


def test_orders_of_a_test_source_do_not_count(shop: Shop) -> None:
    shop.load("orders", [order(line(), source={"name": "Training till"})], test_source_pattern="^Training")
    receipt = shop.row("transactions")
    assert (receipt["is_test"], receipt["is_countable"]) == (True, False)


def test_a_tip_is_in_the_total_and_in_the_tender(shop: Shop) -> None:
    tender = {"id": "P1", "type": "CARD", "amount_money": money(1150), "tip_money": money(150)}
    tipped = order(line(), total_money=money(1150), total_tip_money=money(150), tenders=[tender])
    shop.load("orders", [tipped])
    receipt = shop.row("transactions")
    assert (receipt["total_amount"], receipt["tip_amount"]) == (Decimal("11.50"), Decimal("1.50"))
    paid = shop.row("transaction_tenders")
    assert (paid["tender_id"], paid["amount"], paid["tip_amount"]) == ("square:P1", Decimal("11.50"), Decimal("1.50"))
    assert_in_balance(shop)


def test_a_service_charge_of_its_own_stands_beside_the_lines(shop: Shop) -> None:
    charge = {"treatment_type": "LINE_ITEM_TREATMENT", "applied_money": money(100), "total_tax_money": money(20),
              "total_money": money(120)}  # fmt: skip
    shop.load("orders", [order(line(), service_charges=[charge], total_money=money(1120), total_tax_money=money(20))])
    receipt = shop.row("transactions")
    assert (receipt["service_charge_amount"], receipt["tax_amount"]) == (Decimal("1.20"), Decimal("0.20"))
    assert_in_balance(shop)


def test_a_service_charge_spread_over_the_lines_is_counted_there_only(shop: Shop) -> None:
    charge = {"treatment_type": "APPORTIONED_TREATMENT", "applied_money": money(100), "total_money": money(100)}
    spread = line(total_money=money(1100), total_service_charge_money=money(100))
    shop.load("orders", [order(spread, service_charges=[charge])])
    receipt = shop.row("transactions")
    assert (receipt["service_charge_amount"], receipt["total_amount"]) == (Decimal(0), Decimal("11.00"))
    assert shop.row("transaction_lines")["service_charge_amount"] == Decimal("1.00")
    assert_in_balance(shop)


def test_cash_rounding_is_part_of_the_total(shop: Shop) -> None:
    shop.load(
        "orders", [order(line(total=998), total_money=money(1000), rounding_adjustment={"amount_money": money(2)})]
    )
    assert shop.row("transactions")["rounding_amount"] == Decimal("0.02")
    assert_in_balance(shop)


def test_inclusive_tax_stays_inside_the_gross(shop: Shop) -> None:
    shop.load("orders", [order(line(total=1200, total_tax_money=money(200)))])
    sold = shop.row("transaction_lines")
    assert (sold["gross_amount"], sold["tax_amount"], sold["total_amount"]) == (Decimal(12), Decimal(2), Decimal(12))
    assert_in_balance(shop)


def test_a_receipt_that_does_not_add_up_is_kept_with_a_remark(shop: Shop) -> None:
    shop.load("orders", [order(line(), total_money=money(1234))])
    receipt = shop.row("transactions")
    assert (receipt["total_amount"], receipt["remark_code"]) == (Decimal("12.34"), "amounts_do_not_add_up")


def test_a_return_is_negative_throughout_and_names_what_it_returns(shop: Shop) -> None:
    shop.load(
        "orders", [return_order(returned_line(quantity="2", source_line_item_uid="a", total_tax_money=money(100)))]
    )
    receipt = shop.row("transactions")
    assert (receipt["transaction_type"], receipt["refund_of_transaction_id"]) == ("return", "square:O1")
    assert (receipt["total_amount"], receipt["gross_amount"]) == (Decimal(-10), Decimal(-10))
    back = shop.row("transaction_lines")
    assert (back["is_return"], back["quantity"], back["refund_of_line_id"]) == (True, -2, "square:O1:a")
    assert (back["total_amount"], back["tax_amount"], back["unit_price_amount"]) == (
        Decimal(-10),
        Decimal(-1),
        Decimal(10),
    )
    assert shop.row("transaction_tenders")["amount"] == Decimal(-10)
    assert_in_balance(shop)


def test_the_net_amount_is_the_total_where_square_tells_it(shop: Shop) -> None:
    shop.load(
        "orders", [return_order(returned_line(), total_money=money(0), net_amounts={"total_money": money(-1000)})]
    )
    assert shop.row("transactions")["total_amount"] == Decimal(-10)
    assert_in_balance(shop)


def test_an_exchange_sells_and_returns_in_one_receipt(shop: Shop) -> None:
    exchange = return_order(
        returned_line("r", 700), line_items=[line("a", 1000)], total_money=money(1000), refunds=None,
        tenders=[{"id": "P2", "type": "CASH", "amount_money": money(300)}],
    )  # fmt: skip
    shop.load("orders", [exchange])
    receipt = shop.row("transactions")
    assert (receipt["transaction_type"], receipt["total_amount"], receipt["line_count"]) == ("exchange", Decimal(3), 2)
    assert [row["line_number"] for row in shop.rows("transaction_lines")] == [1, 2]
    assert shop.row("transaction_tenders")["tender_type"] == "cash"
    assert_in_balance(shop)


def test_a_returned_tip_service_charge_and_rounding_are_taken_off(shop: Shop) -> None:
    entry = {
        "return_tips": [{"applied_money": money(150), "source_tender_id": "P1"}],
        "return_service_charges": [{"applied_money": money(100), "total_money": money(100)}],
        "rounding_adjustment": {"amount_money": money(2)},
        "return_amounts": {"total_money": money(1252), "tip_money": money(150)},
    }
    refund = {"id": "F1", "tender_id": "P1", "status": "APPROVED", "amount_money": money(1252)}
    shop.load("orders", [return_order(returned_line(), entry=entry, return_amounts=None, refunds=[refund])])
    receipt = shop.row("transactions")
    assert (receipt["tip_amount"], receipt["service_charge_amount"]) == (Decimal("-1.50"), Decimal(-1))
    assert (receipt["rounding_amount"], receipt["total_amount"]) == (Decimal("-0.02"), Decimal("-12.52"))
    assert shop.row("transaction_tenders")["tip_amount"] == Decimal("-1.50")
    assert_in_balance(shop)


def test_a_refund_takes_the_kind_of_the_payment_it_gives_back(shop: Shop) -> None:
    shop.load("orders", [order(line(), tenders=[{"id": "P1", "type": "CASH", "amount_money": money(1000)}])])
    shop.load("orders", [return_order(returned_line())])
    assert {row["tender_type"] for row in shop.rows("transaction_tenders")} == {"cash"}


def test_a_sale_that_mentions_its_later_refund_is_not_refunded_twice(shop: Shop) -> None:
    refund = {"id": "F1", "tender_id": "P1", "status": "APPROVED", "amount_money": money(1000)}
    sale = order(line(), tenders=[{"id": "P1", "type": "CARD", "amount_money": money(1000)}], refunds=[refund])
    shop.load("orders", [sale, return_order(returned_line())])
    by_receipt = {row["transaction_id"]: row["amount"] for row in shop.rows("transaction_tenders")}
    assert by_receipt == {"square:O1": Decimal(10), "square:R1": Decimal(-10)}


def test_a_refused_refund_moves_no_money(shop: Shop) -> None:
    refund = {"id": "F1", "status": "REJECTED", "amount_money": money(1000)}
    shop.load("orders", [return_order(returned_line(), refunds=[refund])])
    assert shop.rows("transaction_tenders") == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [("CARD", "card"), ("THIRD_PARTY_CARD", "card"), ("CASH", "cash"), ("SQUARE_GIFT_CARD", "gift_card"),
     ("BANK_ACCOUNT", "bank"), ("WALLET", "wallet"), ("BUY_NOW_PAY_LATER", "other"), ("BRAND_NEW", "other")],
)  # fmt: skip
def test_tender_types_are_told_in_our_words(shop: Shop, written: str, meant: str) -> None:
    shop.load("orders", [order(line(), tenders=[{"id": "P", "type": written, "amount_money": money(1000)}])])
    assert shop.row("transaction_tenders")["tender_type"] == meant


def test_a_receipt_without_a_customer_is_an_ordinary_receipt(shop: Shop) -> None:
    shop.load("orders", [order(line())])
    receipt = shop.row("transactions")
    assert (receipt["customer_id"], receipt["remark_code"]) == (None, None)


def test_the_customer_of_the_order_goes_before_that_of_a_tender(shop: Shop) -> None:
    tenders = [{"id": "P0", "type": "CASH", "amount_money": money(1)},
               {"id": "P1", "type": "CARD", "amount_money": money(999), "customer_id": "C2"}]  # fmt: skip
    shop.load("orders", [order(line(), customer_id="C1", tenders=tenders)])
    assert shop.row("transactions")["customer_id"] == "square:C1"
    shop.load("orders", [order(line(), tenders=tenders, updated_at="2024-07-01T11:00:00Z")])
    assert shop.row("transactions")["customer_id"] == "square:C2"
