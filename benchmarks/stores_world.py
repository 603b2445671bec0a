"""The chain of `nightly_world`, with its receipts spread over more stores."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from engage_pipelines.sandbox.square import SquareStandIn, documents
from engage_pipelines.sandbox.square.store import Search

_ALL = 10_000_000
_DOCUMENT_OF = {
    "order": documents.order_document, "payment": documents.payment_document, "refund": documents.refund_document,
}  # fmt: skip


def spread(folder: Path, stores: int) -> None:
    """Open stores in an installation's till until there are so many, and move each receipt to one of its place's."""
    till = SquareStandIn(folder / "sandbox" / "square")
    with till.store.transaction():
        branches = _open_stores(till, stores)
        for kind, document_of in _DOCUMENT_OF.items():
            found = (json.loads(found.body) for found in till.store.page(Search(kind), None, _ALL))
            till.store.put([document_of(_moved(record, branches)) for record in found])
    till.close()


def _open_stores(till: SquareStandIn, stores: int) -> dict[str, list[str]]:
    """Place -> the stores that share its receipts, itself first; new ones have its currency and time zone."""
    places = [json.loads(found.body) for found in till.store.page(Search("location"), None, _ALL)]
    branches = {place["id"]: [place["id"]] for place in places}
    for number in range(stores - len(places)):
        place = places[number % len(places)]
        store = place | {"id": f"{place['id']}{number:04}", "name": f"{place['name']} {number}"}
        branches[place["id"]].append(store["id"])
        till.store.put([documents.location_document(store)])
    return branches


def _moved(record: dict[str, Any], branches: dict[str, list[str]]) -> dict[str, Any]:
    """A record at the store of its receipt: the same one for an order, its payments and its refunds."""
    stores = branches[record["location_id"]]
    receipt = record.get("order_id") or record["id"]
    return record | {"location_id": stores[zlib.crc32(receipt.encode()) % len(stores)]}
