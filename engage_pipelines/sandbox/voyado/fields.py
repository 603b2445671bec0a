"""What Voyado Engage takes for a valid value."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,7})?(Z|[+-]\d{2}:\d{2})")
_CURRENCY = re.compile(r"[A-Z]{3}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_SSN = re.compile(r"(\d{2})?\d{6}[-+A]?\w{4}")


def is_email(value: Any) -> bool:
    """Something before and after an @, with a dot behind it."""
    return isinstance(value, str) and bool(_EMAIL.fullmatch(value))


def is_phone(value: Any) -> bool:
    """E.164: a plus, the country code, digits."""
    return isinstance(value, str) and bool(_PHONE.fullmatch(value))


def is_social_security_number(value: Any) -> bool:
    """The outer form of a Swedish or Finnish personal id."""
    return isinstance(value, str) and bool(_SSN.fullmatch(value))


def is_moment(value: Any) -> bool:
    """ISO 8601 date and time with a zone designator."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_day(value: Any) -> bool:
    """YYYY-MM-DD."""
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return len(value) == 10


def is_currency(value: Any) -> bool:
    """Three capital letters."""
    return isinstance(value, str) and bool(_CURRENCY.fullmatch(value))


def is_country(value: Any) -> bool:
    """Two letters."""
    return isinstance(value, str) and bool(_COUNTRY.fullmatch(value))


def is_number(value: Any) -> bool:
    """A JSON number; booleans are none."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """A string with something in it."""
    return isinstance(value, str) and bool(value.strip())


def decimal_of(text: str) -> Decimal | None:
    """A number from a file cell, point as separator; None if it is none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


# What a contact attribute must look like; attributes that are not here may be any string.
ATTRIBUTE_TESTS: dict[str, Callable[[Any], bool]] = {
    "email": is_email, "mobilePhone": is_phone, "socialSecurityNumber": is_social_security_number,
    "birthDay": is_day, "countryCode": is_country,
    "gender": lambda value: value in ("Male", "Female", "Other"),
}  # fmt: skip

ATTRIBUTES = frozenset({
    "firstName", "lastName", "street", "careOf", "zipCode", "city", "country", "countryCode", "memberNumber",
    "socialSecurityNumber", "email", "mobilePhone", "createdInStore", "store", "birthDay", "gender", "externalId",
})  # fmt: skip
PREFERENCES = ("acceptsEmail", "acceptsSms", "acceptsPostal")
CONTACT_TYPES = ("Member", "Contact")
