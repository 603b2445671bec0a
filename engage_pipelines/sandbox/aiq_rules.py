"""What AIQ accepts: the shapes of a sale, a member and an inventory item."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

_SALE_DATE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2} [+-]\d{4}")
_PHONE = re.compile(r"\d{10}|\+[1-9]\d{7,14}")

_LINE_TEXTS = ("category", "brand", "size", "subcategory", "strain", "grade", "species")
_VISIT_TEXTS = ("pos_type", "budtenderName", "budtenderID")
_MEMBER_TEXTS = (
    "email", "mobilePhone", "homePhone", "firstName", "lastName", "address", "birthdate", "favoriteStore",
)  # fmt: skip
_ITEM_TEXTS = ("sku", "productID", "name", "category", "brand", "location")
_ITEM_NUMBERS = ("quantity", "price", "cost", "margin")


def is_number(value: Any) -> bool:
    """True for a JSON number; booleans are none."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """True for a string with something in it."""
    return isinstance(value, str) and bool(value.strip())


def clean_phone(value: str | None) -> str:
    """The phone as AIQ stores it: an invalid one becomes blank, silently."""
    return value if value and _PHONE.fullmatch(value) else ""


def _wrong(
    value: Any, where: str, *,
    texts: Sequence[str] = (), numbers: Sequence[str] = (),
    optional_texts: Sequence[str] = (), optional_numbers: Sequence[str] = (),
) -> str | None:  # fmt: skip
    if not isinstance(value, dict):
        return f"{where} must be an object"
    tests = (
        *((name, is_text, "a string that is not empty", True) for name in texts),
        *((name, is_number, "a number", True) for name in numbers),
        *((name, lambda found: isinstance(found, str), "a string", False) for name in optional_texts),
        *((name, is_number, "a number", False) for name in optional_numbers),
    )
    for name, fits, wanted, needed in tests:
        if (needed or name in value) and not fits(value.get(name)):
            return f"{where}.{name} must be {wanted}"
    return None


def _check_date(value: Any) -> str | None:
    if isinstance(value, str) and _SALE_DATE.fullmatch(value):
        try:
            datetime.strptime(value, "%Y-%m-%d %H:%M:%S %z")
        except ValueError:
            return "visit.transaction_date is no date"
        return None
    return "visit.transaction_date must look like 2014-04-20 04:03:53 +0000"


def _check_lines(lines: Any) -> str | None:
    if not isinstance(lines, list) or not lines:
        return "visit.visit_details_attributes must be a list with at least one line"
    for index, line in enumerate(lines):
        problem = _wrong(
            line, f"visit.visit_details_attributes[{index}]", texts=("sku", "name"),
            numbers=("price", "quantity"), optional_texts=_LINE_TEXTS, optional_numbers=("discount",),
        )  # fmt: skip
        if problem:
            return problem
    return None


def check_sale(value: Any) -> str | None:
    """What is wrong with a sale, or None."""
    visit = value.get("visit") if isinstance(value, dict) else None
    problem = _wrong(
        visit, "visit", texts=("pos_id", "pos_user", "location"),
        numbers=("transaction_total",), optional_texts=_VISIT_TEXTS,
    )  # fmt: skip
    if problem or not isinstance(visit, dict):
        return problem
    if visit.get("sendNotification", 0) not in (0, 1) or isinstance(visit.get("sendNotification"), bool):
        return "visit.sendNotification must be 0 or 1"
    return (
        _check_date(visit.get("transaction_date"))
        or _check_lines(visit.get("visit_details_attributes"))
        or ("member" in value and _wrong(value["member"], "member", optional_texts=_MEMBER_TEXTS))
        or None
    )


def check_member(value: Any, *, needs_id: bool = True) -> str | None:
    """What is wrong with a member, or None."""
    member = value.get("member") if isinstance(value, dict) else None
    problem = _wrong(member, "member", optional_texts=("srcID", "id", *_MEMBER_TEXTS))
    if problem or not isinstance(member, dict):
        return problem
    if needs_id and not is_text(member.get("srcID") or member.get("id")):
        return "member.srcID must be a string that is not empty"
    return None


def check_inventory_item(value: Any) -> str | None:
    """What is wrong with an inventory item, or None."""
    problem = _wrong(value, "item", optional_texts=_ITEM_TEXTS, optional_numbers=_ITEM_NUMBERS)
    if problem:
        return problem
    return None if is_text(value.get("sku") or value.get("productID")) else "item.sku must be given"
