"""Is core what the till holds? Record by record, version by version, line by line, to the cent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from engage_pipelines.operations import Desk
from engage_pipelines_tests.chaos.report import Report
from engage_pipelines_tests.chaos.till import Record, Till

# What is compared of a record, by its id at the till.
Facts = dict[str, tuple[Any, ...]]
_STATES = {"COMPLETED": "completed", "CANCELED": "voided"}

_CORE = {
    "core.transactions": "select source_transaction_id, version, status, total_amount, line_count "
    "from core.transactions",
    "core.transaction_lines": "select line_id, quantity, total_amount from core.transaction_lines",
    "core.transaction_tenders": "select tender_id, amount from core.transaction_tenders",
    "core.customers": "select source_customer_id, last_name, email from core.customers",
    "core.products": "select source_product_id, sku, price_amount from core.products",
    "core.inventory_levels": "select product_id || '|' || store_id, quantity from core.inventory_levels",
    "core.payments": "select source_payment_id, total_amount from core.payments",
}  # fmt: skip


def compare_pos_and_core(desk: Desk, till: Till, report: Report) -> None:
    """Note every difference; and how many rows were compared."""
    orders, variations = till.orders(), [each for each in till.catalog() if each["type"] == "ITEM_VARIATION"]
    at_the_till: dict[str, Facts] = {
        "core.transactions": _facts(orders, lambda o: o["id"], _order),
        "core.transaction_lines": _lines(orders),
        "core.transaction_tenders": _tenders(orders),
        "core.customers": _facts(till.customers(), lambda c: c["id"], _customer),
        "core.products": _facts(variations, lambda v: v["id"], _variation),
        "core.inventory_levels": _facts(till.counts(), _place, lambda c: (Decimal(c["quantity"]),)),
        "core.payments": _facts(till.payments(), lambda p: p["id"], lambda p: (_money(p["total_money"]),)),
    }
    for table, expected in at_the_till.items():
        present = _read(desk, _CORE[table])
        _compare(table, expected, present, report)
        report.streams[table] = {
            "rows": len(expected), "held": len(present), "received": 0, "resent": 0, "calls": 0, "least": 0, "extra": 0
        }  # fmt: skip


def _compare(table: str, expected: Facts, present: Facts, report: Report) -> None:
    for key, facts in expected.items():
        if key not in present:
            report.find("lost", table, key, f"the till has {facts}")
        elif present[key] != facts:
            report.find("wrong", table, key, f"the till has {facts}, core has {present[key]}")
    for key in present.keys() - expected.keys():
        report.find("duplicated", table, key, f"core has {present[key]}, the till has no such record")


def _read(desk: Desk, query: str) -> Facts:
    with desk.warehouse.connection() as connection:
        rows = connection.execute(query).fetchall()
    found: Facts = {}
    for key, *facts in rows:
        # A key that is there twice must not hide behind itself.
        found[f"{key} again" if key in found else key] = tuple(facts)
    return found


def _facts(records: list[Record], key: Callable[[Record], str], facts: Callable[[Record], tuple[Any, ...]]) -> Facts:
    return {key(record): facts(record) for record in records}


def _money(money: Mapping[str, Any]) -> Decimal:
    return Decimal(money["amount"]).scaleb(-2)


def _order(order: Record) -> tuple[Any, ...]:
    total = _money(order["net_amounts"]["total_money"])
    return order["version"], _STATES.get(order["state"], "open"), total, len(_lines_of(order))


def _lines_of(order: Record) -> list[tuple[int, Record]]:
    returns = [line for entry in order.get("returns", []) for line in entry["return_line_items"]]
    return [*((1, line) for line in order.get("line_items", [])), *((-1, line) for line in returns)]


def _lines(orders: list[Record]) -> Facts:
    return {
        f"square:{order['id']}:{line['uid']}": (sign * Decimal(line["quantity"]), sign * _money(line["total_money"]))
        for order in orders
        for sign, line in _lines_of(order)
    }


def _tenders(orders: list[Record]) -> Facts:
    found: Facts = {}
    for order in orders:
        for tender in order.get("tenders", []):
            found[f"square:{tender.get('payment_id') or tender['id']}"] = (_money(tender["amount_money"]),)
        for refund in order.get("refunds", []):
            found[f"square:{refund['id']}"] = (-_money(refund["amount_money"]),)
    return found


def _customer(customer: Record) -> tuple[Any, ...]:
    return customer.get("family_name"), (customer.get("email_address") or "").lower() or None


def _variation(variation: Record) -> tuple[Any, ...]:
    data = variation["item_variation_data"]
    price = data.get("price_money")
    return (data.get("sku") or "").strip() or None, _money(price) if price else None


def _place(count: Record) -> str:
    return f"square:{count['catalog_object_id']}|square:{count['location_id']}"
