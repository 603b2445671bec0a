"""What happens at the till meanwhile: receipts are edited, voided and added, people move, prices and stock change.

Every change keeps a receipt's amounts adding up, so that nothing is wrong with it afterwards.
"""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from engage_pipelines_tests.chaos.report import Report
from engage_pipelines_tests.chaos.shop import LAST_DAY
from engage_pipelines_tests.chaos.world import World

Record = dict[str, Any]
_STORES = ("LLONDON0000001", "LMANCHESTER002", "LPARIS00000003")


class Till:
    """The shop as the till has it, and its changes.

    Args:
        world: where the till is.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = 0
        self._now = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, 21, tzinfo=UTC)

    def change(self, rng: random.Random, report: Report) -> None:
        """Some changes of all kinds."""
        sales = [order for order in self.orders() if _is_plain_sale(order)]
        chosen = rng.sample(sales, 9)
        self._put("orders", [self._edited(rng, order) for order in chosen[:5]])
        self._put("orders", [self._voided(order) for order in chosen[5:6]])
        self._put("orders", [self._copied(rng, order) for order in chosen[6:]])
        report.changes.update({"receipts edited": 5, "receipts voided": 1, "receipts added": 3})
        self._change_people(rng, report)
        self._change_goods(rng, report)

    def orders(self) -> list[Record]:
        """All orders."""
        return self._world.all_of_square("orders/search", "orders", {"location_ids": _STORES, "limit": 500})

    def customers(self) -> list[Record]:
        """All customers."""
        return self._world.all_of_square("customers/search", "customers", {"limit": 100})

    def catalog(self) -> list[Record]:
        """All items and variations."""
        body = {"object_types": ["ITEM", "ITEM_VARIATION"], "include_deleted_objects": True, "limit": 1000}
        return self._world.all_of_square("catalog/search", "objects", body)

    def counts(self) -> list[Record]:
        """All stock counts."""
        body = {"states": ["IN_STOCK"], "limit": 1000}
        return self._world.all_of_square("inventory/counts/batch-retrieve", "counts", body)

    def payments(self) -> list[Record]:
        """All payments."""
        found: list[Record] = []
        for store in _STORES:
            cursor = ""
            while True:
                path = f"payments?location_id={store}&limit=100&begin_time=2020-01-01T00:00:00Z" + cursor
                page = self._world.ask_square("GET", path)
                found += page.get("payments", [])
                if not page.get("cursor"):
                    break
                cursor = f"&cursor={page['cursor']}"
        return found

    def _change_people(self, rng: random.Random, report: Report) -> None:
        people = rng.sample(self.customers(), 3)
        moved = [{**person, "family_name": f"Moved{self._next()}", "updated_at": self._stamp()} for person in people]
        self._put("customers", moved)
        report.changes["customers changed"] += len(moved)

    def _change_goods(self, rng: random.Random, report: Report) -> None:
        item = copy.deepcopy(rng.choice([each for each in self.catalog() if _is_item(each)]))
        stamp = self._stamp()
        item["item_data"]["name"] += f" No. {self._next()}"
        for each in (item, *item["item_data"]["variations"]):
            each.update(updated_at=stamp, version=each.get("version", 0) + 1)
        self._put("catalog", [item])
        counts = rng.sample(self.counts(), 4)
        self._put("counts", [{**c, "quantity": str(rng.randrange(90)), "calculated_at": stamp} for c in counts])
        report.changes.update({"products changed": 1, "stock changed": 4})

    def _edited(self, rng: random.Random, order: Record) -> Record:
        """One more thing on the receipt, paid with the first payment."""
        changed = copy.deepcopy(order)
        amount = rng.randrange(100, 5_000)
        line = _custom_line(f"late-{self._next()}", amount, changed["total_money"]["currency"])
        changed["line_items"].append(line)
        for money in (
            changed["total_money"], changed["net_amounts"]["total_money"], changed["tenders"][0]["amount_money"]
        ):  # fmt: skip
            money["amount"] += amount
        return {**changed, "updated_at": self._stamp()}

    def _voided(self, order: Record) -> Record:
        return {**order, "state": "CANCELED", "updated_at": self._stamp()}

    def _copied(self, rng: random.Random, order: Record) -> Record:
        """A new receipt of today with the goods of another."""
        made = copy.deepcopy(order)
        stamp, number = self._stamp(), self._next()
        for place, tender in enumerate(made["tenders"]):
            tender.update(id=f"CHAOSPAID{number}N{place}", payment_id=f"CHAOSPAID{number}N{place}")
        made.update(
            id=f"CHAOS{number:05}{rng.randrange(10**6):06}", version=1, created_at=stamp, updated_at=stamp,
            closed_at=stamp,
        )  # fmt: skip
        return made

    def _put(self, kind: str, records: list[Record]) -> None:
        self._world.change_shop(kind, records)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _stamp(self) -> str:
        """The till's clock: every change is a little later than the one before."""
        self._now += timedelta(milliseconds=700)
        return self._now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_plain_sale(order: Record) -> bool:
    return order["state"] == "COMPLETED" and bool(order.get("tenders")) and "returns" not in order


def _is_item(entry: Record) -> bool:
    return entry["type"] == "ITEM" and not entry.get("is_deleted") and bool(entry["item_data"].get("variations"))


def _custom_line(uid: str, amount: int, currency: str) -> Record:
    worth, nothing = {"amount": amount, "currency": currency}, {"amount": 0, "currency": currency}
    return {
        "uid": uid, "name": "Gift wrap", "quantity": "1", "item_type": "CUSTOM_AMOUNT", "base_price_money": worth,
        "gross_sales_money": worth, "variation_total_price_money": worth, "total_money": worth,
        "total_tax_money": nothing, "total_discount_money": nothing, "total_service_charge_money": nothing,
    }  # fmt: skip
