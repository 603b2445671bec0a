"""Orders in Square's shape, made once per size and served by the stand-in as they lie on disk.

A folder of them holds `orders.bin` and `entries.bin` (JSON objects, one after the other, with a comma behind each, so
that any page is one slice), `places.bin` (where each begins, and when it was changed) and `truth.json`: how many
orders, lines and tenders there are, and a hash over each kind that does not depend on order.
"""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

# As dense at every size: ten times as many orders are ten times as long a history.
ORDERS_A_DAY = 400
LAST_DAY = datetime(2026, 9, 1, tzinfo=UTC)
LOCATIONS = tuple(f"L{number:02d}BENCHMARKSHOP" for number in range(1, 9))
_DAY_MILLISECONDS = 86_400_000
_GOODS = (
    ("Flat White", "Regular", 340), ("Croissant", "Butter", 285), ("Oat Porridge", "Large", 520),
    ("House Blend 250 g", "Whole bean", 895), ("Sourdough Loaf", "Sliced", 460), ("Chai Latte", "Iced", 415),
    ("Soup of the Day", "Bowl", 690), ("Gift Mug", "Blue", 1250),
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """Count and order-independent hash of the texts of one kind of row."""

    count: int = 0
    hash: int = 0

    def add(self, text: str) -> None:
        """Count one row in."""
        self.count += 1
        self.hash += int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)

    def told(self) -> dict[str, object]:
        """As it is written down."""
        return {"count": self.count, "hash": str(self.hash)}


def days_of(count: int) -> tuple[datetime, datetime]:
    """First and last moment (excluded) of a history of so many orders."""
    return LAST_DAY - timedelta(days=-(-count // ORDERS_A_DAY)), LAST_DAY


def make_orders(folder: Path, count: int, *, seed: int = 7) -> Path:
    """Make so many orders in `<folder>/<count>`, unless they are there; gives that folder."""
    home = folder / str(count)
    if (home / "truth.json").exists():
        return home
    home.mkdir(parents=True, exist_ok=True)
    starts, entry_starts, changed = array("Q"), array("Q"), array("q")
    tallies = {"orders": Tally(), "lines": Tally(), "tenders": Tally()}
    at = entry_at = 0
    with (home / "orders.bin").open("wb") as orders, (home / "entries.bin").open("wb") as entries:
        for moment, order_id, location, text in _orders(count, seed, tallies):
            body = text.encode() + b","
            entry = f'{{"order_id":"{order_id}","version":3,"location_id":"{location}"}},'.encode()
            starts.append(at)
            entry_starts.append(entry_at)
            changed.append(moment)
            at, entry_at = at + orders.write(body), entry_at + entries.write(entry)
    starts.append(at)
    entry_starts.append(entry_at)
    with (home / "places.bin").open("wb") as places:
        for column in (starts, entry_starts, changed):
            column.tofile(places)
    truth = {name: tally.told() for name, tally in tallies.items()}
    (home / "truth.json").write_text(json.dumps({**truth, "bytes": at}))
    return home


def _orders(count: int, seed: int, tallies: dict[str, Tally]) -> Iterator[tuple[int, str, str, str]]:
    chance = random.Random(seed)  # noqa: S311  made-up goods, no secret
    start, end = days_of(count)
    first = int(start.timestamp() * 1000)
    step = (int(end.timestamp() * 1000) - first) / count
    for number in range(count):
        moment = first + int(number * step)
        order_id = f"bench{number:012d}Zq"
        location = LOCATIONS[number % len(LOCATIONS)]
        lines = [_line(order_id, position, chance, tallies) for position in range(1, 1 + (1, 2, 2, 3)[number % 4])]
        total = sum(amount for amount, _ in lines)
        tallies["orders"].add(f"{order_id}|{total}")
        tallies["tenders"].add(f"{order_id}T|{total}")
        yield moment, order_id, location, _order(order_id, location, _text(moment), lines, total)


def _line(order_id: str, position: int, chance: random.Random, tallies: dict[str, Tally]) -> tuple[int, str]:
    number = chance.randrange(len(_GOODS))
    name, variation, price = _GOODS[number]
    units = 1 + (chance.random() < 0.2)
    gross = price * units
    tax = gross // 6
    uid = f"{order_id}u{position}"
    tallies["lines"].add(f"{order_id}|{uid}|{gross}")
    return gross, (
        f'{{"uid":"{uid}","quantity":"{units}","item_type":"ITEM","name":"{name}",'
        f'"catalog_object_id":"VARIATION{number:04d}BENCH","variation_name":"{variation}",'
        f'"base_price_money":{_money(price)},"variation_total_price_money":{_money(gross)},'
        f'"total_tax_money":{_money(tax)},"total_discount_money":{_money(0)},'
        f'"total_service_charge_money":{_money(0)},"total_money":{_money(gross)},"gross_sales_money":{_money(gross)}}}'
    )


def _order(order_id: str, location: str, moment: str, lines: list[tuple[int, str]], total: int) -> str:
    tax = sum(amount // 6 for amount, _ in lines)
    nothing = _money(0)
    customer = f"CUSTOMER{order_id[-6:-2]}BENCH"
    return (
        f'{{"id":"{order_id}","location_id":"{location}","source":{{"name":"Point of Sale"}},'
        f'"customer_id":"{customer}",'
        f'"line_items":[{",".join(text for _, text in lines)}],'
        f'"tenders":[{{"id":"{order_id}T","location_id":"{location}","transaction_id":"{order_id}",'
        f'"created_at":"{moment}",'
        f'"type":"CARD","amount_money":{_money(total)},"tip_money":{nothing},"payment_id":"{order_id}T"}}],'
        f'"created_at":"{moment}","updated_at":"{moment}","closed_at":"{moment}","state":"COMPLETED","version":3,'
        f'"total_money":{_money(total)},"total_tax_money":{_money(tax)},"total_discount_money":{nothing},'
        f'"total_tip_money":{nothing},"total_service_charge_money":{nothing},'
        f'"net_amounts":{{"total_money":{_money(total)},"tax_money":{_money(tax)},"discount_money":{nothing},'
        f'"tip_money":{nothing},"service_charge_money":{nothing}}}}}'
    )


def _money(amount: int) -> str:
    return f'{{"amount":{amount},"currency":"GBP"}}'


def _text(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
