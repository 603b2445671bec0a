"""The tenant's contacts: finding, creating, changing, in bulk too."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engage_pipelines.sandbox.handling import write_json
from engage_pipelines.sandbox.voyado.fields import (
    ATTRIBUTE_TESTS,
    ATTRIBUTES,
    CONTACT_TYPES,
    PREFERENCES,
    is_email,
    is_phone,
    is_social_security_number,
)
from engage_pipelines.sandbox.voyado.tables import RefusalError, Tenant

# attribute -> column, for everything a contact can be found by
KEY_COLUMNS = {
    "externalId": "external_id", "memberNumber": "member_number", "email": "email",
    "mobilePhone": "mobile_phone", "socialSecurityNumber": "social_security_number",
}  # fmt: skip
_CODES = {
    "email": "InvalidEmailAddress", "mobilePhone": "InvalidPhoneNumber",
    "socialSecurityNumber": "InvalidSocialSecurityNumber",
}  # fmt: skip


def column_value(name: str, value: Any) -> str | None:
    """The value as it is looked up: e-mail addresses do not know capitals, blanks do not count."""
    text = str(value or "")
    return (text.lower() if name == "email" else text) or None


def check_type(contact_type: str) -> str:
    """The contact type, if the tenant has it."""
    if contact_type not in CONTACT_TYPES:
        raise RefusalError(400, "InvalidContactType")
    return contact_type


class ContactBook:
    """Contacts in the tenant's file.

    Args:
        tenant: file, clock and log.
        key: the attribute that tells contacts apart; empty: the first one in `KEY_COLUMNS` that is given.
    """

    def __init__(self, tenant: Tenant, *, key: str = "") -> None:
        self._tenant = tenant
        self._holdings = tenant.holdings
        self._keys = (key,) if key else tuple(KEY_COLUMNS)

    def find(self, query: Mapping[str, str]) -> str:
        """The contact id behind search attributes, all of which must match."""
        contact_type = query.get("contactType")
        if contact_type is not None:
            check_type(contact_type)
        tests = self._search_terms(query)
        if not tests:
            raise RefusalError(400, "InvalidSearchQuery")
        where = " and ".join(condition for condition, _ in tests)
        values = [value for _, pair in tests for value in pair]
        found = self._holdings.rows(
            f"select id from contacts where {where} and (? is null or contact_type = ?)",
            (*values, contact_type, contact_type),
        )
        if len(found) > 1:
            raise RefusalError(409, "MultipleMatches")
        if not found:
            raise RefusalError(404, "ContactNotFound")
        return str(found[0][0])

    def _search_terms(self, query: Mapping[str, str]) -> list[tuple[str, list[str | None]]]:
        terms = dict(query)
        if "any" in terms:
            anything = terms.pop("any")
            terms[_kind_of(anything)] = anything
        found: list[tuple[str, list[str | None]]] = []
        for name in ("email", "mobilePhone", "socialSecurityNumber"):
            if name in terms:
                if not ATTRIBUTE_TESTS[name](terms[name]):
                    raise RefusalError(400, _CODES[name])
                found.append((f"{KEY_COLUMNS[name]} = ?", [column_value(name, terms[name])]))
        if "customKey" in terms:
            found.append(("(member_number = ? or external_id = ?)", [terms["customKey"]] * 2))
        return found

    def create(self, body: Mapping[str, Any], *, source: str, store: str | None, unapproved: bool) -> dict[str, Any]:
        """Create a contact; a key that is taken is refused."""
        contact_type = check_type(body.get("contactType", "Member"))
        if not self.has_key(body):
            raise RefusalError(400, "MissingKey", f"one of {', '.join(self._keys)} is needed")
        _check_values(body)
        with self._tenant.holdings.change() as change:
            if self.match(change, contact_type, body):
                raise RefusalError(409, "ContactAlreadyExists")
            given = {**body, **self._store_fields(change, body, store)}
            contact_id = self.insert(change, given, contact_type, source=source, channel="api")
            change.execute("update contacts set approved = ? where id = ?", (int(not unapproved), contact_id))
        return self.overview(contact_id)

    def _store_fields(self, change: sqlite3.Connection, body: Mapping[str, Any], store: str | None) -> dict[str, str]:
        if not store:
            return {}
        if not change.execute("select 1 from stores where external_id = ?", (store,)).fetchone():
            self._tenant.log(change, "contact_field_skipped", "api", store, "storeExternalId: no such store")
            return {}
        return {"createdInStore": store, "store": body.get("store") or store}

    def insert(
        self, change: sqlite3.Connection, body: Mapping[str, Any], contact_type: str, *, source: str, channel: str
    ) -> str:  # fmt: skip
        """Add a contact without further questions; gives its id."""
        contact_id = str(uuid.uuid4())
        change.execute(
            "insert into contacts (id, contact_type, approved, source, channel, attributes, preferences, consents,"
            " times_received) values (?, ?, 1, ?, ?, '{}', '{}', '[]', 0)",
            (contact_id, contact_type, source, channel),
        )
        number = change.execute("select max(number) from contacts").fetchone()[0]
        self.apply(change, contact_id, {"memberNumber": f"{1_000_000 + number}", **body})
        return contact_id

    def change(self, contact_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the attributes in `body`; empty ones are erased, unknown ones do not exist."""
        _check_values({name: value for name, value in body.items() if value not in (None, "")})
        with self._holdings.change() as change:
            if not change.execute("select 1 from contacts where id = ?", (contact_id,)).fetchone():
                raise RefusalError(404, "ContactNotFound")
            # Where a contact was created is written once.
            self.apply(change, contact_id, {n: v for n, v in body.items() if n != "createdInStore"})
        return self.overview(contact_id)

    def apply(self, change: sqlite3.Connection, contact_id: str, body: Mapping[str, Any]) -> None:
        """Write attributes, preferences and consents of `body` over what is held."""
        row = change.execute("select * from contacts where id = ?", (contact_id,)).fetchone()
        attributes = msgspec.json.decode(row["attributes"])
        for name in ATTRIBUTES & body.keys():
            attributes[name] = body[name]
            if body[name] in (None, ""):
                del attributes[name]
        preferences = {**msgspec.json.decode(row["preferences"]), **_preferences(body)}
        consents = _merged_consents(msgspec.json.decode(row["consents"]), body.get("consents") or [])
        change.execute(
            "update contacts set external_id = ?, member_number = ?, email = ?, mobile_phone = ?,"
            " social_security_number = ?, attributes = ?, preferences = ?, consents = ?,"
            " times_received = times_received + 1 where id = ?",
            (
                *(column_value(name, attributes.get(name)) for name in KEY_COLUMNS),
                write_json(attributes).decode(), write_json(preferences).decode(), write_json(consents).decode(),
                contact_id,
            ),
        )  # fmt: skip

    def _match(self, change: sqlite3.Connection, contact_type: str, name: str, value: Any) -> str | None:
        looked_up = column_value(name, value)
        if looked_up is None:
            return None
        found = change.execute(
            f"select id from contacts where {KEY_COLUMNS[name]} = ? and contact_type = ?",
            (looked_up, contact_type),
        ).fetchone()
        return str(found[0]) if found else None

    def match(self, change: sqlite3.Connection, contact_type: str, body: Mapping[str, Any]) -> str | None:
        """The contact meant by the first key in `body` that has a value."""
        name = next((name for name in self._keys if body.get(name)), None)
        return self._match(change, contact_type, name, body[name]) if name else None

    def has_key(self, body: Mapping[str, Any]) -> bool:
        """Whether `body` says which contact it means."""
        return any(body.get(name) for name in self._keys)

    def overview(self, contact_id: str) -> dict[str, Any]:
        """Everything about one contact."""
        row = self._holdings.one("select * from contacts where id = ?", (contact_id,))
        if row is None:
            raise RefusalError(404, "ContactNotFound")
        return contact_object(row)

    def keys_of(self, key_type: str, contact_type: str) -> dict[str, str]:
        """All contacts of a type: key value -> contact id."""
        column = "id" if key_type == "contactId" else KEY_COLUMNS[key_type]
        rows = self._holdings.rows(
            f"select {column}, id from contacts where {column} is not null and (? = '' or contact_type = ?)",
            (contact_type, contact_type),
        )
        return {str(key): str(contact_id) for key, contact_id in rows}

    def take_bulk(
        self, change: sqlite3.Connection, kind: str, contact_type: str, rows: Sequence[Any], batch: str
    ) -> tuple[int, int]:
        """Work off a bulk call; gives (taken, failed)."""
        taken = sum(self._take_one(change, kind, contact_type, row, f"{batch}:{n}") for n, row in enumerate(rows))
        return taken, len(rows) - taken

    def _take_one(self, change: sqlite3.Connection, kind: str, contact_type: str, row: Any, place: str) -> bool:
        try:
            if not isinstance(row, dict) or not self.has_key(row):
                raise RefusalError(400, "MissingKey")  # noqa: TRY301  one exit for all reasons
            _check_values({name: value for name, value in row.items() if value not in (None, "")})
        except RefusalError as error:
            self._tenant.log(change, "contact_skipped", "bulk", place, error.code)
            return False
        found = self.match(change, contact_type, row)
        if (kind == "create") == bool(found):
            reason = "ContactAlreadyExists" if found else "ContactNotFound"
            self._tenant.log(change, "contact_skipped", "bulk", place, reason)
        elif found:
            self.apply(change, found, row)
        else:
            self.insert(change, row, contact_type, source="", channel="bulk")
        return (kind == "create") != bool(found)


