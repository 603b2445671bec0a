"""Payments and refunds: lists by time of creation or of change."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from engage_pipelines.sandbox.square import fields
from engage_pipelines.sandbox.square.conditions import Where, between, equal, inside
from engage_pipelines.sandbox.square.paging import Place, answer, find_place, turn
from engage_pipelines.sandbox.square.store import Search
from engage_pipelines.sandbox.square.till import Call, Till

_DEFAULT_REACH = timedelta(days=365) // timedelta(microseconds=1)
_SHARED = frozenset(
    {"begin_time", "end_time", "updated_at_begin_time", "updated_at_end_time", "sort_field", "sort_order"}
    | {"cursor", "limit", "location_id"}
)
_PAYMENT_FILTERS = _SHARED | {"total", "last_4", "card_brand"}
_REFUND_FILTERS = _SHARED | {"status", "source_type"}


def list_payments(till: Till, call: Call) -> Response:
    """GET /v2/payments: without a location, those of the main location only."""
    fields.refuse_others(call.query, _PAYMENT_FILTERS)
    place = find_place(till, "payments", call.query)
    location = fields.text(call.query, "location_id") or next(iter(till.store.location_ids()), "")
    wheres = equal("location_id", location)
    wheres += equal(inside("total_money.amount"), fields.whole(call.query, "total"))
    wheres += equal(inside("card_details.card.last_4"), fields.text(call.query, "last_4"))
    wheres += equal(inside("card_details.card.card_brand"), fields.text(call.query, "card_brand"))
    return _list(till, call.query, place, "payment", wheres)


def list_refunds(till: Till, call: Call) -> Response:
    """GET /v2/refunds: without a location, those of all locations."""
    fields.refuse_others(call.query, _REFUND_FILTERS)
    place = find_place(till, "refunds", call.query)
    wheres = equal("location_id", fields.text(call.query, "location_id"))
    wheres += equal("label", fields.text(call.query, "status"))
    wheres += equal(inside("destination_type"), fields.text(call.query, "source_type"))
    return _list(till, call.query, place, "refund", wheres)


def _list(till: Till, asked: fields.Fields, place: Place, kind: str, wheres: list[Where]) -> Response:
    stamp = fields.choice(asked, "sort_field", ("CREATED_AT", "UPDATED_AT"), "CREATED_AT").lower()
    newest_first = fields.descending(asked, "sort_order", "DESC")
    limit = fields.ignored_beyond(asked, "limit", default=100, highest=100)
    search = Search(kind, stamp, newest_first, (*wheres, *_ranges(asked, place.asked_at)))
    found, cursor = turn(till, search, place, limit)
    return answer(f"{kind}s", (record.body for record in found), cursor)


def _ranges(asked: fields.Fields, asked_at: int) -> list[Where]:
    """Both ranges hold together; that of creation defaults to the year before the first call, as documented."""
    begin, end = fields.moment(asked, "begin_time"), fields.moment(asked, "end_time")
    created = between(
        "created_at", asked_at - _DEFAULT_REACH if begin is None else begin, asked_at if end is None else end
    )
    changed = fields.moment(asked, "updated_at_begin_time"), fields.moment(asked, "updated_at_end_time")
    return created + between("updated_at", *changed)
