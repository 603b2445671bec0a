"""Totals, and what does not add up."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from engage_pipelines.model import TABLE_BY_NAME, digest
from engage_pipelines.warehouse import (
    Totals,
    core_totals,
    delivered_totals,
    duplicate_keys,
    incomplete_windows,
    payments_apart,
    receipts_out_of_balance,
)
from engage_pipelines_tests.plain_till import Loader, order


@pytest.fixture
def till(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


def test_core_adds_up_countable_receipts_per_currency_to_the_penny(till: Loader) -> None:
    pennies = [
        order(f"E{n}", currency="EUR", total=0.1, lines=[{"id": "a", "name": "x", "total": 0.1}]) for n in range(3)
    ]
    till.load(order("O1"), order("O2", total=12.5, tip=2.5), order("VOID", state="voided"), *pennies)
    assert core_totals(till.warehouse) == Totals(
        receipts=5, lines=7,
        amount={"EUR": Decimal("0.3000"), "GBP": Decimal("22.5000")},
        amount_without_tips={"EUR": Decimal("0.3000"), "GBP": Decimal("20.0000")},
    )  # fmt: skip


def test_an_empty_core_has_empty_books(till: Loader) -> None:
    assert core_totals(till.warehouse) == Totals(0, 0, {}, {})
    assert delivered_totals(till.warehouse, []) == Totals(0, 0, {}, {})


def test_what_a_platform_holds_is_added_up_by_the_keys_of_the_ledger(till: Loader) -> None:
    till.load(order("O1"), order("O2"), order("O3"))
    held = delivered_totals(till.warehouse, ["acme:O1", "acme:O3", "acme:GONE"])
    assert (held.receipts, held.lines, held.amount) == (2, 4, {"GBP": Decimal("20.0000")})


def test_receipts_whose_parts_do_not_add_up_are_named_with_the_reason(till: Loader) -> None:
    till.load(
        order("GOOD"), order("TIP", total=12, tip=2, payments=[{"id": "p1", "amount": 12}]),
        order("LINES", total=11, payments=[{"id": "p2", "amount": 11}]),
        order("PAID", payments=[{"id": "p3", "amount": 9.99}]),
        order("UNPAID", payments=[]), order("VOID", state="voided", total=99),
    )  # fmt: skip
    assert dict(receipts_out_of_balance(till.warehouse)) == {
        "acme:LINES": "lines, tip and charges do not add up to the total",
        "acme:PAID": "tenders do not add up to the total",
    }


def test_a_key_that_two_rows_have_is_found(till: Loader) -> None:
    till.load(order("O1"))
    table = TABLE_BY_NAME["core.transactions"]
    assert duplicate_keys(till.warehouse, table) == []
    till.rows("insert into warehouse.core.transactions select * from core.transactions")
    assert duplicate_keys(till.warehouse, table) == [("acme:O1",)]


def test_windows_with_gaps_are_named(till: Loader) -> None:
    till.load(order("O1"), proofs=[{"id": "O1", "location_id": "L1"}])
    assert incomplete_windows(till.warehouse) == []
    till.load(order("O1"), proofs=[{"id": "O2", "location_id": "L2"}])
    assert incomplete_windows(till.warehouse) == ["orders L2 2026-11-18 00:00:00+00..2026-11-19 00:00:00+00: 1 missing"]


def list_payments(till: Loader, days: int, **amounts: float) -> None:
    """What the payment service listed, asked about so many days from the eighteenth on."""
    with till.warehouse.transaction() as connection:
        connection.execute(
            "insert into warehouse.ops.loads by name select 'acme:payments' as load_id, 'acme' as source, "
            "'payments' as entity, '' as location_ids, '2026-11-18T00:00Z'::timestamptz as window_start_at, "
            "'2026-11-18T00:00Z'::timestamptz + to_days(?) as window_end_at, 's' as spool_path, 1 as page_count, "
            "0 as record_count, 0 as changed_count, 0 as quarantined_count, 0 as unknown_field_count, "
            "now() as pulled_at, now() as loaded_at",
            [days],
        )
        for name, amount in amounts.items():
            connection.execute(
                "insert into warehouse.core.payments by name select 'acme:P-' || $name as payment_id, "
                "'acme' as source, 'P-' || $name as source_payment_id, 'acme:' || $name as transaction_id, "
                "'acme:L1' as store_id, 'l' as load_id, 'completed' as status, 'GBP' as currency, "
                "$amount as amount, 0 as tip_amount, $amount as total_amount, 0 as refunded_amount, "
                "now() as paid_at, now() as modified_at, " + digest("'acme:P-' || $name") + " as payment_digest",
                {"name": name, "amount": amount},
            )


def test_payments_and_receipts_that_do_not_know_each_other_are_named_whichever_side_is_short(till: Loader) -> None:
    till.load(order("O1"), order("O2"), order("LEFT"), order("VOID", state="voided"), order("BARE", payments=[]))
    list_payments(till, 3, O1=10, O2=9.99, BARE=10, GONE=5)
    assert dict(payments_apart(till.warehouse)) == {
        "acme:P-BARE": "its receipt does not show it",
        "acme:P-GONE": "its receipt has not landed",
        "acme:P-LEFT": "the payment service did not list it",
        "acme:P-O2": "its receipt shows another amount",
    }


def test_a_payment_that_may_have_been_touched_after_the_last_pull_is_not_missed_yet(till: Loader) -> None:
    till.load(order("LATE"))
    list_payments(till, 1)
    assert payments_apart(till.warehouse) == []


def test_no_payment_is_missed_where_the_service_was_never_asked(till: Loader) -> None:
    till.load(order("O1"), order("EARLY", updated_at="2026-11-10T10:00:00Z"))
    assert payments_apart(till.warehouse) == []
    list_payments(till, 3, O1=10)
    assert payments_apart(till.warehouse) == []
