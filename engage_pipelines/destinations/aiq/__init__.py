"""AIQ: takes customers, sales and stock, and never confirms a single record.

What belongs here: the declaration and the functions that talk to AIQ. What a record looks like is in the
SQL files beside it, how an answer is read is in `answers.py`. The vendor's points that no document
settles are options; docs/connectors/aiq.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
from pydantic import Field

from engage_pipelines.connector import (
    Batch,
    BatchLimits,
    Destination,
    InDoubt,
    Options,
    Outcome,
    Stream,
)
from engage_pipelines.destinations.aiq.answers import READ_STATUSES, raise_if_refused
from engage_pipelines.http_client import Limits, Rate, VendorClient

API_KEY = "AIQ_API_KEY"


class AiqOptions(Options):
    """The table `[destinations.aiq]` of engage.toml; each key is explained in docs/connectors/aiq.md."""

    uid: str = Field(min_length=1)
    base_url: str = "https://lab.alpineiq.com"
    api_path: str = "/api/v1.1"
    anonymous_pos_user: str = "anonymous"
    send_notification: bool = False
    pos_type: Literal["omit", "channel", "location"] = "omit"
    include_tips: bool = False
    total_includes_tax: bool = True
    price_basis: Literal["unit", "line"] = "unit"
    margin_unit: Literal["fraction", "percent"] = "fraction"
    ten_digit_phones: bool = True
    send_email_opt_out: bool = True
    bulk_envelope: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """What the streams send with: the client of one AIQ account and its options."""

    client: VendorClient
    options: AiqOptions

    def path(self, route: str) -> str:
        """The path of a route, which always ends with the account id."""
        return f"{self.options.api_path.strip('/')}/{route}/{quote(self.options.uid, safe='')}"


def connect(options: AiqOptions, secrets: Mapping[str, str], limits: Limits) -> Session:
    """Open a session; no call is made."""
    key = secrets[API_KEY]
    client = VendorClient("AIQ", options.base_url, headers={"x-apikey": key}, limits=limits, secrets=(key,))
    return Session(client, options)


def send_personas(session: Session, batch: Batch) -> list[Outcome]:
    """Create or update customers; AIQ merges them by phone and e-mail within a day."""
    body = _array(session, batch)
    return _post(session, "createUpdateMembers", body, batch, hidden=lambda: _personal_values(batch))


def send_sales(session: Session, batch: Batch) -> list[Outcome]:
    """Create or update receipts; one alone goes by the single call, whose refusal names its cause."""
    if len(batch.payloads) == 1:
        return _post(session, "createUpdateSale", batch.payloads[0], batch)
    return _post(session, "createUpdateSales", _array(session, batch), batch)


def send_inventory(session: Session, batch: Batch) -> list[Outcome]:
    """Set the stock, price and cost of items."""
    return _post(session, "createUpdateInventory", _joined(batch.payloads), batch)


def _post(
    session: Session, route: str, body: bytes, batch: Batch, hidden: Callable[[], Iterable[str]] = tuple
) -> list[Outcome]:
    # All three calls are upserts by our key, so a repeat after a lost answer does no harm.
    answer = session.client.call("POST", session.path(route), content=body, expect=READ_STATUSES)
    raise_if_refused(f"AIQ: POST {route}", answer, hidden)
    return [Outcome("accepted")] * len(batch.keys)


def _array(session: Session, batch: Batch) -> bytes:
    if session.options.bulk_envelope:
        return _joined(batch.payloads)
    return _joined([_without_envelope(payload) for payload in batch.payloads])


def _without_envelope(payload: bytes) -> bytes:
    # Payloads of sales and personas are objects with one key, `visit` or `member`.
    return payload[payload.index(b":") + 1 : -1]


def _joined(payloads: Collection[bytes]) -> bytes:
    return b"[" + b",".join(payloads) + b"]"


def _personal_values(batch: Batch) -> list[str]:
    """Everything a refusal could quote from the customers of the batch, except our own key."""
    members = [msgspec.json.decode(payload)["member"] for payload in batch.payloads]
    return [
        value for member in members for name, value in member.items()
        if name != "srcID" and isinstance(value, str) and len(value) > 2
    ]  # fmt: skip


PERSONAS = Stream(
    name="personas",
    sql="personas.sql",
    selects="customers",
    limits=BatchLimits(items=100),
    send=send_personas,
    in_doubt=InDoubt("resend", "AIQ creates or updates by the customer's own key: a second time changes nothing."),
    summary="Customers with a phone number or e-mail address, so that sales can be attributed.",
)
SALES = Stream(
    name="sales",
    sql="sales.sql",
    selects="transactions",
    limits=BatchLimits(items=100),
    send=send_sales,
    in_doubt=InDoubt("resend", "AIQ creates or updates by pos_id: a receipt sent again replaces itself."),
    summary="Receipts and refunds of the period; AIQ accrues points and lowers stock from them.",
    windowed=True,
    after=("personas",),
)
INVENTORY = Stream(
    name="inventory",
    sql="inventory.sql",
    selects="inventory_levels",
    limits=BatchLimits(items=100),
    send=send_inventory,
    in_doubt=InDoubt("resend", "The stock sent is absolute: sending it again sets the same value."),
    summary="Stock on the shelf, price and cost per product and store, after the sales of the period.",
    after=("sales",),
)

AIQ = Destination(
    name="aiq",
    folder=Path(__file__).parent,
    options=AiqOptions,
    secrets=(API_KEY,),
    limits=Limits(rates=(Rate(5, 1.0), Rate(120, 60.0), Rate(2000, 3600.0)), in_flight=2),
    connect=connect,
    streams=(PERSONAS, SALES, INVENTORY),
    docs="docs/connectors/aiq.md",
)
