"""Stores: look the store up, create it or change only what differs; and looking up what was sent."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from engage_pipelines.connector import Batch, Outcome, Verdict
from engage_pipelines.destinations.voyado.answers import error_name, raise_if_failed, refused
from engage_pipelines.destinations.voyado.session import Session
from engage_pipelines.errors import ConfigError

_STORES = "api/v3/stores"


def send_stores(session: Session, batch: Batch) -> list[Outcome]:
    """Create or update stores by their externalId.

    Raises:
        ConfigError: the tenant has no such route.
    """
    return [_send_store(session, payload) for payload in batch.payloads]


def verify_stores(session: Session, batch: Batch) -> list[Verdict]:
    """Look stores up by their externalId: `there` if nothing that was sent would have to be changed."""
    return [_verdict(session, msgspec.json.decode(payload)) for payload in batch.payloads]


def _verdict(session: Session, wanted: dict[str, Any]) -> Verdict:
    present = _find(session, wanted["externalId"])
    return "absent" if present is None or _changes(wanted, present) else "there"


def _send_store(session: Session, payload: bytes) -> Outcome:
    wanted: dict[str, Any] = msgspec.json.decode(payload)
    present = _find(session, wanted["externalId"])
    if present is None:
        answer = session.create(_STORES, payload, {}, expect={400, 409})
        raise_if_failed(f"POST {_STORES}", answer)
        if answer.status not in {400, 409}:
            return Outcome("delivered", vendor_id=wanted["externalId"])
        # Refused as wrong, or because a receipt or somebody else created it in between: look again.
        present = _find(session, wanted["externalId"])
        if present is None:
            return refused(f"POST {_STORES}", answer)
    return _update(session, wanted, present)


def _find(session: Session, external_id: str) -> dict[str, Any] | None:
    answer = session.client.call("GET", _path(external_id), expect={404})
    raise_if_failed(f"GET {_STORES}", answer)
    return None if answer.status == 404 else answer.json(dict[str, Any])


def _update(session: Session, wanted: dict[str, Any], present: dict[str, Any]) -> Outcome:
    changes = _changes(wanted, present)
    if changes:
        # The same body twice gives the same state, so the client may repeat it.
        answer = session.client.call(
            session.options.store_update_method, _path(wanted["externalId"]), json=changes, expect={404, 405}
        )
        raise_if_failed(_STORES, answer)
        if answer.status in {404, 405} and not error_name(answer):
            raise ConfigError(
                f"Voyado: {_STORES} answered {answer.status} to {session.options.store_update_method}; "
                "set store_update_method as the tenant's Swagger page says"
            )
        if answer.status == 404:
            # It was there a moment ago: the next run looks again.
            return Outcome("pending", f"{_STORES}: answered 404 {error_name(answer)} to a change")
    return Outcome("delivered", vendor_id=wanted["externalId"])


def _changes(wanted: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if _differs(name, value, present.get(name))}


def _differs(name: str, wanted: Any, present: Any) -> bool:
    # Engage shows `RETAIL` for a store that was created as `retail`.
    if name == "type" and isinstance(present, str):
        return bool(wanted.lower() != present.lower())
    return bool(wanted != present)


def _path(external_id: str) -> str:
    return f"{_STORES}/{quote(external_id, safe='')}"
