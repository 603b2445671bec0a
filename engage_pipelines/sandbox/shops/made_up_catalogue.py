"""The made-up chain's catalogue and stock: 120 items in ten categories, 300 variations, and the oddities of life."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from engage_pipelines.sandbox.shops.made_up_stores import STORES
from engage_pipelines.sandbox.shops.order_shapes import Record, money
from engage_pipelines.sandbox.square.timestamps import from_datetime, to_text

TAX_ID = "TAX-STANDARD"
KILOGRAM_ID = "UNIT-KILOGRAM"
_HOUR = 3_600_000_000
_ITEMS_PER_CATEGORY = 12


class Product(NamedTuple):
    """A variation as a till sells it; prices in minor units of the currency, per piece or per kilogram."""

    variation_id: str
    item: str
    variation: str
    category: str
    prices: dict[str, int]
    is_weighed: bool
    is_taxed: bool
    is_served: bool


class _Category(NamedTuple):
    name: str
    styles: tuple[str, ...]
    nouns: tuple[str, ...]
    variations: tuple[str, ...]
    lowest: int
    highest: int
    is_taxed: bool = True
    is_served: bool = False


_SIZES = ("S", "M", "L", "XL")
_CATEGORIES = (
    _Category("Tops", ("Plain", "Striped", "Printed"), ("T-shirt", "Polo", "Blouse", "Vest"), _SIZES, 1400, 4200),
    _Category("Knitwear", ("Merino", "Lambswool", "Cotton"), ("Jumper", "Cardigan", "Beanie", "Scarf"), _SIZES,
              2500, 9800),
    _Category("Bags", ("Canvas", "Leather", "Waxed"), ("Tote", "Satchel", "Rucksack", "Pouch"), ("Sand", "Navy"),
              1200, 14500),
    _Category("Mugs", ("Speckled", "Glazed", "Enamel"), ("Mug", "Beaker", "Espresso Cup", "Tumbler"),
              ("White", "Green"), 650, 2200),
    _Category("Candles", ("Fig", "Cedar", "Sea Salt"), ("Candle", "Tea Lights", "Diffuser", "Wax Melt"),
              ("Small", "Medium", "Large"), 500, 3800),
    _Category("Books", ("City", "Garden", "Kitchen"), ("Guide", "Atlas", "Notebook", "Almanac"), ("Paperback",),
              700, 2600, is_taxed=False),
    _Category("Stationery", ("Lined", "Dotted", "Recycled"), ("Journal", "Letter Set", "Planner", "Card Pack"),
              ("A5", "A6"), 300, 1800),
    _Category("Coffee", ("Oat", "House", "Iced"), ("Latte", "Flat White", "Filter", "Mocha"),
              ("Small", "Regular", "Large"), 240, 480, is_served=True),
    _Category("Cakes", ("Lemon", "Carrot", "Almond"), ("Loaf", "Tart", "Brownie", "Bun"), ("Slice", "Whole"),
              280, 2400, is_served=True),
    _Category("Loose Tea", ("Assam", "Darjeeling", "Rooibos"), ("Breakfast", "Earl Grey", "Spiced", "Smoked"),
              ("By weight", "Tin 100 g"), 900, 6400),
)  # fmt: skip


class Catalogue(NamedTuple):
    """Catalogue objects and stock counts in Square's shape, and the products that the tills sell."""

    objects: list[Record]
    counts: list[Record]
    products: list[Product]


def make_catalogue(rng: random.Random, first_day: date, last_day: date) -> Catalogue:
    """The whole catalogue, changed here and there in the course of time, and each store's stock."""
    objects = [_tax(first_day), _kilogram(first_day)]
    products: list[Product] = []
    for number, category in enumerate(_CATEGORIES):
        objects.append(_stamped(rng, first_day, first_day, _category(number, category)))
        for item in _items(rng, number, category, products):
            objects.append(_stamped(rng, first_day, last_day, item))
    objects.append(_stamped(rng, last_day, last_day, _discontinued()))
    return Catalogue(objects, list(_counts(rng, products, last_day)), products)


def check_digit(digits: str) -> str:
    """The last digit of an EAN or UPC number whose other digits these are."""
    weighted = sum(int(digit) * (3 if at % 2 == 0 else 1) for at, digit in enumerate(reversed(digits)))
    return str(-weighted % 10)


