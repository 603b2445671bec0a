"""Square records made up for tests: the smallest ones that are whole."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]


def money(amount: int, currency: str = "GBP") -> Record:
    return {"amount": amount, "currency": currency}


def line(uid: str = "a", total: int = 1000, **fields: Any) -> Record:
    """A line without discount and tax, unless told."""
    currency = fields.pop("currency", "GBP")
    return {
        "uid": uid, "name": "Mug", "quantity": "1", "item_type": "ITEM",
        "base_price_money": money(total, currency), "gross_sales_money": money(total, currency),
        "total_tax_money": money(0, currency), "total_discount_money": money(0, currency),
        "total_money": money(total, currency), **fields,
    }  # fmt: skip


def returned_line(uid: str = "r", total: int = 1000, **fields: Any) -> Record:
    made = line(uid, total, **fields)
    made["gross_return_money"] = made.pop("gross_sales_money")
    return made


def order(*lines: Record, order_id: str = "O1", **fields: Any) -> Record:
    """A completed sale of these lines, at the London store."""
    total = sum(each["total_money"]["amount"] or 0 for each in lines)
    currency = fields.pop("currency", "GBP")
    made = {
        "id": order_id, "location_id": "L1", "state": "COMPLETED", "version": 3,
        "created_at": "2024-07-01T10:00:00.000Z", "updated_at": "2024-07-01T10:05:00.123Z",
        "closed_at": "2024-07-01T10:04:00.000Z", "line_items": list(lines), "total_money": money(total, currency),
        **fields,
    }  # fmt: skip
    return {name: value for name, value in made.items() if value is not None}


def return_order(*lines: Record, order_id: str = "R1", **fields: Any) -> Record:
    """A return of these lines of order O1; money went back in one refund."""
    total = sum(each["total_money"]["amount"] or 0 for each in lines)
    entry = {"uid": "e", "source_order_id": "O1", "return_line_items": list(lines)}
    entry |= fields.pop("entry", {})
    whole = {
        "line_items": None,
        "total_money": None,
        "returns": [entry],
        "return_amounts": {"total_money": money(total)},
        "refunds": [{"id": "F1", "tender_id": "P1", "status": "APPROVED", "amount_money": money(total)}],
        **fields,
    }
    return order(order_id=order_id, **whole)


def customer(**fields: Any) -> Record:
    return {
        "id": "C1", "given_name": "Ada", "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-02-01T00:00:00.5Z", **fields,
    }  # fmt: skip


def variation(variation_id: str = "V1", **fields: Any) -> Record:
    updated_at = fields.pop("updated_at", "2024-03-01T00:00:00Z")
    deleted = fields.pop("is_deleted", False)
    return {
        "type": "ITEM_VARIATION", "id": variation_id, "updated_at": updated_at, "version": 1, "is_deleted": deleted,
        "item_variation_data": {"item_id": "I1", "name": "Regular", "sku": f"SKU-{variation_id}",
                                "price_money": money(1250), **fields},
    }  # fmt: skip


def item(item_id: str = "I1", **fields: Any) -> Record:
    updated_at = fields.pop("updated_at", "2024-03-01T00:00:00Z")
    return {"type": "ITEM", "id": item_id, "updated_at": updated_at, "version": 1,
            "item_data": {"name": "Mug", **fields}}  # fmt: skip


def payment(**fields: Any) -> Record:
    return {
        "id": "P1", "order_id": "O1", "location_id": "L1", "status": "COMPLETED", "amount_money": money(900),
        "tip_money": money(100), "total_money": money(1000), "receipt_number": "P1xx",
        "created_at": "2024-07-01T10:04:00.000Z", "updated_at": "2024-07-01T10:04:30.000Z", **fields,
    }  # fmt: skip


def refund(**fields: Any) -> Record:
    return {
        "id": "F9", "location_id": "L1", "status": "COMPLETED", "destination_type": "CARD",
        "amount_money": money(555), "created_at": "2024-07-01T23:30:00.000Z",
        "updated_at": "2024-07-02T00:10:00.000Z", **fields,
    }  # fmt: skip
