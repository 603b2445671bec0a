"""Changes to the shop from outside, under `/_shop/`: sandbox routes that no vendor has, without a token.

Each takes `{"<name>": [record, ...]}` with whole records in Square's JSON. An order that is already there gets the next
version; without a time of change it keeps its own. Only what places a record is checked, see `documents`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from engage_pipelines.sandbox.square import documents
from engage_pipelines.sandbox.square.refusals import SquareRefusedError
from engage_pipelines.sandbox.square.store import Document
from engage_pipelines.sandbox.square.till import Call, Till

_PLACES: dict[str, Callable[[documents.Record], list[Document]]] = {
    "orders": documents.one(documents.order_document),
    "customers": documents.one(documents.customer_document),
    "catalog": documents.catalog_documents,
    "counts": documents.one(documents.count_document),
    "payments": documents.one(documents.payment_document),
    "refunds": documents.one(documents.refund_document),
    "locations": documents.one(documents.location_document),
}


def change_shop(till: Till, call: Call) -> Response:
    """POST /_shop/{name}: put whole records on the till; all of them or, if one cannot be placed, none."""
    name = call.path["name"]
    place, records = _PLACES.get(name), call.body.get(name)
    if place is None or not isinstance(records, list):
        raise SquareRefusedError("EXPECTED_ARRAY", f"Send a list named after one of {', '.join(_PLACES)}.", field=name)
    with till.store.transaction():
        if name == "orders":
            records = [_next_version(till, order) for order in records]
        till.store.put([document for record in records for document in place(_mapping(record))])
    return Response(msgspec.json.encode({"changed": len(records)}), media_type="application/json")


def _next_version(till: Till, order: object) -> dict[str, Any]:
    given = dict(_mapping(order))
    key = str(given.get("id"))
    present = till.store.version_of("order", key)
    if present is None:
        return {"version": 1, **given}
    given["version"] = present + 1
    if "updated_at" not in given:
        given["updated_at"] = msgspec.json.decode(till.store.bodies("order", [key])[0])["updated_at"]
    return given


def _mapping(record: object) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise SquareRefusedError("EXPECTED_OBJECT", "A record must be an object.")
    return record
