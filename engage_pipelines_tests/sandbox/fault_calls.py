"""A proper call for every route of every stand-in, and what can be seen of its work from outside."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from engage_pipelines.sandbox.server import Sandbox

Json = Any
KEY = "SANDBOXCRMCOMWEBAPIKEY0000000001"
HEADERS = {
    "square": {"authorization": "Bearer sandbox-square-token", "square-version": "2025-08-20"},
    "aiq": {"x-apikey": "sandbox-aiq-key"},
    "crmcom": {},
    "voyado": {"apikey": "sandbox-voyado-key", "user-agent": "Tests/1.0", "content-type": "application/json"},
}
_CRM = "/crmapi/rest/v2"


@dataclass(frozen=True)
class Call:
    """One call; `keys` are those of the records it brings.

    Attributes:
        path: below the vendor's mount.
        body: JSON.
        params: query string.
        auth: basic authentication.
        keys: keys of its rows, in order.
    """

    path: str
    body: Json = None
    params: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
    keys: tuple[str, ...] = ()


class World:
    """The served stand-ins, a caller, and fresh keys for every call."""

    def __init__(self, sandbox: Sandbox, caller: httpx.Client) -> None:
        self.sandbox = sandbox
        self.caller = caller
        self._numbers = itertools.count()
        aiq, voyado = "/api/v1.1", "/api/v3"
        for number in (1, 2):
            person = {"srcID": f"P{number}", "email": f"p{number}@example.org"}
            self.contact = self.ask("aiq", "POST", "/api/v2/loyalty", person)["data"]["contactID"]
            self.ask("aiq", "POST", f"{aiq}/createUpdateSale/1001", sale(f"S{number}", "P2"))
            self.member = self.ask("voyado", "POST", f"{voyado}/contacts", {"externalId": f"c{number}"})["id"]
            self.ask("voyado", "POST", f"{voyado}/stores", {"externalId": f"s{number}", "name": "Shop"})
            self.send(Call(f"{voyado}/receipts", receipt(f"r{number}", "c2")), "voyado", "POST")
        self.batch = self.ask("voyado", "POST", f"{voyado}/contacts/bulk", [{"externalId": "c3"}])
        self.token = self.new_token()

    def key(self) -> str:
        """A key that no call has brought yet."""
        return f"K{next(self._numbers):05}"

    def send(
        self, call: Call, vendor: str, method: str, timeout: httpx.Timeout | None = None
    ) -> httpx.Response:  # fmt: skip
        """Make a call as the vendor asks for it."""
        return self.caller.request(
            method, f"/{vendor}{call.path}", headers=HEADERS[vendor], params=call.params,
            timeout=timeout or httpx.Timeout(10), auth=call.auth, json=call.body,
        )  # fmt: skip

    def ask(self, vendor: str, method: str, path: str, body: Json = None) -> Json:
        """The answer to a call that must succeed."""
        return self.send(Call(path, body), vendor, method).raise_for_status().json()

    def inspect(self, path: str) -> Json:
        """A page of the inspection API."""
        return self.caller.get(f"/_sandbox/{path}").raise_for_status().json()

    def new_token(self) -> str:
        """A session of CRM.COM."""
        login = Call(f"{_CRM}/authentication/web_api_key/token", {}, auth=(KEY, ""))
        return str(self.send(login, "crmcom", "POST").json()["data"]["token"])

    def new_member(self) -> tuple[str, str]:
        """External id and id of a contact of Voyado's that is new."""
        key = self.key()
        return key, str(self.ask("voyado", "POST", "/api/v3/contacts", {"externalId": key})["id"])


def sale(key: str, user: str = "U1") -> Json:
    """A sale as AIQ takes it."""
    return {
        "visit": {
            "pos_id": key, "pos_user": user, "transaction_date": "2026-10-14 09:00:00 +0100",
            "transaction_total": 3.5, "location": "Shop " + user,
            "visit_details_attributes": [{"sku": "A", "name": "Tea", "price": 3.5, "quantity": 1}],
        }
    }  # fmt: skip


