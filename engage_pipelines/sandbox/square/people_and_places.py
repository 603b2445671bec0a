"""Customers and locations."""

from __future__ import annotations

from starlette.responses import Response

from engage_pipelines.sandbox.square import fields
from engage_pipelines.sandbox.square.conditions import Where, between, equal, inside
from engage_pipelines.sandbox.square.paging import Place, answer, find_place, turn
from engage_pipelines.sandbox.square.store import Search
from engage_pipelines.sandbox.square.till import Call, Till

_TEXT_FILTERS = ("email_address", "phone_number", "reference_id")
_FILTERS = frozenset({"created_at", "updated_at", *_TEXT_FILTERS})
_SORT_FIELDS = ("DEFAULT", "CREATED_AT")


def search_customers(till: Till, call: Call) -> Response:
    """POST /v2/customers/search: by time of creation or change, e-mail, phone or reference."""
    limit = fields.bounded(call.body, "limit", default=100, highest=100)
    query = fields.section(call.body, "query")
    filters, sort = fields.section(query, "filter"), fields.section(query, "sort")
    fields.refuse_others(filters, _FILTERS)
    fields.choice(sort, "field", _SORT_FIELDS, "DEFAULT")
    place = find_place(till, "customers/search", call.body)
    wheres = [where for stamp in ("created_at", "updated_at") for where in _range(filters, stamp)]
    wheres += [where for name in _TEXT_FILTERS for where in _matches(filters, name)]
    search = Search("customer", "created_at", fields.descending(sort, "order", "ASC"), tuple(wheres))
    return _customers(till, call.body, search, place, limit)


def list_customers(till: Till, call: Call) -> Response:
    """GET /v2/customers."""
    limit = fields.bounded(call.query, "limit", default=100, highest=100)
    fields.choice(call.query, "sort_field", _SORT_FIELDS, "DEFAULT")
    place = find_place(till, "customers", call.query)
    search = Search("customer", "created_at", fields.descending(call.query, "sort_order", "ASC"))
    return _customers(till, call.query, search, place, limit)


def list_locations(till: Till, call: Call) -> Response:
    """GET /v2/locations: all at once, the main one first."""
    return answer("locations", till.store.bodies("location", till.store.location_ids()))


def _customers(till: Till, asked: fields.Fields, search: Search, place: Place, limit: int) -> Response:
    found, cursor = turn(till, search, place, limit)
    count = till.store.count(search) if fields.flag(asked, "count") else None
    return answer("customers", (record.body for record in found), cursor, count=count)


def _range(filters: fields.Fields, stamp: str) -> list[Where]:
    ends = fields.section(filters, stamp)
    return between(stamp, fields.moment(ends, "start_at"), fields.moment(ends, "end_at"))


def _matches(filters: fields.Fields, name: str) -> list[Where]:
    wanted = fields.section(filters, name)
    fuzzy = fields.text(wanted, "fuzzy")
    exact = equal(inside(name), fields.text(wanted, "exact"))
    return exact if fuzzy is None else [*exact, (f"instr(lower({inside(name)}), lower(?)) > 0", (fuzzy,))]
