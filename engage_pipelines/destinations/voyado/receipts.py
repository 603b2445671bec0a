"""Receipts: sending them one by one, and looking up what was sent. None can ever be changed or taken back there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache

import msgspec

from engage_pipelines.connector import Batch, Outcome, Verdict
from engage_pipelines.destinations.voyado.answers import raise_if_failed
from engage_pipelines.destinations.voyado.contacts import find_contact
from engage_pipelines.destinations.voyado.session import Session

_RECEIPTS = "api/v3/receipts"
# The documents have this list in v2 only; it gives a hundred a page unless asked otherwise.
_TRANSACTIONS = "api/v2/contacts/{}/transactions"
_PAGE = 100


class _Contact(msgspec.Struct, rename="camel", frozen=True):
    match_key: str
    match_key_type: str
    contact_type: str | None = None


class _Sent(msgspec.Struct, rename="camel"):
    """What a receipt that was sent is recognised by."""

    contact: _Contact
    unique_receipt_id: str
    created_date: str
    receipt_number: str | None = None


class _Held(msgspec.Struct, rename="camel"):
    """The same of a receipt that Voyado shows."""

    external_id: str | None = None
    transaction_number: str | None = None
    created_date: str | None = None


class _Page(msgspec.Struct, rename="camel"):
    items: list[_Held]
    total_count: int


def send_receipts(session: Session, batch: Batch) -> list[Outcome]:
    """Queue receipts for the tenant's next import.

    A 2xx means queued, so the outcome is `accepted`. Repeating is safe: a known uniqueReceiptId is ignored.

    Raises:
        ConfigError: the tenant has no such route; that is no verdict on the receipt.
        RejectedError: Voyado refused the receipt.
        ContractError: a yes whose body says no.
    """
    for payload in batch.payloads:
        answer = session.client.call("POST", _RECEIPTS, content=payload, expect={404, 405})
        session.known_route(_RECEIPTS, answer)
        raise_if_failed(f"POST {_RECEIPTS}", answer)
    return [Outcome("accepted")] * len(batch.keys)


def verify_receipts(session: Session, batch: Batch) -> list[Verdict]:
    """Look receipts up among those of their contacts, each contact once.

    A receipt that is not found may still be waiting for its import; it is `absent` all the same. Sending it again
    as it was does no harm, since a known uniqueReceiptId is ignored, while waiting for one that never arrived
    would lose it.

    Raises:
        ConfigError: contact type, match key type or base address do not suit the tenant.
    """

    @cache
    def held_by(contact: _Contact) -> list[_Held] | None:
        return _held_by(session, contact)

    sent = [msgspec.json.decode(payload, type=_Sent) for payload in batch.payloads]
    return [_verdict(one, held_by(one.contact)) for one in sent]


def _verdict(sent: _Sent, held: list[_Held] | None) -> Verdict:
    if held is None:
        return "unknown"
    return "there" if any(_is_same(sent, one) for one in held) else "absent"


def _held_by(session: Session, contact: _Contact) -> list[_Held] | None:
    """Every receipt of a contact; None if nobody can tell which contact it is."""
    found = find_contact(session, contact.match_key_type, contact.match_key, contact.contact_type)
    if found.refusal is not None and found.refusal.status == 409:
        return None
    return list(_transactions(session, found.contact_id)) if found.contact_id else []


def _transactions(session: Session, contact_id: str) -> Iterator[_Held]:
    path, offset = _TRANSACTIONS.format(contact_id), 0
    while True:
        params = {"offset": offset, "count": _PAGE}
        answer = session.client.call("GET", path, params=params, expect={404, 405})
        page: _Page = session.known_route(_TRANSACTIONS, answer).json(_Page)
        yield from page.items
        offset += len(page.items)
        if not page.items or offset >= page.total_count:
            return


def _is_same(sent: _Sent, held: _Held) -> bool:
    if sent.unique_receipt_id in (held.external_id, held.transaction_number):
        return True
    # A printed number alone proves nothing, it may come back every day.
    is_unnamed = not held.external_id and sent.receipt_number is not None
    return is_unnamed and held.transaction_number == sent.receipt_number and _is_same_moment(sent, held)


def _is_same_moment(sent: _Sent, held: _Held) -> bool:
    if held.created_date is None:
        return False
    there, here = datetime.fromisoformat(held.created_date), datetime.fromisoformat(sent.created_date)
    # Without an offset it is the local time of the purchase, as it was sent.
    return there == here if there.tzinfo else there == here.replace(tzinfo=None)
