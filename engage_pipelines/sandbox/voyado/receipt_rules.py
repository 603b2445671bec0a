"""What a receipt must be, whichever way it comes in: fields, signs, and totals that add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from engage_pipelines.sandbox.voyado.fields import (
    CONTACT_TYPES,
    is_currency,
    is_moment,
    is_number,
    is_text,
)

KEY_TYPES = {
    name.lower(): name
    for name in ("contactId", "memberNumber", "socialSecurityNumber", "mobilePhone", "externalId", "email")
}
LINE_TYPES = ("PURCHASE", "RETURN", "ADJUSTMENT")

_LINE_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("sku", is_text, "text"), ("articleNumber", is_text, "text"), ("articleName", is_text, "text"),
    ("quantity", is_number, "a number"), ("grossPaidPrice", is_number, "a number"),
    ("taxAmount", is_number, "a number"), ("taxPercent", is_number, "a number"),
)  # fmt: skip
_ROOT_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("uniqueReceiptId", is_text, "text"),
    ("createdDate", is_moment, "a date and time with a zone designator"),
    ("storeExternalId", is_text, "text"), ("currency", is_currency, "an ISO 4217 code"),
    ("totalGrossPrice", is_number, "a number"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that passed the rules, as both channels hand it on."""

    unique_id: str
    key_type: str
    key: str
    contact_type: str
    store: str
    currency: str
    total: Decimal
    created: str
    number: str
    lines: Sequence[Mapping[str, Any]]

    @property
    def fingerprint(self) -> str:
        """Tells receipts with the same id but other lines apart, across both channels."""
        parts = sorted(
            f"{line['type']}|{line['sku']}|{_plain(line['quantity'])}|{_plain(line['grossPaidPrice'])}"
            for line in self.lines
        )
        return sha256("\n".join(parts).encode()).hexdigest()


def _plain(value: Any) -> str:
    return f"{Decimal(value).normalize():f}"


def signed_price(line: Mapping[str, Any]) -> Decimal:
    """What a line adds to the receipt: returns carry a positive price and count against it."""
    price = Decimal(line["grossPaidPrice"])
    return -price if line["type"] == "RETURN" else price


def check_line(line: Any, where: str) -> str | None:
    """What is wrong with a line, or None."""
    if not isinstance(line, Mapping):
        return f"{where} must be an object"
    if line.get("type") not in LINE_TYPES:
        return f"{where}.type is one of {', '.join(LINE_TYPES)}"
    for name, fits, wanted in _LINE_FIELDS:
        if not fits(line.get(name)):
            return f"{where}.{name} must be {wanted}"
    return _check_signs(line, where)


def _check_signs(line: Mapping[str, Any], where: str) -> str | None:
    if line["type"] == "ADJUSTMENT":
        return None
    if line["grossPaidPrice"] < 0:
        return f"{where}.grossPaidPrice is never negative"
    if line["type"] == "RETURN" and line["quantity"] >= 0:
        return f"{where}.quantity of a RETURN is negative"
    if line["type"] == "PURCHASE" and line["quantity"] < 0:
        return f"{where}.quantity of a PURCHASE is not negative"
    return None


def check_sum(total: Decimal, lines: Sequence[Mapping[str, Any]]) -> str | None:
    """Whether the lines make up the total."""
    adds_up = sum((signed_price(line) for line in lines), Decimal(0))
    return None if adds_up == total else f"totalGrossPrice is {total}, the lines make {adds_up}"


def check_receipt(value: Any) -> str | None:
    """What is wrong with a receipt of the API, or None."""
    if not isinstance(value, dict):
        return "the body must be an object"
    for name, fits, wanted in _ROOT_FIELDS:
        if not fits(value.get(name)):
            return f"{name} is required and must be {wanted}"
    rate = value.get("exchangeRateToGroupCurrency", 1)
    if not is_number(rate) or rate < 0:
        return "exchangeRateToGroupCurrency must be a number, not below zero"
    return _check_contact(value.get("contact")) or _check_items(value) or _check_payments(value)


def _check_contact(contact: Any) -> str | None:
    if not isinstance(contact, dict) or not is_text(contact.get("matchKey")):
        return "contact.matchKey is required"
    if str(contact.get("matchKeyType", "")).lower() not in KEY_TYPES:
        return f"contact.matchKeyType is one of {', '.join(KEY_TYPES.values())}"
    if "contactType" in contact and contact["contactType"] not in CONTACT_TYPES:
        return "contact.contactType is unknown"
    return None


def _check_items(value: Mapping[str, Any]) -> str | None:
    items = value.get("items")
    if not isinstance(items, list) or not items:
        return "items is required"
    for index, item in enumerate(items):
        problem = check_line(item, f"items[{index}]") or _check_discounts(item, f"items[{index}]")
        if problem:
            return problem
    return check_sum(Decimal(value["totalGrossPrice"]), items)


def _check_discounts(item: Mapping[str, Any], where: str) -> str | None:
    discounts = item.get("discounts", [])
    good = isinstance(discounts, list) and all(
        isinstance(one, dict) and is_number(one.get("value")) for one in discounts
    )
    return None if good else f"{where}.discounts must hold objects with a numeric value"


def _check_payments(value: Mapping[str, Any]) -> str | None:
    payments = value.get("paymentMethods")
    if not isinstance(payments, list) or not payments:
        return "paymentMethods is required"
    for index, payment in enumerate(payments):
        if not isinstance(payment, dict) or not is_text(payment.get("type")) or not is_number(payment.get("value")):
            return f"paymentMethods[{index}] needs type and a numeric value"
    paid = sum((Decimal(payment["value"]) for payment in payments), Decimal(0))
    total = Decimal(value["totalGrossPrice"])
    return None if paid == total else f"totalGrossPrice is {total}, the payments make {paid}"


def receipt_of(value: Mapping[str, Any]) -> Receipt:
    """The receipt in a body that passed `check_receipt`."""
    contact = value["contact"]
    return Receipt(
        unique_id=value["uniqueReceiptId"], key_type=KEY_TYPES[contact["matchKeyType"].lower()],
        key=contact["matchKey"], contact_type=contact.get("contactType", ""), store=value["storeExternalId"],
        currency=value["currency"], total=Decimal(value["totalGrossPrice"]), created=value["createdDate"],
        number=str(value.get("receiptNumber", "")), lines=value["items"],
    )  # fmt: skip
