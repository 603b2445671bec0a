"""Contacts one by one: find, then create, or change only what differs; and looking up what was sent.

Creating is never repeated without a look: Voyado's own rule is to check with a GET whether the first
POST worked, and that look is the first step of the next attempt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from engage_pipelines.connector import Batch, Outcome, Verdict
from engage_pipelines.destinations.voyado.answers import error_name, raise_if_failed, refused
from engage_pipelines.destinations.voyado.session import Session
from engage_pipelines.errors import ConfigError, RejectedError
from engage_pipelines.http_client import Answer

_CONTACTS = "api/v3/contacts"
# The documents have the overview in v2 only.
_OVERVIEW = "api/v2/contactoverview"
# memberNumber and externalId are both looked up as customKey; which one it is, the tenant decides.
_QUERY_NAMES = {"email": "email", "mobilePhone": "mobilePhone"}
# Fixed at creation, or only known to files: never part of a change.
_NOT_CHANGED = frozenset({"contactType", "createdOn", "preferences"})
_WRONG_SETTINGS = frozenset({"InvalidContactType", "InvalidSearchQuery"})
# What contact_history.sql replaces by one blank.
_NOT_IN_FILES = re.compile(r'[;"\x00-\x1f\x7f\x85\u2028\u2029]+')


@dataclass(frozen=True, slots=True)
class Found:
    """What a search for one contact gave: its id, or a refusal of the search, or neither (nobody has the key)."""

    contact_id: str | None = None
    refusal: Answer | None = None


def send_contacts(session: Session, batch: Batch) -> list[Outcome]:
    """Create or update contacts by the match key.

    Raises:
        ConfigError: contact type, match key type or base address do not suit the tenant.
        UnknownOutcomeError: a contact may or may not have been created.
    """
    return [_send_contact(session, msgspec.json.decode(payload)) for payload in batch.payloads]


def verify_contacts(session: Session, batch: Batch) -> list[Verdict]:
    """Look contacts up by the match key: `there` if nothing that was sent would have to be changed.

    Raises:
        ConfigError: contact type, match key type or base address do not suit the tenant.
    """
    return [_verdict(session, msgspec.json.decode(payload)) for payload in batch.payloads]


def verify_contact_file(session: Session, batch: Batch) -> list[Verdict]:
    """Look up contacts that went by file, where some characters became blanks.

    Raises:
        ConfigError: contact type, match key type or base address do not suit the tenant.
    """
    return [_verdict(session, _as_in_file(msgspec.json.decode(payload))) for payload in batch.payloads]


def find_contact(session: Session, key_type: str, key: str, contact_type: str | None) -> Found:
    """Search one contact by its match key.

    Raises:
        ConfigError: contact type, match key type or base address do not suit the tenant.
    """
    params = {_QUERY_NAMES.get(key_type, "customKey"): key} | ({"contactType": contact_type} if contact_type else {})
    answer = session.client.call("GET", f"{_CONTACTS}/id", params=params, expect={400, 404, 409})
    if answer.status == 200:
        return Found(answer.json(str))
    name = error_name(answer)
    if answer.status == 404:
        if name != "ContactNotFound":
            raise ConfigError(f"Voyado: {_CONTACTS}/id answered 404 without ContactNotFound; check base_url")
        return Found()
    if name in _WRONG_SETTINGS:
        raise ConfigError(f"Voyado: {_CONTACTS}/id answered {name}; check contact_type and match_key_type")
    return Found(refusal=answer)


def _send_contact(session: Session, wanted: dict[str, Any]) -> Outcome:
    key_type = session.options.match_key_type
    found = find_contact(session, key_type, wanted[key_type], wanted["contactType"])
    if found.refusal is not None:
        return refused(f"GET {_CONTACTS}/id", found.refusal)
    if found.contact_id is None:
        return _create(session, wanted)
    return _update(session, found.contact_id, wanted)


def _verdict(session: Session, wanted: dict[str, Any]) -> Verdict:
    key_type = session.options.match_key_type
    if key_type not in wanted:
        # Sent under another match key type than today's.
        return "unknown"
    found = find_contact(session, key_type, wanted[key_type], wanted["contactType"])
    if found.refusal is not None:
        # Which of several contacts was meant nobody can tell; a value that is refused is on no contact at all.
        return "unknown" if found.refusal.status == 409 else "absent"
    if found.contact_id is None:
        return "absent"
    return "absent" if _changes(wanted, _overview(session, found.contact_id)) else "there"


def _create(session: Session, wanted: dict[str, Any]) -> Outcome:
    body = {name: value for name, value in wanted.items() if name != "createdOn"}
    # In v3 these are query parameters; as headers (v2) they would be ignored without a word.
    params = {"source": session.options.source, "createAsUnapproved": "false"}
    if session.options.contact_store:
        params["storeExternalId"] = session.options.contact_store
    answer = session.create(_CONTACTS, msgspec.json.encode(body), params, expect={400, 409})
    if answer.status in {400, 409}:
        return refused(f"POST {_CONTACTS}", answer)
    raise_if_failed(f"POST {_CONTACTS}", answer)
    created = answer.json()
    return Outcome("delivered", vendor_id=created.get("id") if isinstance(created, dict) else None)


def _update(session: Session, contact_id: str, wanted: dict[str, Any]) -> Outcome:
    changes = _changes(wanted, _overview(session, contact_id))
    if changes:
        try:
            answer = session.client.call("PATCH", f"{_CONTACTS}/{contact_id}", json=changes)
            raise_if_failed(f"PATCH {_CONTACTS}", answer)
        except RejectedError as error:
            return Outcome("rejected", str(error), error.vendor_code, contact_id)
    return Outcome("delivered", vendor_id=contact_id)


def _overview(session: Session, contact_id: str) -> dict[str, Any]:
    answer = session.client.call("GET", _OVERVIEW, params={"contactId": contact_id}, expect={404, 405})
    overview: dict[str, Any] = session.known_route(_OVERVIEW, answer).json(dict[str, Any])
    return overview


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


def _as_in_file(wanted: dict[str, Any]) -> dict[str, Any]:
    cleaned = {
        name: _NOT_IN_FILES.sub(" ", value).strip(" ") if isinstance(value, str) else value
        for name, value in wanted.items()
    }
    return {name: value for name, value in cleaned.items() if value != ""}
