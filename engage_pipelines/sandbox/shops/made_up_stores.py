"""The made-up chain's stores, and when people come: by year, week and hour."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from engage_pipelines.sandbox.shops.order_shapes import Record, spread
from engage_pipelines.sandbox.square.timestamps import from_datetime

_MONTHS = (78, 82, 92, 95, 100, 98, 96, 90, 97, 104, 128, 165)
_WEEKDAYS = (88, 90, 96, 104, 124, 150, 86)
_HOURS = {9: 4, 10: 8, 11: 11, 12: 15, 13: 13, 14: 10, 15: 10, 16: 11, 17: 13, 18: 9, 19: 4}


class Store(NamedTuple):
    """One store. `share` of all receipts in percent; `cafe_share` of its baskets come from the café, in percent."""

    location_id: str
    name: str
    zone: ZoneInfo
    currency: str
    country: str
    language: str
    street: str
    city: str
    postal_code: str
    phone: str
    share: int
    cafe_share: int
    tax_name: str
    opened: str


STORES = (
    Store("LLONDON0000001", "Marlow & Finch London", ZoneInfo("Europe/London"), "GBP", "GB", "en-GB",
          "12 Lamb's Passage", "London", "E1 6AN", "+442079460101", 45, 20, "VAT", "2019-03-04T09:00:00Z"),
    Store("LMANCHESTER002", "Marlow & Finch Manchester", ZoneInfo("Europe/London"), "GBP", "GB", "en-GB",
          "3 Tib Lane", "Manchester", "M2 4JB", "+441614960202", 30, 15, "VAT", "2021-05-17T09:00:00Z"),
    Store("LPARIS00000003", "Marlow & Finch Paris", ZoneInfo("Europe/Paris"), "EUR", "FR", "fr-FR",
          "8 rue des Martyrs", "Paris", "75009", "+33199000303", 25, 60, "TVA", "2022-09-01T08:00:00Z"),
)  # fmt: skip


class Visit(NamedTuple):
    """Somebody comes to a till; `moment` in microseconds since 1970."""

    moment: int
    store: Store


def location(store: Store) -> Record:
    """The store as Square's `Location`."""
    return {
        "id": store.location_id,
        "name": store.name,
        "address": {
            "address_line_1": store.street,
            "locality": store.city,
            "postal_code": store.postal_code,
            "country": store.country,
        },
        "timezone": store.zone.key,
        "capabilities": ["CREDIT_CARD_PROCESSING"],
        "status": "ACTIVE",
        "created_at": store.opened,
        "merchant_id": "MMARLOWFINCH01",
        "country": store.country,
        "language_code": store.language,
        "currency": store.currency,
        "phone_number": store.phone,
        "business_name": "Marlow & Finch",
        "type": "PHYSICAL",
    }


def visits(rng: random.Random, receipts: int, first_day: date, last_day: date) -> Iterator[Visit]:
    """`receipts` visits in the order of time, busier in December and on Saturdays; none on Christmas Day."""
    days = [first_day + timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    for day, count in zip(days, spread(receipts, [_weight(day, first_day) for day in days]), strict=True):
        yield from sorted(_day(rng, day, count))


def _weight(day: date, first_day: date) -> int:
    if (day.month, day.day) == (12, 25):
        return 0
    growth = 1000 + (day - first_day).days // 5
    return _MONTHS[day.month - 1] * _WEEKDAYS[day.weekday()] * growth


def _day(rng: random.Random, day: date, count: int) -> list[Visit]:
    stores = rng.choices(STORES, [store.share for store in STORES], k=count)
    hours = rng.choices(list(_HOURS), list(_HOURS.values()), k=count)
    return [Visit(_moment(rng, day, hour, store), store) for hour, store in zip(hours, stores, strict=True)]


def _moment(rng: random.Random, day: date, hour: int, store: Store) -> int:
    local = datetime.combine(day, time(hour, rng.randrange(60), rng.randrange(60)), store.zone)
    return from_datetime(local.astimezone(UTC)) + rng.randrange(1000) * 1000