def _kind_of(value: str) -> str:
    # Scanning stops at the first kind whose form the value has, even when nobody matches it.
    if is_email(value):
        return "email"
    if is_social_security_number(value):
        return "socialSecurityNumber"
    return "mobilePhone" if is_phone(value) else "customKey"


def _check_values(body: Mapping[str, Any]) -> None:
    for name in ATTRIBUTES & body.keys():
        value = body[name]
        if value in (None, ""):
            continue
        if not isinstance(value, str) or not ATTRIBUTE_TESTS.get(name, lambda _: True)(value):
            raise RefusalError(400, _CODES.get(name, "InvalidField"), f"{name} is not valid")
    preferences = body.get("preferences")
    if preferences is not None and not isinstance(preferences, dict):
        raise RefusalError(400, "InvalidField", "preferences must be an object")


def _preferences(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("preferences") or {}
    return {name: given[name] for name in PREFERENCES if isinstance(given.get(name), bool)}


def _merged_consents(held: list[dict[str, Any]], given: Sequence[Any]) -> list[dict[str, Any]]:
    known = {consent["id"]: consent for consent in held}
    known.update({one["id"]: one for one in given if isinstance(one, dict) and "id" in one and "value" in one})
    return list(known.values())


def contact_object(row: sqlite3.Row) -> dict[str, Any]:
    """A contact in the form of the API."""
    attributes = {**msgspec.json.decode(row["attributes"]), "contactType": row["contact_type"]}
    return {
        "id": row["id"], "attributes": attributes,
        "meta": {"source": row["source"], "approved": bool(row["approved"])},
        "preferences": msgspec.json.decode(row["preferences"]),
        "consents": msgspec.json.decode(row["consents"]),
    }  # fmt: skip
