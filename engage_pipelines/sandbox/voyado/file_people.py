"""Files of stores and contacts: row by row, a bad field costs the field and a missing key the row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from engage_pipelines.sandbox.voyado.contacts import KEY_COLUMNS, ContactBook
from engage_pipelines.sandbox.voyado.fields import (
    ATTRIBUTE_TESTS,
    ATTRIBUTES,
    CONTACT_TYPES,
    PREFERENCES,
    is_moment,
)
from engage_pipelines.sandbox.voyado.files import RefusedFileError, Table
from engage_pipelines.sandbox.voyado.stores import StoreBook, check_store
from engage_pipelines.sandbox.voyado.tables import RefusalError, Tenant

_BOOLEANS = {"True": True, "False": False}


class StoreReader:
    """Takes files of stores in."""

    def __init__(self, tenant: Tenant, stores: StoreBook) -> None:
        self._tenant = tenant
        self._stores = stores

    def __call__(self, change: sqlite3.Connection, table: Table) -> str:
        """Take one file in."""
        table.require(("externalId", "name", "timeZone"))
        taken = 0
        for number, cells in enumerate(table.rows, 2):
            row = {name: cell for name, cell in zip(table.columns, cells, strict=True) if cell}
            try:
                check_store(row)
            except RefusalError as error:
                self._tenant.log(change, "store_skipped", "file", f"{table.name}:{number}", str(error))
                continue
            self._stores.put(change, row)
            taken += 1
        return f"{taken} of {len(table.rows)} stores"


class ContactReader:
    """Takes files of contacts in; an empty cell means "not given"."""

    def __init__(self, tenant: Tenant, contacts: ContactBook, stores: StoreBook) -> None:
        self._tenant = tenant
        self._contacts = contacts
        self._stores = stores

    def __call__(self, change: sqlite3.Connection, table: Table) -> str:
        """Take one file in."""
        if not set(KEY_COLUMNS) & set(table.columns):
            raise RefusedFileError(f"no key column: one of {', '.join(KEY_COLUMNS)}")
        created = updated = 0
        for number, cells in enumerate(table.rows, 2):
            place = f"{table.name}:{number}"
            given = {name: cell for name, cell in zip(table.columns, cells, strict=True) if cell}
            row = self._good_fields(change, given, place)
            if row is None:
                continue
            if found := self._contacts.match(change, row["contactType"], row):
                self._contacts.apply(change, found, {n: v for n, v in row.items() if n != "createdInStore"})
                updated += 1
            else:
                self._contacts.insert(change, row, row["contactType"], source="file", channel="file")
                created += 1
        return f"{created} created, {updated} updated, {len(table.rows) - created - updated} skipped"

    def _good_fields(self, change: sqlite3.Connection, given: Mapping[str, str], place: str) -> dict[str, Any] | None:
        row: dict[str, Any] = {"contactType": "Member", "preferences": {}, "consents": []}
        for name, cell in given.items():
            if not self._take_field(change, row, name, cell):
                self._tenant.log(change, "contact_field_skipped", "file", place, f"{name} is not valid")
        if not self._contacts.has_key(row):
            self._tenant.log(change, "contact_skipped", "file", place, "no valid key")
            return None
        return row

    def _take_field(self, change: sqlite3.Connection, row: dict[str, Any], name: str, cell: str) -> bool:
        if name in PREFERENCES:
            row["preferences"][name] = _BOOLEANS.get(cell)
            return cell in _BOOLEANS
        if name not in ATTRIBUTES and name not in ("contactType", "createdOn"):
            # Every other column is a consent, named by its id.
            if cell in _BOOLEANS:
                row["consents"].append({"id": name, "value": _BOOLEANS[cell], "source": "file"})
            return cell in _BOOLEANS
        if not self._fits(change, name, cell):
            return False
        row[name] = cell
        return True

    def _fits(self, change: sqlite3.Connection, name: str, cell: str) -> bool:
        if name in ("store", "createdInStore"):
            return self._stores.exists(change, cell)
        others: dict[str, Callable[[Any], bool]] = {
            "contactType": CONTACT_TYPES.__contains__, "createdOn": is_moment
        }  # fmt: skip
        test = others.get(name) or ATTRIBUTE_TESTS.get(name)
        return test(cell) if test else True
