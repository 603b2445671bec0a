"""Totals, and what does not add up."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.warehouse import (
    Totals,
    core_totals,
    delivered_totals,
    duplicate_keys,
    incomplete_windows,
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
