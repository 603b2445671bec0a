"""Sending receipts one by one. A receipt can never be changed or taken back there."""

from __future__ import annotations

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.voyado.session import Session

_RECEIPTS = "api/v3/receipts"


def send_receipts(session: Session, batch: Batch) -> list[Outcome]:
    """Queue receipts for the tenant's next import.

    A 2xx means queued, so the outcome is `accepted`. Repeating is safe: a known uniqueReceiptId is ignored.

    Raises:
        ConfigError: the tenant has no such route; that is no verdict on the receipt.
        RejectedError: Voyado refused the receipt.
    """
    for payload in batch.payloads:
        answer = session.client.call("POST", _RECEIPTS, content=payload, expect={404, 405})
        session.known_route(_RECEIPTS, answer)
    return [Outcome("accepted")] * len(batch.keys)
