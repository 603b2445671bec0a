"""Stand-in for AIQ (Alpine IQ): sales, personas and stock, as its documents describe the public API.

Where the documents are silent, this stand-in does the following (every line is an assumption):

* a wrong key, or an account id in the path that is not the key's, is refused with 401;
* a call with a malformed element is refused as a whole with 400; `errors[0].message` names the element;
* at most 100 elements in the bulk calls for sales and members; the documented 100 items for inventory are
  enforced by refusing the call;
* a sale is `{"visit": {...}, "member": {...}?}` in the single and in the bulk call; sending a `pos_id` again
  replaces the sale with its lines;
* a member is `{"member": {...}}` with `srcID` (or `id`), e-mail and phone on top of the other fields;
* personas are matched by source id, then phone, then e-mail; a persona may have several source ids;
* a phone is valid as ten digits or as E.164; anything else is stored blank;
* stock is absolute, per product and location, last write wins;
* `limit` outside 100 to 2,000 is moved to the nearer end;
* `search` is `email:`, `mobilePhone:` or `srcID:` with the whole value, or the whole value of any of these alone; a
  persona of several source ids is found by each and shows the first;
* the orders of a persona that does not exist, or is not there yet, are an empty list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hmac import compare_digest
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engage_pipelines.sandbox.aiq_rules import check_inventory_item, check_member, check_sale
from engage_pipelines.sandbox.aiq_world import AiqWorld
from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.handling import (
    Handler,
    UnreadableError,
    answer,
    fault_in,
    read_elements,
    read_json,
    retry_after_header,
    threaded,
)

Check = Callable[[Any], str | None]


def _good(data: Any) -> Response:
    return answer({"data": data, "errors": [], "code": 200, "success": True})


def _bad(status: int, message: str) -> Response:
    problem = {"message": message, "code": status}
    return answer({"data": None, "errors": [problem], "code": status, "success": False}, status)


class AiqStandIn:
    """AIQ as callers of its public API see it.

    Args:
        directory: folder of the sandbox's state.
        api_key: value of the header `x-apikey`.
        uid: account id, a segment of most paths.
        stores: names of the account's stores; without any, every location that ever sold is one.
        rates: declared limits; AIQ publishes none.
        in_flight: requests at once.
        ingestion_delay: seconds until bulk and v1.1 records can be read back (the real one: up to a day).
        clock: epoch seconds.
    """

    name = "aiq"

    def __init__(
        self,
        directory: Path,
        *,
        api_key: str = "sandbox-aiq-key",
        uid: str = "1001",
        stores: Sequence[str] = (),
        rates: tuple[tuple[int, float], ...] = ((200, 1.0),),
        in_flight: int = 4,
        batch_limit: int = 100,
        ingestion_delay: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rates = rates
        self.in_flight = in_flight
        self._api_key = api_key
        self._uid = uid
        self._batch_limit = batch_limit
        self._clock = clock
        self.world = AiqWorld(directory, stores=stores, delay=ingestion_delay)

    def routes(self) -> list[Route]:
        """The API."""
        v1 = "/api/v1.1"

        def post(path: str, handler: Handler) -> Route:
            return Route(path, threaded(self._guarded(handler)), methods=["POST"])

        def get(path: str, handler: Handler) -> Route:
            return Route(path, threaded(self._guarded(handler)), methods=["GET"])

        return [
            post(f"{v1}/createUpdateSale/{{uid}}", self._sale),
            post(f"{v1}/createUpdateSales/{{uid}}", self._sales),
            post(f"{v1}/createUpdateMember/{{uid}}", self._member),
            post(f"{v1}/createUpdateMembers/{{uid}}", self._members),
            post(f"{v1}/createUpdateInventory/{{uid}}", self._inventory),
            post("/api/v2/loyalty", self._loyalty),
            get(f"{v1}/piis/{{uid}}", self._piis),
            get(f"{v1}/piis/{{uid}}/{{contact}}", self._pii),
            get(f"{v1}/contact/orders/{{uid}}/{{contact}}", self._orders),
            get(f"{v1}/stores/{{uid}}", self._stores),
        ]

    def throttled(self, retry_after: float | None) -> Response:
        """429 in AIQ's envelope."""
        problem = {"message": "too many requests", "code": 429}
        body = {"data": None, "errors": [problem], "code": 429, "success": False}
        return answer(body, 429, retry_after_header(retry_after))

    def fault_answer(self, fault: Fault) -> Response:
        """A 200 whose envelope says no, or the refusal of the key."""
        if fault.kind == "expired_token":
            return _bad(401, "the api key is no longer valid")
        problem = {"message": fault.message, "code": 500}
        return answer({"data": None, "errors": [problem], "code": 500, "success": False})

    def report(self) -> dict[str, Any]:
        """Counts of what AIQ holds, and the exact sum of all sales."""
        return self.world.report()

    def records(self, kind: str, offset: int, limit: int) -> dict[str, Any] | None:
        """Listings: `sales`, `personas`, `inventory`."""
        return self.world.records(kind, offset, limit)

    def close(self) -> None:
        """Close the state file."""
        self.world.close()

    def _guarded(self, handler: Handler) -> Handler:
        def guarded(request: Request, body: bytes) -> Response:
            if not compare_digest(request.headers.get("x-apikey", ""), self._api_key):
                return _bad(401, "api key missing or unknown")
            if request.path_params.get("uid", self._uid) != self._uid:
                return _bad(401, "the api key does not belong to this account")
            try:
                return handler(request, body)
            except UnreadableError as error:
                return _bad(400, str(error))

        return guarded

    def _elements(self, body: bytes, limit: int, check: Check) -> list[tuple[bytes, Any]]:
        texts = read_elements(body)
        if len(texts) > limit:
            raise UnreadableError(f"{len(texts)} items in one call, at most {limit} are allowed")
        pairs = [(text, read_json(text)) for text in texts]
        for index, (_, value) in enumerate(pairs):
            if problem := check(value):
                raise UnreadableError(f"element {index}: {problem}")
        return pairs

    def _poisoned(self, request: Request, keys: Sequence[str]) -> Response | None:
        # AIQ gives no answer per row: one bad row takes the call down with it.
        fault = fault_in(request, "row_errors")
        struck = [i for i, key in enumerate(keys) if fault and fault.strikes_row(i, key)]
        return _bad(400, f"element {struck[0]}: made up by the fault book") if struck else None

    def _sale(self, request: Request, body: bytes) -> Response:
        value = read_json(body)
        if problem := check_sale(value):
            return _bad(400, problem)
        if refused := self._poisoned(request, [value["visit"]["pos_id"]]):
            return refused
        self.world.put_sales([(body, value)], self._clock())
        return _good({"contactID": self.world.contact_of(value["visit"]["pos_user"])})

    def _sales(self, request: Request, body: bytes) -> Response:
        pairs = self._elements(body, self._batch_limit, check_sale)
        if refused := self._poisoned(request, [value["visit"]["pos_id"] for _, value in pairs]):
            return refused
        self.world.put_sales(pairs, self._clock())
        return _good({"accepted": len(pairs)})

    def _member(self, request: Request, body: bytes) -> Response:
        value = read_json(body)
        if problem := check_member(value):
            return _bad(400, problem)
        member = value["member"]
        source_id = member.get("srcID") or member.get("id")
        if refused := self._poisoned(request, [source_id]):
            return refused
        contact = self.world.put_personas([member], self._clock(), delayed=True)[0]
        return _good({"contactID": contact, "srcID": source_id})

    def _members(self, request: Request, body: bytes) -> Response:
        pairs = self._elements(body, self._batch_limit, check_member)
        members = [value["member"] for _, value in pairs]
        if refused := self._poisoned(request, [one.get("srcID") or one.get("id") for one in members]):
            return refused
        self.world.put_personas(members, self._clock(), delayed=True)
        return _good({"accepted": len(members)})

    def _loyalty(self, request: Request, body: bytes) -> Response:
        person = read_json(body)
        if problem := check_member({"member": person}, needs_id=False):
            return _bad(400, problem)
        if not (person.get("mobilePhone") or person.get("email")):
            return _bad(400, "mobilePhone or email is needed")
        source_id = person.get("srcID") or person.get("id")
        if refused := self._poisoned(request, [source_id or ""]):
            return refused
        contact = self.world.put_personas([person], self._clock(), delayed=False)[0]
        return _good(self.world.persona(contact, self._clock()) or {})

    def _inventory(self, request: Request, body: bytes) -> Response:
        pairs = self._elements(body, 100, check_inventory_item)
        keys = [value.get("sku") or value.get("productID") for _, value in pairs]
        if refused := self._poisoned(request, keys):
            return refused
        self.world.put_inventory(pairs)
        return _good({"accepted": len(pairs)})

    def _page(self, request: Request) -> tuple[int, int]:
        try:
            start = int(request.query_params.get("start", "0"))
            limit = int(request.query_params.get("limit", "100"))
        except ValueError as error:
            raise UnreadableError("start and limit are whole numbers") from error
        return max(start, 0), min(max(limit, 100), 2000)

    def _paged(self, request: Request, rows: list[Any]) -> Response:
        start, limit = self._page(request)
        page = rows[start : start + limit]
        return _good({
            "results": page or None, "start": start, "limit": limit, "size": len(page), "total": len(rows),
        })  # fmt: skip

    def _piis(self, request: Request, _: bytes) -> Response:
        return self._paged(request, self.world.personas(request.query_params.get("search", ""), self._clock()))

    def _pii(self, request: Request, _: bytes) -> Response:
        found = self.world.persona(request.path_params["contact"], self._clock())
        return _good(found) if found else _bad(404, "no such persona")

    def _orders(self, request: Request, _: bytes) -> Response:
        found = self.world.orders_of(request.path_params["contact"], self._clock())
        return self._paged(request, [msgspec.Raw(text) for text in found])

    def _stores(self, _: Request, __: bytes) -> Response:
        return _good({"stores": self.world.stores()})
