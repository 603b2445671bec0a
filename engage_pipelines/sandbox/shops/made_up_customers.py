"""The made-up chain's customers. Nobody is real: addresses at example domains, phones from ranges kept for fiction."""

from __future__ import annotations

import random
from datetime import date
from typing import NamedTuple

from engage_pipelines.sandbox.shops.made_up_stores import STORES, Store
from engage_pipelines.sandbox.shops.order_shapes import Record
from engage_pipelines.sandbox.square.timestamps import to_micros, to_text

_BRITISH = (
    ("Amelia", "Oliver", "Isla", "George", "Ava", "Noah", "Freya", "Arthur", "Grace", "Leo", "Priya", "Mohammed"),
    ("Smith", "Jones", "Taylor", "Brown", "Patel", "Wilson", "O'Neill", "Walker", "Khan", "Lloyd-Hughes", "Ward"),
)
_FRENCH = (
    ("Camille", "Lucas", "Manon", "Hugo", "Chloé", "Louis", "Inès", "Jules", "Zoé", "Raphaël", "Élodie", "François"),
    ("Martin", "Bernard", "Dubois", "Lefèvre", "Moreau", "Garnier", "d'Aubigné", "Petit", "Noël", "Rousseau"),
)
_PLAIN = str.maketrans("éèëïçÉ", "eeeicE", "' -")
_NOT_A_PHONE = ("12345", "n/a", "0000", "07700", "call the shop", "+44")
_DAY = 86_400_000_000


class Regulars(NamedTuple):
    """Customers by the country they live in, and the records of all of them by id."""

    by_country: dict[str, list[str]]
    records: dict[str, Record]


def make_customers(rng: random.Random, count: int, first_day: date, last_day: date) -> Regulars:
    """`count` customers, one in five of them French; about 3 % with an invalid phone, 10 % without an e-mail."""
    by_country: dict[str, list[str]] = {"GB": [], "FR": []}
    records: dict[str, Record] = {}
    for number in range(count):
        store = STORES[2] if rng.random() < 0.2 else rng.choice(STORES[:2])
        record = _customer(rng, number, store, len(by_country[store.country]), (first_day, last_day))
        by_country[store.country].append(record["id"])
        records[record["id"]] = record
    return Regulars(by_country, records)


def known_since(record: Record, first_seen: int | None) -> Record:
    """The customer, created two minutes before the first receipt at the latest."""
    if first_seen is None or to_micros(record["created_at"]) < first_seen:
        return record
    created = to_text(first_seen - 120_000_000)
    return {**record, "created_at": created, "updated_at": max(created, record["updated_at"])}


def _customer(rng: random.Random, number: int, store: Store, seat: int, span: tuple[date, date]) -> Record:
    given, family = (rng.choice(names) for names in (_FRENCH if store.country == "FR" else _BRITISH))
    if number == 7:
        # Breaks every file that forgets to quote.
        given, family = 'Anne "Nan"', "Smith; née Jones"
    created = _created(rng, span)
    contact = {"email_address": _email(rng, given, family, number), "phone_number": _phone(rng, store, seat)}
    optional: Record = {
        **contact,
        "address": _address(rng, store) if rng.random() < 0.6 else None,
        "birthday": f"{rng.randrange(1945, 2006)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
        if rng.random() < 0.3
        else None,
        "reference_id": f"CARD{number:06d}" if rng.random() < 0.25 else None,
    }
    changed = created + (rng.randrange(1, 60) * _DAY if rng.random() < 0.3 else 0)
    return {
        "id": f"CUST{number:05d}{rng.getrandbits(64):016X}",
        "created_at": to_text(created),
        "updated_at": to_text(changed),
        "given_name": given,
        "family_name": family,
        **{name: value for name, value in optional.items() if value is not None},
        "preferences": {"email_unsubscribed": rng.random() < 0.12},
        "creation_source": rng.choice(("DIRECTORY", "INSTANT_PROFILE", "LOYALTY")),
        "version": 0 if changed == created else 1,
    }


def _created(rng: random.Random, span: tuple[date, date]) -> int:
    """Most were there before the first day; the others joined on the way."""
    first_day, last_day = span
    opening = to_micros(f"{first_day.isoformat()}T08:00:00Z")
    days = max((last_day - first_day).days - 60, 1)
    offset = rng.randrange(-500, 0) if rng.random() < 0.6 else rng.randrange(days)
    return opening + offset * _DAY + rng.randrange(10 * 3600) * 1_000_000


def _email(rng: random.Random, given: str, family: str, number: int) -> str | None:
    if rng.random() < 0.1:
        return None
    name = "".join(letter for letter in f"{given}.{family}".translate(_PLAIN) if letter.isalnum() or letter == ".")
    return f"{name}{number}@example.{rng.choice(('com', 'org'))}".lower()


def _phone(rng: random.Random, store: Store, seat: int) -> str | None:
    luck = rng.random()
    if luck < 0.03:
        return rng.choice(_NOT_A_PHONE)
    if luck < 0.2:
        return None
    if store.country == "FR":
        return f"+336399800{seat:02d}" if seat < 100 else f"+33199{seat % 10_000:06d}"
    # Only a thousand numbers are kept for fiction, so beyond that two customers share one, as families do.
    last = f"{seat % 1000:03d}"
    return f"07700 900{last}" if luck > 0.93 else f"+447700900{last}"


def _address(rng: random.Random, store: Store) -> Record:
    return {
        "address_line_1": f"{rng.randrange(1, 180)} {rng.choice(('High Street', 'Station Road', 'rue Neuve'))}",
        "locality": store.city,
        "postal_code": store.postal_code,
        "country": store.country,
    }