def receipt(key: str, contact: str = "c1") -> Json:
    """A receipt as Voyado takes it."""
    item = {
        "type": "PURCHASE", "sku": "A", "articleNumber": "A", "articleName": "Tea", "quantity": 2,
        "grossPaidPrice": 10.10, "taxAmount": 2.02, "taxPercent": 25.0,
    }  # fmt: skip
    return {
        "contact": {"matchKey": contact, "matchKeyType": "externalId", "contactType": "Member"},
        "uniqueReceiptId": key, "createdDate": "2026-10-14T09:00:00+01:00", "storeExternalId": "s1",
        "currency": "GBP", "totalGrossPrice": 10.10, "paymentMethods": [{"type": "card", "value": 10.10}],
        "items": [item],
    }  # fmt: skip


def _one(path: str, make: Callable[[str], Json]) -> Callable[[World], Call]:
    def build(world: World) -> Call:
        key = world.key()
        return Call(path, make(key), keys=(key,))

    return build


def _two(path: str, make: Callable[[str], Json], wrap: Callable[[World, list[Json]], Json] | None = None) -> Callable[
    [World], Call
]:  # fmt: skip
    def build(world: World) -> Call:
        keys = (world.key(), world.key())
        rows = [make(key) for key in keys]
        return Call(path, wrap(world, rows) if wrap else rows, keys=keys)

    return build


def _read(path: str, body: Json = None, **params: str) -> Callable[[World], Call]:
    def build(world: World) -> Call:
        return Call(path.format(world=world), body, params)

    return build


def _products(world: World, rows: list[Json]) -> Json:
    definition = {"alternative_code": "Product_Sync"}
    return {"token": world.token, "synchronisation_definition_identifier": definition, "products_set": rows}


def _release(world: World) -> Call:
    return Call(f"{_CRM}/authentication/token/release", {"token": world.new_token()})


def _change_member(world: World) -> Call:
    _, contact = world.new_member()
    return Call(f"/api/v3/contacts/{contact}", {"firstName": "Ann"}, keys=(contact,))


def _change_members(world: World) -> Call:
    keys = (world.new_member()[0], world.new_member()[0])
    return Call("/api/v3/contacts/bulk", [{"externalId": key, "firstName": "Ann"} for key in keys], keys=keys)


def _new_store(version: str) -> Callable[[World], Call]:
    return _one(f"/api/{version}/stores", lambda key: {"externalId": key, "name": "Shop"})


def _change_store(version: str) -> Callable[[World], Call]:
    def build(world: World) -> Call:
        key = world.key()
        world.ask("voyado", "POST", "/api/v3/stores", {"externalId": key, "name": "Shop"})
        return Call(f"/api/{version}/stores/{key}", {"name": "Other"}, keys=(key,))

    return build


def _member(key: str) -> Json:
    return {"member": {"srcID": key, "email": f"{key}@example.org"}}


_V1 = "/api/v1.1"
_EVER = {"begin_time": "2020-01-01T00:00:00Z"}
_ORDERS = {
    "location_ids": ["L1", "L2"],
    "query": {
        "filter": {"date_time_filter": {"updated_at": {"start_at": "2020-01-01T00:00:00Z"}}},
        "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"},
    },
}

