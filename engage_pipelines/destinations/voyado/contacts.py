"""Sending contacts one by one: find, then create, or change only what differs.

Creating is never repeated without a look: Voyado's own rule is to check with a GET whether the first
POST worked, and that look is the first step of the next attempt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.voyado.answers import error_name, refused
from engage_pipelines.destinations.voyado.session import Session
from engage_pipelines.errors import ConfigError, RejectedError

_CONTACTS = "api/v3/contacts"
# The documents have the overview in v2 only.
_OVERVIEW = "api/v2/contactoverview"
# memberNumber and externalId are both looked up as customKey; which one it is, the tenant decides.
_QUERY_NAMES = {"email": "email", "mobilePhone": "mobilePhone"}
# Fixed at creation, or only known to files: never part of a change.
_NOT_CHANGED = frozenset({"contactType", "createdOn", "preferences"})
_WRONG_SETTINGS = frozenset({"InvalidContactType", "InvalidSearchQuery"})


def send_contacts(session: Session, batch: Batch) -> list[Outcome]:
    """Create or update contacts by the match key.

    Raises:
        ConfigError: contact type, match key type or base address do not suit the tenant.
        UnknownOutcomeError: a contact may or may not have been created.
    """
    return [_send_contact(session, msgspec.json.decode(payload)) for payload in batch.payloads]


def _send_contact(session: Session, wanted: dict[str, Any]) -> Outcome:
    key_type = session.options.match_key_type
    found = session.client.call(
        "GET", f"{_CONTACTS}/id",
        params={_QUERY_NAMES.get(key_type, "customKey"): wanted[key_type], "contactType": wanted["contactType"]},
        expect={400, 404, 409},
    )  # fmt: skip
    if found.status == 200:
        return _update(session, found.json(str), wanted)
    name = error_name(found)
    if found.status == 404:
        if name != "ContactNotFound":
            raise ConfigError(f"Voyado: {_CONTACTS}/id answered 404 without ContactNotFound; check base_url")
        return _create(session, wanted)
    if name in _WRONG_SETTINGS:
        raise ConfigError(f"Voyado: {_CONTACTS}/id answered {name}; check contact_type and match_key_type")
    return refused(f"GET {_CONTACTS}/id", found)


def _create(session: Session, wanted: dict[str, Any]) -> Outcome:
    body = {name: value for name, value in wanted.items() if name != "createdOn"}
    # In v3 these are query parameters; as headers (v2) they would be ignored without a word.
    params = {"source": session.options.source, "createAsUnapproved": "false"}
    if session.options.contact_store:
        params["storeExternalId"] = session.options.contact_store
    answer = session.create(_CONTACTS, msgspec.json.encode(body), params, expect={400, 409})
    if answer.status in {400, 409}:
        return refused(f"POST {_CONTACTS}", answer)
    created = answer.json()
    return Outcome("delivered", vendor_id=created.get("id") if isinstance(created, dict) else None)


def _update(session: Session, contact_id: str, wanted: dict[str, Any]) -> Outcome:
    answer = session.client.call("GET", _OVERVIEW, params={"contactId": contact_id}, expect={404, 405})
    overview = session.known_route(_OVERVIEW, answer).json(dict[str, Any])
    changes = _changes(wanted, overview)
    if changes:
        try:
            session.client.call("PATCH", f"{_CONTACTS}/{contact_id}", json=changes)
        except RejectedError as error:
            return Outcome("rejected", str(error), error.vendor_code, contact_id)
    return Outcome("delivered", vendor_id=contact_id)


def _changes(wanted: dict[str, Any], overview: dict[str, Any]) -> dict[str, Any]:
    present = overview.get("attributes") or {}
    changes = {
        name: value
        for name, value in wanted.items()
        if name not in _NOT_CHANGED and not _is_same(name, value, present.get(name))
    }
    known = overview.get("preferences") or {}
    preferences = {name: value for name, value in wanted.get("preferences", {}).items() if known.get(name) != value}
    return {**changes, "preferences": preferences} if preferences else changes


def _is_same(name: str, wanted: Any, present: Any) -> bool:
    # Engage may answer a birthday with a time of day behind it.
    if name == "birthDay" and isinstance(present, str):
        return bool(present[:10] == wanted)
    return bool(present == wanted)
