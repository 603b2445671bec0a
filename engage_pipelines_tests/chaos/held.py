"""What the platforms hold, by flow: under which key a payload is found there, and whether it is the same thing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from engage_pipelines.sandbox.aiq_rules import clean_phone
from engage_pipelines.sandbox.voyado.fields import is_phone
from engage_pipelines_tests.chaos.world import World

_NOT_IN_FILES = re.compile(r'[;"]+')


class Held(NamedTuple):
    """A record at a platform.

    Attributes:
        content: what the stand-in shows of it.
        times: how often it was received.
        records: under how many records of its own the platform has it; more than one is a duplicate.
    """

    content: Any
    times: int
    records: int = 1


class Reader(NamedTuple):
    """How to look at one flow.

    Attributes:
        kind: name of the stand-in's listing.
        key_of: platform's key of a listed record; empty if the record is none of ours.
        key_in: platform's key in a payload.
        is_same: whether a listed record has the contents of a payload.
        routes: parts of the routes that carry the flow.
    """

    kind: str
    key_of: Callable[[Mapping[str, Any]], str]
    key_in: Callable[[Mapping[str, Any]], str]
    is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
    routes: tuple[str, ...]


def read(world: World, flow: str) -> dict[str, Held]:
    """Everything that a platform holds of a flow, by its own key."""
    reader = READERS[flow]
    found: dict[str, Held] = {}
    for record in world.held(flow.partition("/")[0], reader.kind):
        key = reader.key_of(record)
        if key in found:
            found[key] = found[key]._replace(records=found[key].records + 1)
        elif key:
            found[key] = Held(record, record["times_received"])
    return found


def _same_body(payload: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    return bool(record["body"] == payload)


def _same_persona(payload: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    # AIQ keeps e-mail addresses in lower case and blanks a phone that is none, by its documents.
    member = payload["member"]
    sent = {**member, "email": member.get("email", "").lower(), "mobilePhone": clean_phone(member.get("mobilePhone"))}
    return _holds(record["body"], sent)


def _same_store(payload: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    return not record["ghost"] and _holds(record["body"], payload)


def _same_contact(payload: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    # When somebody became a customer is told by files only.
    sent = {name: value for name, value in payload.items() if name not in ("createdOn", "preferences")}
    there = record["attributes"]
    if record["channel"] == "file":
        # What a file cannot carry is a blank in it, and the import leaves out a field that is not valid. A later call
        # may have put both right.
        sent, there = _as_in_files(sent), _as_in_files(there)
        sent = {name: value for name, value in sent.items() if name != "mobilePhone" or is_phone(value)}
    return _holds(there, sent) and _holds(record["preferences"], payload.get("preferences", {}))


def _as_in_files(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _NOT_IN_FILES.sub(" ", str(value)).strip() for name, value in values.items()}


def _same_receipt(payload: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    return (
        (payload["currency"], payload["createdDate"], payload["storeExternalId"])
        == (record["currency"], record["created"], record["store"])
        and Decimal(payload["totalGrossPrice"]) == Decimal(record["total"])
        and _goods(payload["items"]) == _goods(record["lines"])
    )


def _goods(lines: list[Mapping[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (line["type"], line["sku"], Decimal(line["quantity"]), Decimal(line["grossPaidPrice"])) for line in lines
    )


def _holds(there: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    return all(there.get(name) == value for name, value in sent.items())


def _place_of_stock(body: Mapping[str, Any]) -> str:
    return f"{body['sku']}@{body['location']}"


READERS: Mapping[str, Reader] = {
    "aiq/personas": Reader(
        "personas", lambda r: str(r["body"].get("srcID", "")), lambda p: str(p["member"]["srcID"]), _same_persona,
        ("createUpdateMember",),
    ),
    "aiq/sales": Reader(
        "sales", lambda r: str(r["key"]), lambda p: str(p["visit"]["pos_id"]), _same_body, ("createUpdateSale",)
    ),
    "aiq/inventory": Reader(
        "inventory", lambda r: _place_of_stock(r["body"]), _place_of_stock, _same_body, ("createUpdateInventory",)
    ),
    "crmcom/products": Reader(
        "products", lambda r: str(r["key"]), lambda p: str(p["code"]), _same_body, ("synchronise",)
    ),
    "voyado/stores": Reader(
        "stores", lambda r: str(r["key"]), lambda p: str(p["externalId"]), _same_store, ("/stores",)
    ),
    "voyado/contacts": Reader(
        "contacts", lambda r: str(r["attributes"].get("externalId", "")), lambda p: str(p["externalId"]),
        _same_contact, ("/contacts", "contactoverview"),
    ),
    "voyado/receipts": Reader(
        "receipts", lambda r: str(r["key"]), lambda p: str(p["uniqueReceiptId"]), _same_receipt, ("/receipts",)
    ),
}  # fmt: skip
