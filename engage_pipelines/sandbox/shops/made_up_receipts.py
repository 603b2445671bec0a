"""The made-up chain's receipts, one after the other: sales, returns, exchanges, voided and open ones."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from engage_pipelines.sandbox.shops.made_up_baskets import Basket, Shelf, fill_basket
from engage_pipelines.sandbox.shops.made_up_catalogue import Product
from engage_pipelines.sandbox.shops.made_up_money import Bill, Paid, pay, refund
from engage_pipelines.sandbox.shops.made_up_stores import STORES, Store, Visit
from engage_pipelines.sandbox.shops.order_shapes import (
    Line,
    Record,
    Sums,
    line_item,
    money,
    order,
    return_line_item,
    sums,
)

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_OPEN_AT_THE_END = 24
_SOURCE = {"name": "Square Point of Sale"}


class Receipt(NamedTuple):
    """An order with the payments and refunds that it makes or changes."""

    order: Record
    payments: list[Record]
    refunds: list[Record]


class _Sale(NamedTuple):
    """A completed sale as long as its goods may come back."""

    order_id: str
    customer_id: str | None
    closed_at: int
    basket: Basket
    payment: Record


class _Back(NamedTuple):
    """Goods that come back: `OrderReturn`, and what it comes to."""

    record: Record
    sums: Sums


@dataclass
class ReceiptMaker:
    """Makes receipts in the order of time. Holds what a later receipt refers to.

    Args:
        rng: The only source of chance.
        products: What is sold.
        regulars: Customers' ids by the country they live in.
        first_seen: Filled with the moment of each customer's first receipt.
    """

    rng: random.Random
    products: list[Product]
    regulars: dict[str, list[str]]
    first_seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._goods = Shelf(self.rng, [product for product in self.products if not product.is_served])
        self._cafe = Shelf(self.rng, [product for product in self.products if product.is_served])
        self._recent: dict[str, deque[_Sale]] = {store.location_id: deque(maxlen=200) for store in STORES}

    def make(self, visit: Visit, left: int) -> Receipt:
        """The receipt of a visit; `left` counts the visits that are still to come."""
        luck = self.rng.random()
        if left < _OPEN_AT_THE_END and left % 4 == 0:
            return self._unpaid(visit, "OPEN")
        if luck < 0.01:
            return self._unpaid(visit, "CANCELED")
        source = self._source_of_return(visit) if luck < 0.061 else None
        if source is not None:
            return self._return(visit, source) if luck < 0.051 else self._exchange(visit, source)
        return self._sale(visit, left)

    def _sale(self, visit: Visit, left: int) -> Receipt:
        basket, is_cafe = self._basket(visit.store)
        customer_id = self._customer(visit)
        tip = self._tip(basket, visit.store) if is_cafe else 0
        sold = _sums(basket, tip)
        opened, _, closed = times = self._times(visit.moment, left)
        order_id = self._order_id()
        paid = pay(self.rng, Bill(order_id, visit.store, customer_id, sold.total - tip, tip, opened + 20 * _SECOND))
        made = order(
            order_id=order_id,
            location_id=visit.store.location_id,
            currency=visit.store.currency,
            times=times,
            sold=sold,
            version=1 if times[1] - closed < _DAY else self.rng.randrange(2, 5),
            parts={**_parts(basket, visit.store, customer_id), "tenders": paid.tenders},
        )
        if len(paid.payments) == 1:
            sale = _Sale(order_id, customer_id, closed, basket, paid.payments[0])
            self._recent[visit.store.location_id].append(sale)
        return Receipt(made, paid.payments, [])

    def _return(self, visit: Visit, source: _Sale) -> Receipt:
        order_id, store = self._order_id(), visit.store
        back = self._take_back(source, store.currency)
        times = self._times(visit.moment, 0)
        on_order, of_payment = refund(self.rng, source.payment, order_id, back.sums.total, times[2])
        made = order(
            order_id=order_id,
            location_id=store.location_id,
            currency=store.currency,
            times=times,
            sold=Sums(),
            returned=back.sums,
            parts={
                "source": _SOURCE,
                "customer_id": source.customer_id,
                "returns": [back.record],
                "refunds": [on_order],
            },
        )
        return Receipt(made, [source.payment], [of_payment])

    def _exchange(self, visit: Visit, source: _Sale) -> Receipt:
        """Goods come back and others go out in one order; only the difference is paid or refunded."""
        order_id, store = self._order_id(), visit.store
        back = self._take_back(source, store.currency)
        basket, _ = self._basket(store)
        sold, times = _sums(basket, 0), self._times(visit.moment, 0)
        difference = sold.total - back.sums.total
        bill = Bill(order_id, store, source.customer_id, difference, 0, times[0] + 20 * _SECOND)
        paid = pay(self.rng, bill) if difference > 0 else Paid([], [])
        refunds = [refund(self.rng, source.payment, order_id, -difference, times[2])] if difference < 0 else []
        made = order(
            order_id=order_id,
            location_id=store.location_id,
            currency=store.currency,
            times=times,
            sold=sold,
            returned=back.sums,
            parts={
                **_parts(basket, store, source.customer_id),
                "returns": [back.record],
                "tenders": paid.tenders,
                "refunds": [on_order for on_order, _ in refunds],
            },
        )
        payments = [*paid.payments, source.payment] if refunds else paid.payments
        return Receipt(made, payments, [of_payment for _, of_payment in refunds])

    def _unpaid(self, visit: Visit, state: str) -> Receipt:
        """A receipt that was voided, or that nobody has paid yet: lines and totals, but no tender."""
        basket, _ = self._basket(visit.store)
        opened, updated, closed = self._times(visit.moment, 0)
        made = order(
            order_id=self._order_id(),
            location_id=visit.store.location_id,
            currency=visit.store.currency,
            times=(opened, updated, None if state == "OPEN" else closed),
            sold=_sums(basket, 0),
            state=state,
            parts=_parts(basket, visit.store, self._customer(visit)),
        )
        return Receipt(made, [], [])

    def _take_back(self, source: _Sale, currency: str) -> _Back:
        worth = [line for line in source.basket.lines if line.total > 0]
        chosen = worth if self.rng.random() < 0.4 else self.rng.sample(worth, 1)
        lines = [(line.uid, _part_of(self.rng, line, f"r{number}")) for number, line in enumerate(chosen, 1)]
        returned = [line for _, line in lines]
        record = {
            "uid": "return",
            "source_order_id": source.order_id,
            "return_line_items": [return_line_item(line, currency, uid) for uid, line in lines],
            "return_discounts": _returned("discount", source.basket.discounts, returned, currency),
            "return_taxes": _returned("tax", source.basket.taxes, returned, currency),
            "return_amounts": sums(returned).record(currency),
        }
        return _Back({name: part for name, part in record.items() if part}, sums(returned))

    def _source_of_return(self, visit: Visit) -> _Sale | None:
        """A recent sale of the same store, closed by now and worth something; it comes back once at most."""
        recent = self._recent[visit.store.location_id]
        if not recent:
            return None
        at = self.rng.randrange(len(recent))
        sale = recent[at]
        worth = any(line.total > 0 for line in sale.basket.lines)
        if not worth or sale.closed_at >= visit.moment:
            return None
        del recent[at]
        return sale

    def _basket(self, store: Store) -> tuple[Basket, bool]:
        is_cafe = self.rng.randrange(100) < store.cafe_share
        return fill_basket(self.rng, store, self._cafe if is_cafe else self._goods, is_cafe=is_cafe), is_cafe

    def _tip(self, basket: Basket, store: Store) -> int:
        """Rounded up to a whole coin, as in a Paris café; rare where a service charge is on the bill."""
        likely = 0.45 if store.country == "FR" else 0.12
        if basket.service or self.rng.random() > likely:
            return 0
        return -sum(line.total for line in basket.lines) % 100 + self.rng.choice((0, 50, 100, 200))

    def _customer(self, visit: Visit) -> str | None:
        """Two receipts of three have one; some customers come much more often than others."""
        if self.rng.random() > 0.66:
            return None
        home = self.regulars[visit.store.country if self.rng.random() < 0.95 else "GB"]
        customer_id = home[int(len(home) * self.rng.random() ** 1.8)]
        self.first_seen.setdefault(customer_id, visit.moment)
        return customer_id

    def _times(self, moment: int, left: int) -> tuple[int, int, int]:
        """Opening, last change and closing. One sale in 150 is changed one to three days after it was closed."""
        closed = moment + self.rng.randrange(30, 240) * _SECOND
        updated = closed + self.rng.randrange(200, 2000) * 1000
        if left > _OPEN_AT_THE_END and self.rng.random() < 0.0067:
            updated += _DAY + self.rng.randrange(2 * _DAY) // 1000 * 1000
        return moment, updated, closed

    def _order_id(self) -> str:
        return f"{self.rng.getrandbits(108):027X}ZY"


def _sums(basket: Basket, tip: int) -> Sums:
    return sums(basket.lines, tip=tip, service=basket.service, service_tax=basket.service_tax)


def _parts(basket: Basket, store: Store, customer_id: str | None) -> Record:
    return {
        "source": _SOURCE,
        "customer_id": customer_id,
        "line_items": [line_item(line, store.currency) for line in basket.lines],
        "discounts": basket.discounts,
        "taxes": basket.taxes,
        "service_charges": basket.service_charges,
    }


def _part_of(rng: random.Random, line: Line, uid: str) -> Line:
    """The line as it comes back: all of it, or some of its pieces with their share of discount and tax."""
    more = {name: part for name, part in line.more.items() if name != "modifiers"}
    if "modifiers" in line.more:
        more["return_modifiers"] = [
            {**modifier, "source_modifier_uid": modifier["uid"]} for modifier in line.more["modifiers"]
        ]
    whole = replace(line, uid=uid, more=more)
    if not line.quantity.isdigit() or line.quantity == "1" or "modifiers" in line.more or rng.random() < 0.5:
        return whole
    pieces, of = rng.randrange(1, int(line.quantity)), int(line.quantity)
    return replace(
        whole,
        quantity=str(pieces),
        gross=line.base * pieces,
        discounts=[(name, amount * pieces // of) for name, amount in line.discounts],
        taxes=[(name, amount * pieces // of) for name, amount in line.taxes],
    )


def _returned(what: str, sources: list[Record], lines: list[Line], currency: str) -> list[Record]:
    """`return_discounts` or `return_taxes`: each one of the sale with what the returned lines have of it."""
    records = []
    for source in sources:
        uid = source["uid"]
        parts = [part for line in lines for part in (line.discounts if what == "discount" else line.taxes)]
        amount = sum(amount for name, amount in parts if name == uid)
        if amount:
            record = {**source, f"source_{what}_uid": uid, "applied_money": money(amount, currency)}
            records.append(record)
    return records
