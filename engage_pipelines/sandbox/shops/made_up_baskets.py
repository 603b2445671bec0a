"""What lies in a made-up basket: lines, then discounts and inclusive taxes spread over them to the last penny."""

from __future__ import annotations

import itertools
import random
from typing import NamedTuple

from engage_pipelines.sandbox.shops.made_up_catalogue import KILOGRAM_ID, TAX_ID, Product
from engage_pipelines.sandbox.shops.made_up_stores import Store
from engage_pipelines.sandbox.shops.order_shapes import Line, Record, money, spread

_LINE_COUNTS = (1, 2, 3, 4, 5, 6, 8)
_LINE_WEIGHTS = (38, 27, 15, 9, 6, 3, 2)
_PIECES = (1, 2, 3, 4)
_PIECE_WEIGHTS = (78, 15, 5, 2)
_CLERKS_NOTES = ("damaged", "?", "check", "found", "test")
_MODIFIERS = (("Oat milk", 50), ("Extra shot", 60), ("Syrup", 40))
_KILOGRAM = {
    "measurement_unit": {"type": "TYPE_WEIGHT", "weight_unit": "METRIC_KILOGRAM"},
    "precision": 3,
    "catalog_object_id": KILOGRAM_ID,
}
_TAX_UID = "tax"


class Basket(NamedTuple):
    """Lines with their discounts and taxes, and the order-level records that these refer to."""

    lines: list[Line]
    discounts: list[Record]
    taxes: list[Record]
    service_charges: list[Record]
    service: int
    service_tax: int


