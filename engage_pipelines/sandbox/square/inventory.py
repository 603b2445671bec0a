"""Stock: the present counts of variations at locations."""

from __future__ import annotations

from starlette.responses import Response

from engage_pipelines.sandbox.square import fields
from engage_pipelines.sandbox.square.conditions import inside, one_of
from engage_pipelines.sandbox.square.paging import answer, find_place, turn
from engage_pipelines.sandbox.square.store import Search
from engage_pipelines.sandbox.square.till import Call, Till

_FIELDS = frozenset({"cursor", "limit", "catalog_object_ids", "location_ids", "updated_after", "states"})


def retrieve_counts(till: Till, call: Call) -> Response:
    """POST /v2/inventory/counts/batch-retrieve: oldest calculation first, `updated_after` itself excluded."""
    fields.refuse_others(call.body, _FIELDS)
    limit = fields.bounded(call.body, "limit", default=till.count_page_default, highest=1000)
    place = find_place(till, "inventory/counts", call.body)
    wheres = one_of(inside("catalog_object_id"), fields.texts(call.body, "catalog_object_ids", most=1000))
    wheres += one_of("location_id", fields.texts(call.body, "location_ids"))
    wheres += one_of("label", fields.texts(call.body, "states"))
    after = fields.moment(call.body, "updated_after")
    if after is not None:
        wheres.append(("updated_at > ?", (after,)))
    found, cursor = turn(till, Search("count", wheres=tuple(wheres)), place, limit)
    return answer("counts", (record.body for record in found), cursor)
