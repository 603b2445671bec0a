"""Files of transactions: one row per line, receipt fields repeated, one kind of match key per file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engage_pipelines.sandbox.voyado.contacts import ContactBook, column_value
from engage_pipelines.sandbox.voyado.fields import decimal_of, is_currency, is_moment
from engage_pipelines.sandbox.voyado.files import RefusedFileError, Table
from engage_pipelines.sandbox.voyado.receipt_rules import KEY_TYPES, Receipt, check_line, check_sum
from engage_pipelines.sandbox.voyado.receipts import ReceiptBook
from engage_pipelines.sandbox.voyado.tables import Tenant

ROOT_COLUMNS = (
    "matchKey", "matchKeyType", "contactType", "uniqueReceiptId", "receiptNumber", "createdDate",
    "storeExternalId", "currency", "exchangeRateToGroupCurrency", "totalGrossPrice",
)  # fmt: skip
LINE_COLUMNS = (
    "type", "sku", "articleNumber", "articleName", "articleGroup", "quantity", "grossPaidPrice", "taxAmount",
    "taxPercent", "marginPercent", "awardsBonus",
)  # fmt: skip
_OPTIONAL = {
    "contactType", "receiptNumber", "exchangeRateToGroupCurrency", "articleGroup", "marginPercent", "awardsBonus",
}  # fmt: skip
_NUMBERS = ("quantity", "grossPaidPrice", "taxAmount", "taxPercent")


class _RefusedReceiptError(Exception):
    pass


@dataclass(slots=True)
class _Counts:
    stored: int = 0
    ignored: int = 0


class TransactionReader:
    """Takes files of transactions in.

    Args:
        tenant: file, clock and log.
        contacts: who is known.
        receipts: where receipts go.
        check_totals: refuse receipts whose lines in this file do not make up their total.
    """

    def __init__(self, tenant: Tenant, contacts: ContactBook, receipts: ReceiptBook, *, check_totals: bool) -> None:
        self._tenant = tenant
        self._contacts = contacts
        self._receipts = receipts
        self._check_totals = check_totals

    def __call__(self, change: sqlite3.Connection, table: Table) -> str:
        """Take one file in."""
        table.require([name for name in (*ROOT_COLUMNS, *LINE_COLUMNS) if name not in _OPTIONAL])
        key_type = _only_key_type(table)
        known: dict[str, dict[str, str]] = {}
        stores = {str(row[0]) for row in change.execute("select external_id from stores")}
        counts = _Counts()
        for unique_id, rows in _by_receipt(table).items():
            try:
                receipt = self._receipt(unique_id, key_type, rows)
                self._take(change, receipt, table.name, known, stores)
                counts.stored += 1
            except _RefusedReceiptError as error:
                self._receipts.note_received(change, unique_id, "file")
                self._tenant.log(change, str(error.args[0]), table.name, unique_id, str(error.args[1]))
                counts.ignored += 1
            except _TakenError:
                counts.ignored += 1
        return f"{counts.stored} receipts stored, {counts.ignored} not, {len(table.rows)} lines"

    def _take(
        self,
        change: sqlite3.Connection,
        receipt: Receipt,
        source: str,
        known: dict[str, dict[str, str]],
        stores: set[str],
    ) -> None:
        contact = self._contact_of(receipt, known)
        if contact is None:
            raise _RefusedReceiptError("receipt_dropped", "unknown contact, the transaction is ignored")
        if receipt.store not in stores:
            raise _RefusedReceiptError("receipt_dropped", "unknown store, the transaction is ignored")
        self._receipts.note_received(change, receipt.unique_id, "file")
        if self._receipts.is_duplicate(change, receipt, source):
            raise _TakenError
        self._receipts.store(change, receipt, contact, "file")

    def _contact_of(self, receipt: Receipt, known: dict[str, dict[str, str]]) -> str | None:
        # One file has one kind of key: all contacts are looked up at once, per contact type.
        contact_type = "" if receipt.key_type == "contactId" else receipt.contact_type or "Member"
        if contact_type not in known:
            known[contact_type] = self._contacts.keys_of(receipt.key_type, contact_type)
        return known[contact_type].get(column_value(receipt.key_type, receipt.key) or "")

    def _receipt(self, unique_id: str, key_type: str, rows: list[dict[str, str]]) -> Receipt:
        first = rows[0]
        if any(row.get(name) != first.get(name) for row in rows[1:] for name in ROOT_COLUMNS):
            raise _RefusedReceiptError("receipt_refused", "the receipt fields differ between its lines")
        total = _checked_total(first)
        lines = [_line(row, index) for index, row in enumerate(rows)]
        if self._check_totals and (problem := check_sum(total, lines)):
            raise _RefusedReceiptError("receipt_refused", problem)
        return Receipt(
            unique_id=unique_id, key_type=key_type, key=first["matchKey"],
            contact_type=first.get("contactType", ""), store=first["storeExternalId"],
            currency=first["currency"], total=total, created=first["createdDate"],
            number=first.get("receiptNumber", ""), lines=lines,
        )  # fmt: skip


class _TakenError(Exception):
    """The receipt id is taken; the log has it already."""


def _only_key_type(table: Table) -> str:
    place = table.columns.index("matchKeyType")
    kinds = {row[place].lower() for row in table.rows}
    if len(kinds) > 1:
        raise RefusedFileError("more than one matchKeyType in one file")
    kind = next(iter(kinds), "externalid")
    if kind not in KEY_TYPES:
        raise RefusedFileError(f"matchKeyType is one of {', '.join(KEY_TYPES.values())}")
    return KEY_TYPES[kind]


def _by_receipt(table: Table) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    place = table.columns.index("uniqueReceiptId")
    for cells in table.rows:
        found.setdefault(cells[place], []).append(dict(zip(table.columns, cells, strict=True)))
    return found


def _checked_total(row: Mapping[str, str]) -> Decimal:
    total = decimal_of(row["totalGrossPrice"])
    tests = (
        ("uniqueReceiptId", bool(row["uniqueReceiptId"])), ("matchKey", bool(row["matchKey"])),
        ("createdDate", is_moment(row["createdDate"])), ("storeExternalId", bool(row["storeExternalId"])),
        ("currency", is_currency(row["currency"])), ("totalGrossPrice", total is not None),
    )  # fmt: skip
    bad = [name for name, fits in tests if not fits]
    if bad or total is None:
        raise _RefusedReceiptError("receipt_refused", f"not valid: {', '.join(bad)}")
    return total


def _line(row: Mapping[str, str], index: int) -> dict[str, Any]:
    line: dict[str, Any] = {name: row[name] for name in LINE_COLUMNS if row.get(name)}
    line.update({name: decimal_of(row[name]) for name in _NUMBERS})
    if problem := check_line(line, f"line {index}"):
        raise _RefusedReceiptError("receipt_refused", problem)
    return line
