"""AIQ: takes customers, sales and stock, and never confirms a single record.

What belongs here: the declaration and the functions that send. What a record looks like is in the SQL files
beside it, how an answer is read is in `answers.py`, what AIQ holds is asked for in `lookups.py`. The vendor's
points that no document settles are options; docs/connectors/aiq.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import msgspec

from engage_pipelines.connector import Batch, BatchLimits, Destination, InDoubt, Outcome, Stream
from engage_pipelines.destinations.aiq.answers import READ_STATUSES, raise_if_refused
from engage_pipelines.destinations.aiq.lookups import verify_personas, verify_sales
from engage_pipelines.destinations.aiq.session import API_KEY, AiqOptions, Session, connect
from engage_pipelines.http_client import Limits, Rate

__all__ = ["AIQ", "INVENTORY", "PERSONAS", "SALES", "AiqOptions", "Session", "connect"]


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
    in_doubt=InDoubt(
        "resend", "AIQ creates or updates by the customer's own key: a second time changes nothing.", verify_personas
    ),
    summary="Customers with a phone number or e-mail address, so that sales can be attributed.",
    personal=frozenset({"srcID", "firstName", "lastName", "mobilePhone", "email", "address", "birthdate"}),
)
SALES = Stream(
    name="sales",
    sql="sales.sql",
    selects="transactions",
    limits=BatchLimits(items=100),
    send=send_sales,
    in_doubt=InDoubt("resend", "AIQ creates or updates by pos_id: a receipt sent again replaces itself.", verify_sales),
    summary="Receipts and refunds of the period; AIQ accrues points and lowers stock from them.",
    windowed=True,
    after=("personas",),
    personal=frozenset({"pos_user"}),
)
INVENTORY = Stream(
    name="inventory",
    sql="inventory.sql",
    selects="inventory_levels",
    limits=BatchLimits(items=100),
    send=send_inventory,
    # No verify: AIQ documents no way to read stock.
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
