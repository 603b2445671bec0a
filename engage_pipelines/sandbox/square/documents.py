"""Square's records as rows of the store: which fields place a record, and what an order comes to.

Only the placing fields must be sound. The rest of a record is kept and sent as it was given, so that broken material
can be put on the till to see what a reader makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from engage_pipelines.sandbox.square.refusals import SquareRefusedError
from engage_pipelines.sandbox.square.store import Document
from engage_pipelines.sandbox.square.timestamps import to_micros

Record = Mapping[str, Any]
Default = TypeVar("Default", int, None)
_encode = msgspec.json.Encoder().encode


def order_document(order: Record) -> Document:
    """An order. Its time of change and version must be there."""
    lines, amount, tip, currency = _measures(order)
    updated_at = _time(order, "updated_at")
    return Document(
        "order", _text(order, "id"), _text(order, "location_id"), _label(order, "state"),
        _lenient_time(order, "created_at", updated_at), updated_at, _lenient_time(order, "closed_at", None),
        _version(order), lines, amount, tip, currency, _encode(order),
    )  # fmt: skip


def payment_document(payment: Record) -> Document:
    """A payment."""
    return _plain("payment", payment, _text(payment, "id"), _label(payment, "status"))


def refund_document(refund: Record) -> Document:
    """A refund of a payment."""
    return _plain("refund", refund, _text(refund, "id"), _label(refund, "status"))


def customer_document(customer: Record) -> Document:
    """A customer."""
    return _plain("customer", customer, _text(customer, "id"), None)


def location_document(location: Record) -> Document:
    """A location; it does not change, so its creation places it."""
    created_at = _time(location, "created_at")
    return _plain("location", location, _text(location, "id"), _label(location, "status"), created_at)


def catalog_documents(catalog_object: Record) -> list[Document]:
    """A catalogue object, and each variation inside an item as an object of its own, as Square lists them."""
    own = _plain("catalog", catalog_object, _text(catalog_object, "id"), _label(catalog_object, "type"))
    item = catalog_object.get("item_data")
    nested = item.get("variations") if isinstance(item, Mapping) else None
    return [own, *(document for child in _list(nested) for document in catalog_documents(child))]


def count_document(count: Record) -> Document:
    """A stock count; variation, location and state together are its key."""
    place = [_text(count, "catalog_object_id"), _text(count, "location_id"), _text(count, "state")]
    calculated_at = _time(count, "calculated_at")
    return _plain("count", count, ":".join(place), place[2], calculated_at)


def one(place: Callable[[Record], Document]) -> Callable[[Record], list[Document]]:
    """A placing function that gives one row, in the shape of those that give several."""
    return lambda record: [place(record)]


def _plain(kind: str, record: Record, key: str, label: str | None, stamp: int | None = None) -> Document:
    updated_at = _time(record, "updated_at") if stamp is None else stamp
    created_at = _lenient_time(record, "created_at", updated_at)
    location = record.get("location_id")
    return Document(
        kind, key, location if isinstance(location, str) else None, label, created_at, updated_at, None,
        _version(record, 0), None, None, None, None, _encode(record),
    )  # fmt: skip


def _measures(order: Record) -> tuple[int, int | None, int | None, str | None]:
    """Lines, net amount and tip in minor units, and currency. What cannot be read is None, never a guess."""
    returns = [part for part in _list(order.get("returns")) if isinstance(part, Mapping)]
    lines = len(_list(order.get("line_items")))
    lines += sum(len(_list(part.get("return_line_items"))) for part in returns)
    net = order.get("net_amounts")
    total, tips = (
        (net.get("total_money"), net.get("tip_money"))
        if isinstance(net, Mapping)
        else (order.get("total_money"), order.get("total_tip_money"))
    )
    amount, currency = _money(total)
    tip, _ = _money(tips)
    return lines, amount, tip, currency


def _money(money: object) -> tuple[int | None, str | None]:
    if not isinstance(money, Mapping):
        return None, None
    amount, currency = money.get("amount"), money.get("currency")
    whole = amount if isinstance(amount, int) and not isinstance(amount, bool) else None
    return whole, currency if isinstance(currency, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(record: Record, field: str) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value:
        raise SquareRefusedError("MISSING_REQUIRED_PARAMETER", f"A record needs {field}.", field=field)
    return value


def _label(record: Record, field: str) -> str:
    value = record.get(field)
    return value if isinstance(value, str) else ""


def _version(record: Record, default: int | None = None) -> int:
    value = record.get("version", default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise SquareRefusedError("EXPECTED_INTEGER", "A record needs a whole version number.", field="version")
    return value


def _time(record: Record, field: str) -> int:
    try:
        return to_micros(record.get(field))
    except ValueError as error:
        raise SquareRefusedError("INVALID_TIME", f"{field}: {error}.", field=field) from error


def _lenient_time(record: Record, field: str, default: Default) -> int | Default:
    try:
        return to_micros(record[field])
    except (KeyError, ValueError):
        return default