CALLS: dict[str, dict[str, Callable[[World], Call]]] = {
    "square": {
        "POST /v2/orders/search": _read("/v2/orders/search", _ORDERS),
        "POST /v2/orders/batch-retrieve": _read("/v2/orders/batch-retrieve", {"order_ids": ["O00", "O01"]}),
        "GET /v2/orders/{order_id}": _read("/v2/orders/O00"),
        "GET /v2/payments": _read("/v2/payments", **_EVER),
        "GET /v2/refunds": _read("/v2/refunds", **_EVER),
        "GET /v2/catalog/list": _read("/v2/catalog/list"),
        "POST /v2/catalog/search": _read("/v2/catalog/search", {"object_types": ["ITEM"]}),
        "POST /v2/inventory/counts/batch-retrieve": _read("/v2/inventory/counts/batch-retrieve", {}),
        "POST /v2/customers/search": _read("/v2/customers/search", {}),
        "GET /v2/customers": _read("/v2/customers"),
        "GET /v2/locations": _read("/v2/locations"),
    },
    "aiq": {
        f"POST {_V1}/createUpdateSale/{{uid}}": _one(f"{_V1}/createUpdateSale/1001", sale),
        f"POST {_V1}/createUpdateSales/{{uid}}": _two(f"{_V1}/createUpdateSales/1001", sale),
        f"POST {_V1}/createUpdateMember/{{uid}}": _one(f"{_V1}/createUpdateMember/1001", _member),
        f"POST {_V1}/createUpdateMembers/{{uid}}": _two(f"{_V1}/createUpdateMembers/1001", _member),
        f"POST {_V1}/createUpdateInventory/{{uid}}": _two(
            f"{_V1}/createUpdateInventory/1001", lambda key: {"sku": key, "location": "Shop", "quantity": 3}
        ),
        "POST /api/v2/loyalty": _one("/api/v2/loyalty", lambda key: _member(key)["member"]),
        f"GET {_V1}/piis/{{uid}}": _read(f"{_V1}/piis/1001"),
        f"GET {_V1}/piis/{{uid}}/{{contact}}": _read(f"{_V1}/piis/1001/{{world.contact}}"),
        f"GET {_V1}/contact/orders/{{uid}}/{{contact}}": _read(f"{_V1}/contact/orders/1001/{{world.contact}}"),
        f"GET {_V1}/stores/{{uid}}": _read(f"{_V1}/stores/1001"),
    },
    "crmcom": {
        f"POST {_CRM}/authentication/web_api_key/token": lambda _: Call(
            f"{_CRM}/authentication/web_api_key/token", {}, auth=(KEY, "")
        ),
        f"POST {_CRM}/authentication/token/release": _release,
        f"POST {_CRM}/products/synchronise": _two(
            f"{_CRM}/products/synchronise", lambda key: {"code": key, "description": "Tea"}, _products
        ),
    },
    "voyado": {
        "GET /api/v2/contacts/id": _read("/api/v2/contacts/id", customKey="c1"),
        "GET /api/v3/contacts/id": _read("/api/v3/contacts/id", customKey="c1"),
        "POST /api/v3/contacts": _one("/api/v3/contacts", lambda key: {"externalId": key}),
        "POST /api/v3/contacts/bulk": _two("/api/v3/contacts/bulk", lambda key: {"externalId": key}),
        "PATCH /api/v3/contacts/bulk": _change_members,
        "GET /api/v2/contacts/bulk/status": lambda world: Call(
            "/api/v2/contacts/bulk/status", params={"batchId": world.batch}
        ),
        "GET /api/v2/contactoverview": lambda world: Call(
            "/api/v2/contactoverview", params={"contactId": world.member}
        ),
        "GET /api/v2/contacts/{contact}/transactions": _read("/api/v2/contacts/{world.member}/transactions"),
        "GET /api/v2/contacts/{contact}": _read("/api/v2/contacts/{world.member}"),
        "PATCH /api/v3/contacts/{contact}": _change_member,
        "POST /api/v3/receipts": _one("/api/v3/receipts", receipt),
        "GET /api/v2/stores": _read("/api/v2/stores"),
        "GET /api/v3/stores": _read("/api/v3/stores"),
        "POST /api/v2/stores": _new_store("v2"),
        "POST /api/v3/stores": _new_store("v3"),
        "GET /api/v2/stores/{store}": _read("/api/v2/stores/s1"),
        "GET /api/v3/stores/{store}": _read("/api/v3/stores/s1"),
        "POST /api/v2/stores/{store}": _change_store("v2"),
        "POST /api/v3/stores/{store}": _change_store("v3"),
    },
}  # fmt: skip


def said(response: httpx.Response) -> str:
    """What an answer says: a status outside 2xx, `no JSON`, `no` in an envelope, or `yes`."""
    if not response.is_success:
        return str(response.status_code)
    if not response.content:
        return "yes"
    try:
        body = response.json()
    except ValueError:
        return "no JSON"
    return "no" if isinstance(body, dict) and _says_no(body) else "yes"


def _says_no(body: Mapping[str, Any]) -> bool:
    status = body.get("status")
    code = status.get("code", "OK") if isinstance(status, dict) else "OK"
    return body.get("success") is False or bool(body.get("errors")) or "errorCode" in body or code != "OK"