def _items(rng: random.Random, number: int, category: _Category, products: list[Product]) -> Iterator[Record]:
    names = [f"{style} {noun}" for style in category.styles for noun in category.nouns]
    for position, name in enumerate(names):
        item_number = number * _ITEMS_PER_CATEGORY + position
        base = rng.randrange(category.lowest, category.highest, 10)
        variations = []
        for ordinal, label in enumerate(category.variations):
            price = base + ordinal * max(base // 6, 10)
            product = _product(item_number, ordinal, name, label, category, price)
            products.append(product)
            variations.append(_variation(rng, product, item_number, ordinal))
        yield _item(item_number, number, name, category, variations)


def _product(item: int, ordinal: int, name: str, label: str, category: _Category, price: int) -> Product:
    return Product(
        variation_id=f"VAR-{item:04d}-{ordinal}",
        item=name,
        variation=label,
        category=category.name,
        prices={"GBP": price, "EUR": price * 118 // 100 // 5 * 5},
        is_weighed=label == "By weight",
        is_taxed=category.is_taxed,
        is_served=category.is_served,
    )


def _variation(rng: random.Random, product: Product, item_number: int, ordinal: int) -> Record:
    # A cost exists only in API versions from 2026 on; older contracts let the extra field pass.
    cost = money(product.prices["GBP"] * rng.randrange(28, 56) // 100, "GBP")
    paris = {
        "location_id": STORES[2].location_id,
        "pricing_type": "FIXED_PRICING",
        "price_money": money(product.prices["EUR"], "EUR"),
    }
    data: Record = {
        "item_id": f"ITEM-{item_number:04d}",
        "name": product.variation,
        "ordinal": ordinal,
        "pricing_type": "FIXED_PRICING",
        "price_money": money(product.prices["GBP"], "GBP"),
        "location_overrides": [paris],
        "track_inventory": not product.is_served,
        "sellable": True,
        "stockable": not product.is_served,
        "vendor_information": [
            {"vendor_id": f"VENDOR-{item_number % 7}", "unit_cost_money": cost},
        ],
    }
    if product.is_weighed:
        data["measurement_unit_id"] = KILOGRAM_ID
    data |= _codes(product, item_number, ordinal)
    return {"type": "ITEM_VARIATION", "id": product.variation_id, "item_variation_data": data}


def _codes(product: Product, item_number: int, ordinal: int) -> Record:
    """SKU and barcode. Two SKUs differ by case alone, one variation has none; what is served has no barcode."""
    sku = f"{product.category[:3].upper()}-{item_number:04d}-{product.variation[:2].upper()}"
    odd: dict[str, str | None] = {"VAR-0036-0": "mug-01", "VAR-0037-0": "MUG-01", "VAR-0084-1": None}
    found = odd.get(product.variation_id, sku)
    codes: Record = {} if found is None else {"sku": found}
    if not product.is_served and not product.is_weighed:
        # 20..29 is the range for a shop's own numbers: no barcode of anybody else.
        digits = (
            f"2{item_number:04d}{ordinal}00000"[:11] if item_number % 9 == 0 else f"29{item_number:05d}{ordinal:05d}"
        )
        codes["upc"] = digits + check_digit(digits)
    return codes


def _item(number: int, category: int, name: str, described: _Category, variations: list[Record]) -> Record:
    data: Record = {
        "name": name,
        "description": f"{name} from our {described.name.lower()} range.",
        "is_taxable": described.is_taxed,
        "tax_ids": [TAX_ID] if described.is_taxed else [],
        "product_type": "FOOD_AND_BEV" if described.is_served else "REGULAR",
        "categories": [{"id": f"CAT-{category:02d}", "ordinal": number}],
        "reporting_category": {"id": f"CAT-{category:02d}", "ordinal": number},
        "is_archived": number == 71,
        "variations": variations,
    }
    return {"type": "ITEM", "id": f"ITEM-{number:04d}", "item_data": data}


def _category(number: int, category: _Category) -> Record:
    data = {"name": category.name, "category_type": "REGULAR_CATEGORY", "is_top_level": True}
    return {"type": "CATEGORY", "id": f"CAT-{number:02d}", "category_data": data}


def _discontinued() -> Record:
    """An item that is no longer there: lists leave it out, searches show it when asked to."""
    data = {"name": "Paper Lantern", "product_type": "REGULAR"}
    return {"type": "ITEM", "id": "ITEM-9999", "is_deleted": True, "item_data": data}


def _tax(first_day: date) -> Record:
    data = {
        "name": "VAT",
        "calculation_phase": "TAX_SUBTOTAL_PHASE",
        "inclusion_type": "INCLUSIVE",
        "percentage": "20.0",
        "applies_to_custom_amounts": True,
        "enabled": True,
    }
    return _with_stamp(_start(first_day), {"type": "TAX", "id": TAX_ID, "tax_data": data})


def _kilogram(first_day: date) -> Record:
    unit = {"type": "TYPE_WEIGHT", "weight_unit": "METRIC_KILOGRAM"}
    data = {"measurement_unit": unit, "precision": 3}
    record = {"type": "MEASUREMENT_UNIT", "id": KILOGRAM_ID, "measurement_unit_data": data}
    return _with_stamp(_start(first_day), record)


def _stamped(rng: random.Random, first_day: date, last_day: date, record: Record) -> Record:
    """The record with its last change: one in four was changed after the first day."""
    hours = (last_day - first_day).days * 24
    later = rng.randrange(hours) if hours and rng.random() < 0.25 else 0
    return _with_stamp(_start(first_day) + later * _HOUR, record)


def _with_stamp(moment: int, record: Record) -> Record:
    stamp = {"updated_at": to_text(moment), "version": moment // 1000, "present_at_all_locations": True}
    full = {"is_deleted": False, **stamp, **record}
    data = full.get("item_data", {})
    if "variations" in data:
        full["item_data"] = {**data, "variations": [_with_stamp(moment, child) for child in data["variations"]]}
    return full


def _start(day: date) -> int:
    return from_datetime(datetime(day.year, day.month, day.day, 6, tzinfo=UTC))


def _counts(rng: random.Random, products: list[Product], last_day: date) -> Iterator[Record]:
    """Stock of what is not made to order: some of it sold out, a little of it below zero."""
    for product in products:
        if product.is_served:
            continue
        for store in STORES:
            moment = _start(last_day - timedelta(days=rng.randrange(60))) + rng.randrange(12 * _HOUR) // 1000 * 1000
            yield {
                "catalog_object_id": product.variation_id,
                "catalog_object_type": "ITEM_VARIATION",
                "state": "IN_STOCK",
                "location_id": store.location_id,
                "quantity": _quantity(rng, product),
                "calculated_at": to_text(moment),
            }


def _quantity(rng: random.Random, product: Product) -> str:
    luck = rng.random()
    if luck < 0.04:
        return "0"
    if luck < 0.05:
        return str(-rng.randrange(1, 4))
    if product.is_weighed:
        return f"{rng.randrange(1, 12)}.{rng.randrange(1000):03d}"
    return str(rng.randrange(1, 90))
