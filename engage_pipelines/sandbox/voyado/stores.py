"""The tenant's stores, ghosts included."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from engage_pipelines.sandbox.handling import write_json
from engage_pipelines.sandbox.voyado.fields import is_text
from engage_pipelines.sandbox.voyado.tables import RefusalError, Tenant

_TYPES = ("ecom", "ecomm", "retail")


def check_store(body: Mapping[str, Any]) -> None:
    """Refuse a store whose mandatory or typed fields are wrong."""
    for name in ("externalId", "name"):
        if not is_text(body.get(name)):
            raise RefusalError(400, "ValidationError", f"{name} is required")
    if str(body.get("type", "retail")).lower() not in _TYPES:
        raise RefusalError(400, "ValidationError", "type is ecom or retail")


class StoreBook:
    """Stores in the tenant's file."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._holdings = tenant.holdings

    def listing(self, *, include_inactive: bool) -> list[dict[str, Any]]:
        """All stores, the closed ones only if asked for."""
        rows = self._holdings.rows(
            "select body from stores where active or ? order by external_id", (int(include_inactive),)
        )
        return [msgspec.json.decode(row[0]) for row in rows]

    def one(self, external_id: str) -> dict[str, Any]:
        """One store."""
        row = self._holdings.one("select body from stores where external_id = ?", (external_id,))
        if row is None:
            raise RefusalError(404, "StoreNotFound")
        found: dict[str, Any] = msgspec.json.decode(row[0])
        return found

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a store; an external id that is taken is refused."""
        check_store(body)
        with self._holdings.change() as change:
            if self.exists(change, body["externalId"]):
                raise RefusalError(400, "StoreAlreadyExists", "externalId is taken")
            self.put(change, body)
        return self.one(body["externalId"])

    def update(self, external_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields in `body`; the external id stays."""
        merged = {**self.one(external_id), **body, "externalId": external_id}
        check_store(merged)
        with self._holdings.change() as change:
            self.put(change, merged)
        return self.one(external_id)

    def put(self, change: sqlite3.Connection, body: Mapping[str, Any]) -> None:
        """Write a store that was checked; one that exists is overwritten."""
        full = {"active": True, **body}
        change.execute(
            "insert into stores values (?, ?, ?, 0, ?, 1) on conflict (external_id) do update set"
            " name = excluded.name, active = excluded.active, body = excluded.body,"
            " times_received = times_received + 1",
            (full["externalId"], full["name"], int(bool(full["active"])), write_json(full).decode()),
        )

    def exists(self, change: sqlite3.Connection, external_id: str) -> bool:
        """Whether there is such a store."""
        found = change.execute("select 1 from stores where external_id = ?", (external_id,)).fetchone()
        return found is not None

    def make_ghost(self, change: sqlite3.Connection, external_id: str) -> None:
        """Create the store that an unknown id on a receipt conjures up."""
        body = {"externalId": external_id, "name": external_id, "active": True}
        change.execute(
            "insert into stores values (?, ?, 1, 1, ?, 0)", (external_id, external_id, write_json(body).decode())
        )
        self._tenant.log(change, "ghost_store_created", "api", external_id, "a receipt named an unknown store")
