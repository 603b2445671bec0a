"""The catalogue: lists without deleted objects, and searches by time of change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from engage_pipelines.sandbox.square import fields
from engage_pipelines.sandbox.square.conditions import Where, inside, one_of
from engage_pipelines.sandbox.square.paging import answer, find_place, turn
from engage_pipelines.sandbox.square.store import Found, Search
from engage_pipelines.sandbox.square.till import Call, Till
from engage_pipelines.sandbox.square.timestamps import to_text

_LIST_FIELDS = frozenset({"cursor", "types"})
_SEARCH_FIELDS = frozenset(
    {"cursor", "object_types", "include_deleted_objects", "include_related_objects", "begin_time", "limit"}
)
_LIVE: Where = (f"coalesce({inside('is_deleted')}, 0) = 0", ())


def list_catalog(till: Till, call: Call) -> Response:
    """GET /v2/catalog/list: 100 objects a page, deleted ones never."""
    fields.refuse_others(call.query, _LIST_FIELDS)
    place = find_place(till, "catalog/list", call.query)
    types = [part.strip().upper() for part in (fields.text(call.query, "types") or "").split(",") if part.strip()]
    search = Search("catalog", wheres=(*one_of("label", types), _LIVE))
    found, cursor = turn(till, search, place, 100)
    return answer("objects", (record.body for record in found), cursor)


def search_catalog(till: Till, call: Call) -> Response:
    """POST /v2/catalog/search: objects changed after `begin_time`, that moment itself excluded."""
    fields.refuse_others(call.body, _SEARCH_FIELDS)
    place = find_place(till, "catalog/search", call.body)
    wheres = one_of("label", fields.texts(call.body, "object_types"))
    begin = fields.moment(call.body, "begin_time")
    if begin is not None:
        wheres.append(("updated_at > ?", (begin,)))
    if not fields.flag(call.body, "include_deleted_objects"):
        wheres.append(_LIVE)
    limit = fields.ignored_beyond(call.body, "limit", default=100, highest=1000)
    found, cursor = turn(till, Search("catalog", wheres=tuple(wheres)), place, limit)
    related = _related(till, found) if fields.flag(call.body, "include_related_objects") else None
    bodies = (record.body for record in found)
    return answer("objects", bodies, cursor, related_objects=related, latest_time=_latest_time(till))


def _latest_time(till: Till) -> str | None:
    newest = till.store.page(Search("catalog", descending=True), None, 1)
    return to_text(newest[0].stamp) if newest else None


def _related(till: Till, found: list[Found]) -> list[msgspec.Raw] | None:
    """Objects that those of the page point to and that are not on the page themselves."""
    wanted = {key: None for record in found for key in _references(msgspec.json.decode(record.body))}
    own = {record.id for record in found}
    bodies = till.store.bodies("catalog", [key for key in wanted if key not in own])
    return [msgspec.Raw(body) for body in bodies] or None


def _references(catalog_object: Mapping[str, Any]) -> list[str]:
    item = catalog_object.get("item_data") or {}
    variation = catalog_object.get("item_variation_data") or {}
    categories = [category.get("id") for category in item.get("categories") or []]
    keys = [*categories, *(item.get("tax_ids") or []), variation.get("item_id"), variation.get("measurement_unit_id")]
    return [key for key in keys if key]
