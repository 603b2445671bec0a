"""The tenant's receipts: queueing those of the API, and taking those of both channels in."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from engage_pipelines.sandbox.handling import read_json, write_json
from engage_pipelines.sandbox.voyado.contacts import KEY_COLUMNS, column_value
from engage_pipelines.sandbox.voyado.receipt_rules import Receipt, receipt_of
from engage_pipelines.sandbox.voyado.stores import StoreBook
from engage_pipelines.sandbox.voyado.tables import Tenant

_RECEIVED = """
insert into receipts_received values (?, ?, ?) on conflict (unique_receipt_id) do update set
    by_api = by_api + excluded.by_api, by_file = by_file + excluded.by_file
"""


class ReceiptBook:
    """Receipts in the tenant's file.

    Args:
        tenant: file, clock and log.
        stores: to find or conjure up stores.
        import_interval: seconds between the taking in of a call and its import.
    """

    def __init__(self, tenant: Tenant, stores: StoreBook, *, import_interval: float) -> None:
        self._tenant = tenant
        self._stores = stores
        self._interval = import_interval

    def queue(self, body: bytes) -> None:
        """Keep a checked body until its import is due."""
        with self._tenant.holdings.change() as change:
            change.execute(
                "insert into receipt_queue (due_at, body) values (?, ?)",
                (self._tenant.clock() + self._interval, body.decode()),
            )

    def import_due(self) -> None:
        """Import what has waited long enough."""
        now = self._tenant.clock()
        if not self._tenant.holdings.one("select 1 from receipt_queue where due_at <= ?", (now,)):
            return
        with self._tenant.holdings.change() as change:
            due = change.execute(
                "select number, body from receipt_queue where due_at <= ? order by number", (now,)
            ).fetchall()
            for _, body in due:
                self._import_one(change, receipt_of(read_json(body)))
            change.executemany("delete from receipt_queue where number = ?", [(row[0],) for row in due])

    def _import_one(self, change: sqlite3.Connection, receipt: Receipt) -> None:
        self.note_received(change, receipt.unique_id, "api")
        if self.is_duplicate(change, receipt, "api"):
            return
        # The store comes into being even if the receipt is dropped: that is how ghosts are made.
        if not self._stores.exists(change, receipt.store):
            self._stores.make_ghost(change, receipt.store)
        contact = self._contact_of(change, receipt)
        if contact is None:
            self._tenant.log(
                change, "receipt_dropped", "api", receipt.unique_id, "unknown contact, the receipt is lost"
            )
            return
        self.store(change, receipt, contact, "api")

    def _contact_of(self, change: sqlite3.Connection, receipt: Receipt) -> str | None:
        if receipt.key_type == "contactId":
            found = change.execute("select id from contacts where id = ?", (receipt.key,)).fetchone()
        else:
            found = change.execute(
                f"select id from contacts where {KEY_COLUMNS[receipt.key_type]} = ? and contact_type = ?",
                (column_value(receipt.key_type, receipt.key), receipt.contact_type or "Member"),
            ).fetchone()
        return str(found[0]) if found else None

    def note_received(self, change: sqlite3.Connection, unique_id: str, channel: str) -> None:
        """Count that a receipt id arrived, whatever becomes of it."""
        change.execute(_RECEIVED, (unique_id, int(channel == "api"), int(channel == "file")))

    def is_duplicate(self, change: sqlite3.Connection, receipt: Receipt, source: str) -> bool:
        """Whether the id is taken; then the new one is ignored, and the log says so."""
        held = change.execute(
            "select fingerprint from receipts where unique_receipt_id = ?", (receipt.unique_id,)
        ).fetchone()
        if held is None:
            return False
        if held[0] == receipt.fingerprint:
            self._tenant.log(change, "duplicate_receipt_ignored", source, receipt.unique_id, "same lines")
        else:
            self._tenant.log(
                change, "receipt_part_lost", source, receipt.unique_id,
                "the id is taken by a receipt with other lines; these lines are lost",
            )  # fmt: skip
        return True

    def store(self, change: sqlite3.Connection, receipt: Receipt, contact: str, channel: str) -> None:
        """Keep a receipt for ever."""
        change.execute(
            "insert into receipts values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                receipt.unique_id, contact, receipt.store, receipt.currency, f"{receipt.total:f}",
                len(receipt.lines), receipt.created, receipt.number, channel, receipt.fingerprint,
                write_json(receipt.lines).decode(),
            ),
        )  # fmt: skip

    def of_contact(self, contact_id: str, offset: int, count: int) -> dict[str, Any]:
        """One page of a contact's transactions, the latest first."""
        holdings = self._tenant.holdings
        total = holdings.number("select count(*) from receipts where contact_id = ?", (contact_id,))
        rows = holdings.rows(
            "select receipts.*, stores.name as store_name, stores.body as store_body from receipts"
            " left join stores on external_id = store where contact_id = ?"
            " order by created desc, unique_receipt_id limit ? offset ?",
            (contact_id, count, offset),
        )
        items = [_transaction(row) for row in rows]
        return {"items": items, "totalCount": total, "offset": offset, "count": len(items)}


def _transaction(row: sqlite3.Row) -> Mapping[str, Any]:
    lines = read_json(row["lines"])
    # As with prices: returns carry positive taxes and count against the sum, adjustments have their sign.
    tax = sum((Decimal(line["taxAmount"]) * (-1 if line["type"] == "RETURN" else 1) for line in lines), Decimal(0))
    net = Decimal(row["total"]) - tax
    store = msgspec.json.decode(row["store_body"] or "{}")
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, row["unique_receipt_id"])), "externalId": row["unique_receipt_id"],
        "transactionNumber": row["receipt_number"], "createdDate": row["created"],
        "storeName": row["store_name"], "storeType": store.get("type"), "numberOfItems": row["line_count"],
        "netPriceSum": net, "localNetPriceSum": net, "localCurrency": row["currency"],
        "groupCurrency": row["currency"], "lineItems": lines,
    }  # fmt: skip
