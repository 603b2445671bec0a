"""A small chain with two stores, made by hand: every kind of record, in the week in which the clocks change.

London sells in GBP and Berlin in EUR. Days are 28 March to 3 April 2024; Voyado goes live on 2 April.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from engage_pipelines.sandbox.square import SquareStandIn, documents

Record = dict[str, Any]

FIRST_DAY = date(2024, 3, 28)
LAST_DAY = date(2024, 4, 3)
DAYS = (FIRST_DAY, LAST_DAY)
GO_LIVE_ON = date(2024, 4, 2)
# The night after the last day.
NOW = datetime(2024, 4, 4, 1, 30, tzinfo=UTC)

RECEIPTS = 42
OPEN, VOIDED, TIPPED, RETURNED = 5, 11, 17, 23
WITHOUT_CUSTOMER = frozenset(range(3, RECEIPTS, 4))
CUSTOMERS = 12
PRODUCTS = 14

STORES = {"L1": ("London", "Europe/London", "GBP", "GB"), "L2": ("Berlin", "Europe/Berlin", "EUR", "DE")}


def fill(directory: Path) -> None:
    """Fill the till of a stand-in whose state is in `directory`."""
    till = SquareStandIn(directory)
    with till.store.transaction():
        till.store.put([documents.location_document(location(store_id)) for store_id in STORES])
        till.store.put([row for each in catalog() for row in documents.catalog_documents(each)])
        till.store.put([documents.count_document(each) for each in counts()])
        till.store.put([documents.customer_document(each) for each in customers()])
        for number in range(RECEIPTS):
            till.store.put([documents.order_document(receipt(number))])
            till.store.put([documents.payment_document(each) for each in payments(number)])
        till.store.put([documents.refund_document(loose_refund())])
    till.close()


def text(at: datetime) -> str:
    """A moment as Square writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sold_at(number: int) -> datetime:
    """Six receipts a day, at hours far from midnight in every zone."""
    day, of_day = divmod(number, 6)
    return datetime(2024, 3, 28, 9, tzinfo=UTC) + timedelta(days=day, minutes=67 * of_day)


def store_of(number: int) -> str:
    return "L2" if number % 3 == 2 else "L1"


def money(amount: int, currency: str) -> Record:
    return {"amount": amount, "currency": currency}


def location(store_id: str) -> Record:
    name, zone, currency, country = STORES[store_id]
    return {
        "id": store_id, "name": name, "timezone": zone, "currency": currency, "country": country, "status": "ACTIVE",
        "address": {"address_line_1": "1 Made Up Street", "locality": name, "country": country},
        "created_at": "2019-01-01T00:00:00.000Z", "type": "PHYSICAL",
    }  # fmt: skip


def catalog() -> Iterator[Record]:
    """One category and fourteen items of one variation each: two SKUs equal but for case, one item without SKU."""
    yield {"type": "CATEGORY", "id": "CAT1", "updated_at": "2024-03-01T00:00:00Z", "version": 1,
           "category_data": {"name": "Tableware"}}  # fmt: skip
    skus: list[str | None] = [f"SKU-{number:02}" for number in range(PRODUCTS)]
    skus[12], skus[13] = "sku-01", None
    for number, sku in enumerate(skus):
        data = {"item_id": f"I{number:02}", "name": "Regular", "price_money": money(500 + 10 * number, "GBP")}
        if sku is not None:
            data["sku"] = sku
        variation = {"type": "ITEM_VARIATION", "id": f"V{number:02}", "updated_at": "2024-03-02T00:00:00Z",
                     "version": 1, "item_variation_data": data}  # fmt: skip
        yield {"type": "ITEM", "id": f"I{number:02}", "updated_at": "2024-03-02T00:00:00Z", "version": 1,
               "item_data": {"name": f"Mug {number}", "category_id": "CAT1", "variations": [variation]}}  # fmt: skip


def counts() -> Iterator[Record]:
    for number in range(PRODUCTS):
        for store_id in STORES:
            yield {
                "catalog_object_id": f"V{number:02}", "catalog_object_type": "ITEM_VARIATION", "state": "IN_STOCK",
                "location_id": store_id, "quantity": str(10 + number), "calculated_at": "2024-04-01T06:00:00.000Z",
            }  # fmt: skip


def customers() -> Iterator[Record]:
    """Twelve people; the last but one has no valid phone, the last one neither phone nor e-mail."""
    for number in range(CUSTOMERS):
        changed = datetime(2024, 3, 28, 8, tzinfo=UTC) + timedelta(hours=11 * number)
        person: Record = {
            "id": f"C{number:02}", "given_name": f"Wilhelmina{number}", "family_name": f"Featherstone{number}",
            "created_at": "2023-05-01T00:00:00.000Z", "updated_at": text(changed), "version": 1,
            "email_address": f"wilhelmina{number}@shop-of-tests.example", "phone_number": f"+4479460000{number:02}",
            "address": {"address_line_1": f"{number} Nightingale Lane", "locality": "London", "country": "GB"},
        }  # fmt: skip
        if number == CUSTOMERS - 2:
            person["phone_number"] = "12"
        if number == CUSTOMERS - 1:
            del person["phone_number"], person["email_address"]
        yield person


