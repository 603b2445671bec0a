"""Orders: search by one time range, retrieval by id."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from starlette.responses import Response

from engage_pipelines.sandbox.square import fields
from engage_pipelines.sandbox.square.conditions import Where, between, equal, inside, one_of
from engage_pipelines.sandbox.square.paging import answer, find_place, turn
from engage_pipelines.sandbox.square.refusals import SquareRefusedError, forbidden_location, not_found
from engage_pipelines.sandbox.square.store import Found, Search
from engage_pipelines.sandbox.square.till import Call, Till

_STAMPS = ("created_at", "updated_at", "closed_at")
_STATES = ("OPEN", "COMPLETED", "CANCELED", "DRAFT")
_CLOSED_STATES = frozenset({"COMPLETED", "CANCELED"})
_FILTERS = frozenset({"date_time_filter", "state_filter", "source_filter", "customer_filter"})


class _Range(NamedTuple):
    stamp: str
    start: int | None
    end: int | None


def search_orders(till: Till, call: Call) -> Response:
    """POST /v2/orders/search: whole orders, or entries of id, version and location."""
    limit = min(fields.bounded(call.body, "limit", default=500, highest=1000), till.order_page_limit)
    locations = _known_locations(till, call.body)
    entries = fields.flag(call.body, "return_entries")
    place = find_place(till, "orders/search", call.body)
    search = _search(fields.section(call.body, "query"), locations, place.asked_at)
    found, cursor = turn(till, search, place, limit)
    if entries:
        return answer("order_entries", map(_entry, found), cursor)
    return answer("orders", (order.body for order in found), cursor)


def retrieve_orders(till: Till, call: Call) -> Response:
    """POST /v2/orders/batch-retrieve: at most 100 orders by id; unknown ids are passed over."""
    ids = fields.texts(call.body, "order_ids", most=100)
    if not ids:
        raise SquareRefusedError("MISSING_REQUIRED_PARAMETER", "order_ids is required.", field="order_ids")
    location = fields.text(call.body, "location_id")
    bodies = till.store.bodies("order", ids)
    if location is not None:
        bodies = [body for body in bodies if msgspec.json.decode(body)["location_id"] == location]
    return answer("orders", bodies)


def retrieve_order(till: Till, call: Call) -> Response:
    """GET /v2/orders/{order_id}."""
    bodies = till.store.bodies("order", [call.path["order_id"]])
    if not bodies:
        raise not_found("The order")
    return Response(b'{"order":%s}' % bodies[0], media_type="application/json")


def _entry(order: Found) -> bytes:
    return msgspec.json.encode({"order_id": order.id, "version": order.version, "location_id": order.location_id})


def _known_locations(till: Till, body: fields.Fields) -> list[str]:
    asked = fields.texts(body, "location_ids", most=10)
    if not asked:
        raise SquareRefusedError("MISSING_REQUIRED_PARAMETER", "Name 1 to 10 locations.", field="location_ids")
    known = set(till.store.location_ids())
    for location in asked:
        if location not in known:
            raise forbidden_location(location)
    return asked


def _search(query: fields.Fields, locations: list[str], asked_at: int) -> Search:
    filters, sort = fields.section(query, "filter"), fields.section(query, "sort")
    fields.refuse_others(filters, _FILTERS)
    window = _range(fields.section(filters, "date_time_filter"))
    states = _states(filters)
    stamp = _sort_stamp(sort, window, states)
    wheres = [*equal("location_id", locations[0])] if len(locations) == 1 else one_of("location_id", locations)
    wheres += one_of("label", states) + _rarer_filters(filters)
    if window is not None:
        wheres += between(window.stamp, window.start, asked_at if window.end is None else window.end)
    return Search("order", stamp, fields.descending(sort, "sort_order", "DESC"), tuple(wheres))


def _range(date_time: fields.Fields) -> _Range | None:
    fields.refuse_others(date_time, frozenset(_STAMPS))
    named = [stamp for stamp in _STAMPS if date_time.get(stamp) is not None]
    if not named:
        return None
    if len(named) > 1:
        detail = "Only one of created_at, updated_at and closed_at may be filtered."
        raise SquareRefusedError("CONFLICTING_PARAMETERS", detail, field="query.filter.date_time_filter")
    ends = fields.section(date_time, named[0])
    start, end = fields.moment(ends, "start_at"), fields.moment(ends, "end_at")
    if start is not None and end is not None and start > end:
        detail = "start_at lies behind end_at."
        raise SquareRefusedError("INVALID_TIME_RANGE", detail, field="query.filter.date_time_filter")
    return _Range(named[0], start, end)


def _states(filters: fields.Fields) -> list[str]:
    if filters.get("state_filter") is None:
        return []
    states = fields.texts(fields.section(filters, "state_filter"), "states")
    if not states or not set(states) <= set(_STATES):
        field = "query.filter.state_filter.states"
        raise SquareRefusedError("INVALID_ENUM_VALUE", f"states must name {', '.join(_STATES)}.", field=field)
    return states


def _sort_stamp(sort: fields.Fields, window: _Range | None, states: list[str]) -> str:
    """The time column to sort by; it must be the filtered one, and closing times need closed states."""
    named = tuple(stamp.upper() for stamp in _STAMPS)
    stamp = fields.choice(sort, "sort_field", named, "CREATED_AT").lower()
    if window is not None and window.stamp != stamp:
        detail = f"Filtering by {window.stamp} needs the sort field {window.stamp.upper()}."
        raise SquareRefusedError("CONFLICTING_PARAMETERS", detail, field="query.sort.sort_field")
    if stamp == "closed_at" and not (states and set(states) <= _CLOSED_STATES):
        detail = "Sorting by CLOSED_AT needs a state filter with closed states only."
        raise SquareRefusedError("CONFLICTING_PARAMETERS", detail, field="query.filter.state_filter")
    return stamp


def _rarer_filters(filters: fields.Fields) -> list[Where]:
    sources = fields.texts(fields.section(filters, "source_filter"), "source_names", most=10)
    customers = fields.texts(fields.section(filters, "customer_filter"), "customer_ids", most=10)
    return one_of(inside("source.name"), sources) + one_of(inside("customer_id"), customers)
