"""What the tests of the Voyado stand-in start from: a served tenant, a contact, a store, receipts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from engage_pipelines.sandbox.server import Sandbox, running_app
from engage_pipelines.sandbox.voyado import VoyadoStandIn

HEADERS = {"apikey": "sandbox-voyado-key", "User-Agent": "Tests/1.0", "Content-Type": "application/json"}
V2, V3 = "/voyado/api/v2", "/voyado/api/v3"

CONTACT_HEADER = (
    "contactType;externalId;memberNumber;email;mobilePhone;firstName;lastName;street;careOf;zipCode;city;countryCode;"
    "birthDay;gender;createdInStore;store;acceptsEmail;acceptsSms;acceptsPostal;createdOn"
)
RECEIPT_HEADER = (
    "matchKey;matchKeyType;contactType;uniqueReceiptId;receiptNumber;createdDate;storeExternalId;currency;"
    "exchangeRateToGroupCurrency;totalGrossPrice;type;sku;articleNumber;articleName;articleGroup;quantity;"
    "grossPaidPrice;taxAmount;taxPercent;marginPercent;awardsBonus"
)


class Clock:
    """A clock that stands still until it is moved."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Tenant:
    """A served tenant and a caller of its API."""

    sandbox: Sandbox
    api: httpx.Client
    drop: Path

    def report(self) -> dict[str, Any]:
        return dict(self.api.get("/_sandbox/voyado").json())

    def records(self, kind: str) -> list[dict[str, Any]]:
        return list(self.api.get(f"/_sandbox/voyado/records/{kind}?limit=1000").json()["records"])

    def log(self) -> list[tuple[str, str]]:
        return [(entry["kind"], entry["key"]) for entry in self.records("integration_log")]

    def add_contact(self, external_id: str = "c1", **attributes: Any) -> str:
        answer = self.api.post(f"{V3}/contacts", json={"externalId": external_id, **attributes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def add_store(self, external_id: str = "s1") -> None:
        assert self.api.post(f"{V3}/stores", json={"externalId": external_id, "name": "Shop"}).status_code == 201

    def put(self, folder: str, name: str, *lines: str) -> Path:
        path = self.drop / folder / name
        path.write_bytes(("\n".join(lines) + "\n").encode())
        return path


@contextmanager
def tenant(folder: Path, **options: Any) -> Iterator[Tenant]:
    stand_in = VoyadoStandIn(folder, **options)
    with (
        running_app([stand_in], folder) as sandbox,
        httpx.Client(base_url=sandbox.url, headers=HEADERS) as client,
    ):
        yield Tenant(sandbox, client, stand_in.drop)


def receipt(unique_id: str = "r1", **changes: Any) -> dict[str, Any]:
    item = {
        "type": "PURCHASE", "sku": "A", "articleNumber": "A", "articleName": "Tea", "quantity": 2,
        "grossPaidPrice": 10.10, "taxAmount": 2.02, "taxPercent": 25.0,
    }  # fmt: skip
    return {
        "contact": {"matchKey": "c1", "matchKeyType": "externalId", "contactType": "Member"},
        "uniqueReceiptId": unique_id, "createdDate": "2026-10-14T09:00:00+01:00", "storeExternalId": "s1",
        "currency": "GBP", "totalGrossPrice": 10.10, "paymentMethods": [{"type": "card", "value": 10.10}],
        "items": [item], **changes,
    }  # fmt: skip


def returned(unique_id: str, amount: float) -> dict[str, Any]:
    body = deepcopy(receipt(unique_id, totalGrossPrice=-amount))
    body["paymentMethods"][0]["value"] = -amount
    body["items"][0].update(type="RETURN", quantity=-1, grossPaidPrice=amount, taxAmount=0)
    return body


def contact_row(**cells: str) -> str:
    return _row(CONTACT_HEADER, {"contactType": "Member", **cells})


def receipt_row(unique_id: str = "r1", **cells: str) -> str:
    usual = {
        "matchKey": "c1", "matchKeyType": "externalId", "contactType": "Member", "uniqueReceiptId": unique_id,
        "createdDate": "2025-10-14T09:00:00+01:00", "storeExternalId": "s1", "currency": "GBP",
        "exchangeRateToGroupCurrency": "1.0", "totalGrossPrice": "10.10", "type": "PURCHASE", "sku": "A",
        "articleNumber": "A", "articleName": "Tea", "quantity": "2", "grossPaidPrice": "10.10", "taxAmount": "2.02",
        "taxPercent": "25.00",
    }  # fmt: skip
    return _row(RECEIPT_HEADER, {**usual, **cells})


def _row(header: str, cells: Mapping[str, str]) -> str:
    return ";".join(cells.get(name, "") for name in header.split(";"))