def line(uid: str, number: int, currency: str, quantity: int = 1, **fields: Any) -> Record:
    """A line of product `number` without discount and tax."""
    unit = 500 + 10 * number
    gross = money(unit * quantity, currency)
    return {
        "uid": uid, "name": f"Mug {number}", "quantity": str(quantity), "item_type": "ITEM",
        "catalog_object_id": f"V{number:02}", "variation_name": "Regular",
        "base_price_money": money(unit, currency), "gross_sales_money": gross,
        "total_tax_money": money(0, currency), "total_discount_money": money(0, currency), "total_money": gross,
        **fields,
    }  # fmt: skip


def order(
    order_id: str, lines: list[Record], at: datetime, *, store_id: str = "L1", tip: int = 0, **fields: Any
) -> Record:
    """A completed sale of these lines, paid by card."""
    currency = STORES[store_id][2]
    amount = sum(each["total_money"]["amount"] for each in lines) + tip
    total = money(amount, currency)
    tender = {
        "id": f"P-{order_id}", "type": "CARD", "amount_money": total, "tip_money": money(tip, currency),
        "payment_id": f"P-{order_id}",
    }  # fmt: skip
    made = {
        "id": order_id, "location_id": store_id, "state": "COMPLETED", "version": 1, "line_items": lines,
        "created_at": text(at), "updated_at": text(at + timedelta(minutes=2)),
        "closed_at": text(at + timedelta(minutes=1)), "total_money": total, "total_tip_money": money(tip, currency),
        "total_tax_money": money(0, currency), "total_discount_money": money(0, currency),
        "net_amounts": {"total_money": total, "tip_money": money(tip, currency)}, "tenders": [tender], **fields,
    }  # fmt: skip
    return {name: value for name, value in made.items() if value is not None}


def receipt(number: int) -> Record:
    """Receipt `number` of the week: most are sales, one is open, one voided, one a return."""
    store_id, at = store_of(number), sold_at(number)
    currency = STORES[store_id][2]
    lines = [line(chr(97 + k), (number + k) % PRODUCTS, currency, 1 + k) for k in range(1 + number % 3)]
    fields: Record = {"customer_id": None if number in WITHOUT_CUSTOMER else f"C{number % CUSTOMERS:02}"}
    if number == OPEN:
        fields |= {"state": "OPEN", "closed_at": None, "tenders": None}
    if number == VOIDED:
        fields |= {"state": "CANCELED", "tenders": None}
    if number == RETURNED:
        return _return(number, fields)
    return order(f"O{number:02}", lines, at, store_id=store_id, tip=150 if number == TIPPED else 0, **fields)


def _return(number: int, fields: Record) -> Record:
    store_id, currency = store_of(number), STORES[store_of(number)][2]
    back = line("r", number % PRODUCTS, currency)
    back["gross_return_money"] = back.pop("gross_sales_money")
    amount: int = back["total_money"]["amount"]
    whole = order(f"O{number:02}", [], sold_at(number), store_id=store_id, **fields)
    return {
        **{name: value for name, value in whole.items() if name not in {"line_items", "tenders", "total_tip_money"}},
        "total_money": money(0, currency),
        "returns": [{"uid": "e", "source_order_id": "O20", "return_line_items": [back]}],
        "return_amounts": {"total_money": money(amount, currency)},
        "net_amounts": {"total_money": money(-amount, currency), "tip_money": money(0, currency)},
        "refunds": [{"id": "F-1", "tender_id": "P-O20", "status": "APPROVED", "location_id": store_id,
                     "amount_money": money(amount, currency)}],
    }  # fmt: skip


def payments(number: int) -> list[Record]:
    made = receipt(number)
    tip = made.get("total_tip_money", {}).get("amount", 0)
    currency = STORES[made["location_id"]][2]
    return [
        {
            "id": tender["id"], "order_id": made["id"], "location_id": made["location_id"], "status": "COMPLETED",
            "amount_money": money(tender["amount_money"]["amount"] - tip, currency), "tip_money": money(tip, currency),
            "total_money": tender["amount_money"], "receipt_number": f"R{number:02}", "source_type": "CARD",
            "created_at": made["created_at"], "updated_at": made["updated_at"],
        }
        for tender in made.get("tenders", [])
    ]  # fmt: skip


def loose_refund() -> Record:
    """Money that went back without an order."""
    at = sold_at(30)
    return {
        "id": "F-LOOSE", "location_id": "L1", "status": "COMPLETED", "destination_type": "CARD",
        "amount_money": money(230, "GBP"), "created_at": text(at), "updated_at": text(at + timedelta(minutes=1)),
    }  # fmt: skip


def personal_values() -> list[str]:
    """Everything about a person that must stay out of errors, logs and metadata."""
    found = []
    for person in customers():
        found += [person[name] for name in ("email_address", "given_name", "family_name") if name in person]
        phone = person.get("phone_number", "")
        found += [phone, phone.lstrip("+"), phone.removeprefix("+44")] if len(phone) > 5 else []
        found.append(person["address"]["address_line_1"])
    return found