class Shelf:
    """The products of a category group with how well each of them sells."""

    def __init__(self, rng: random.Random, products: list[Product]) -> None:
        self.products = rng.sample(products, len(products))
        self._popularity = list(itertools.accumulate(1000 // (rank + 8) for rank in range(len(products))))

    def pick(self, rng: random.Random, count: int) -> list[Product]:
        """`count` products, favourites more often."""
        return rng.choices(self.products, cum_weights=self._popularity, k=count)


def fill_basket(rng: random.Random, store: Store, shelf: Shelf, *, is_cafe: bool) -> Basket:
    """A basket with everything that a sale needs but its tenders."""
    count = rng.choices(_LINE_COUNTS, _LINE_WEIGHTS)[0]
    lines = [
        _odd_line(rng, str(number), product, store) or _line(rng, str(number), product, store)
        for number, product in enumerate(shelf.pick(rng, count), 1)
    ]
    discounts = _discount(rng, store, lines)
    service = _service(lines) if is_cafe and rng.random() < 0.15 else 0
    service_tax = _tax(lines, service)
    charges = [_service_charge(service, service_tax, store.currency)] if service else []
    taxes = _tax_record(store, lines, service_tax)
    return Basket(lines, discounts, taxes, charges, service, service_tax)


def _line(rng: random.Random, uid: str, product: Product, store: Store) -> Line:
    base = product.prices[store.currency]
    more: Record = {}
    if product.is_weighed:
        grams = rng.randrange(50, 1900, 5)
        quantity, gross = f"{grams // 1000}.{grams % 1000:03d}", (base * grams + 500) // 1000
        more["quantity_unit"] = _KILOGRAM
    else:
        pieces = rng.choices(_PIECES, _PIECE_WEIGHTS)[0]
        quantity, gross = str(pieces), base * pieces
        if product.category == "Coffee" and rng.random() < 0.35:
            modifier = _modifier(rng, pieces, store.currency)
            more["modifiers"] = [modifier]
            gross += modifier["total_price_money"]["amount"]
    name = rng.choice(_CLERKS_NOTES) if rng.random() < 0.003 else product.item
    return Line(
        uid, quantity, base, gross, name, product.variation_id, product.variation,
        is_taxed=product.is_taxed, more=more,
    )  # fmt: skip


def _modifier(rng: random.Random, pieces: int, currency: str) -> Record:
    name, price = rng.choice(_MODIFIERS)
    return {
        "uid": "modifier",
        "name": name,
        "quantity": str(pieces),
        "base_price_money": money(price, currency),
        "total_price_money": money(price * pieces, currency),
    }


def _odd_line(rng: random.Random, uid: str, product: Product, store: Store) -> Line | None:
    """Now and then something that is not in the catalogue, or that costs nothing."""
    luck = rng.random()
    if luck < 0.004:
        amount = rng.randrange(200, 3000, 50)
        return Line(uid, "1", amount, amount, "Alteration", item_type="CUSTOM_AMOUNT", is_taxed=True)
    if luck < 0.008:
        return Line(uid, "1", 0, 0, product.item, product.variation_id, product.variation)
    return None


def _discount(rng: random.Random, store: Store, lines: list[Line]) -> list[Record]:
    """Discounts on one line, on the whole order, or (rarely) both; line discounts come first."""
    luck = rng.random()
    records = []
    if luck < 0.1:
        records.append(_line_discount(rng, store, rng.choice(lines)))
    if 0.08 < luck < 0.2:
        records.append(_order_discount(rng, store, lines))
    return [record for record in records if record]


def _line_discount(rng: random.Random, store: Store, line: Line) -> Record:
    amount = min(rng.choice((100, 200, 500)), line.gross)
    if not amount:
        return {}
    line.discounts.append(("last-piece", amount))
    return {
        "uid": "last-piece",
        "name": "Last piece",
        "type": "FIXED_AMOUNT",
        "amount_money": money(amount, store.currency),
        "applied_money": money(amount, store.currency),
        "scope": "LINE_ITEM",
    }


def _order_discount(rng: random.Random, store: Store, lines: list[Line]) -> Record:
    weights = [line.total for line in lines]
    percentage = rng.choice((None, 10, 20))
    amount = min(500, sum(weights)) if percentage is None else (sum(weights) * percentage + 50) // 100
    if not amount:
        return {}
    for line, share in zip(lines, spread(amount, weights), strict=True):
        if share:
            line.discounts.append(("whole-order", share))
    record = {"uid": "whole-order", "scope": "ORDER", "applied_money": money(amount, store.currency)}
    if percentage is None:
        fixed = {"name": "Voucher 5", "type": "FIXED_AMOUNT", "amount_money": money(amount, store.currency)}
        return {**record, **fixed}
    return {**record, "name": f"{percentage} % off", "type": "FIXED_PERCENTAGE", "percentage": str(percentage)}


def _service(lines: list[Line]) -> int:
    return (sum(line.total for line in lines) * 125 + 500) // 1000


def _service_charge(amount: int, tax: int, currency: str) -> Record:
    return {
        "uid": "service",
        "name": "Service 12.5 %",
        "percentage": "12.5",
        "applied_money": money(amount, currency),
        "total_money": money(amount, currency),
        "total_tax_money": money(tax, currency),
        "calculation_phase": "SUBTOTAL_PHASE",
        "taxable": True,
        "applied_taxes": [{"uid": "service-tax", "tax_uid": _TAX_UID, "applied_money": money(tax, currency)}],
        "type": "CUSTOM",
        "treatment_type": "LINE_ITEM_TREATMENT",
        "scope": "ORDER",
    }


def _tax(lines: list[Line], service: int) -> int:
    """Put the 20 % that the prices include on each taxed line; what the service charge includes is returned."""
    taxed = [line for line in lines if line.is_taxed]
    bases = [*(line.total for line in taxed), service]
    included = (sum(bases) * 20 + 60) // 120
    *shares, service_tax = spread(included, bases)
    for line, share in zip(taxed, shares, strict=True):
        if share:
            line.taxes.append((_TAX_UID, share))
    return service_tax


def _tax_record(store: Store, lines: list[Line], service_tax: int) -> list[Record]:
    amount = sum(line.tax for line in lines) + service_tax
    if not amount:
        return []
    return [
        {
            "uid": _TAX_UID,
            "catalog_object_id": TAX_ID,
            "name": store.tax_name,
            "type": "INCLUSIVE",
            "percentage": "20",
            "applied_money": money(amount, store.currency),
            "scope": "LINE_ITEM",
        }
    ]
