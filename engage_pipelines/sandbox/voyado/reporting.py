"""What the tenant holds, counted and listed for the inspection API."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from engage_pipelines.sandbox.handling import listing
from engage_pipelines.sandbox.holdings import Holdings
from engage_pipelines.sandbox.voyado.contacts import contact_object

# Parts of one receipt in several files: each part is refused for another sum, or meets the first part.
_SPLIT = """
select count(*) from (
    select key from integration_log where kind = 'receipt_part_lost'
    union
    select key from integration_log where kind = 'receipt_refused'
    group by key having count(distinct source) > 1 and count(distinct message) > 1
)
"""


def report(holdings: Holdings) -> dict[str, Any]:
    """Counts, and exact totals per currency."""
    log = holdings.counts("select kind, count(*) from integration_log group by 1 order by 1")
    number = holdings.number
    return {
        "contacts": number("select count(*) from contacts"),
        "contacts_by_channel": holdings.counts("select channel, count(*) from contacts group by 1"),
        "stores": number("select count(*) from stores where not ghost"),
        "ghost_stores": number("select count(*) from stores where ghost"),
        "receipts": number("select count(*) from receipts"),
        "lines": number("select sum(line_count) from receipts"),
        "totals": totals(holdings),
        "receipts_by_channel": holdings.counts("select channel, count(*) from receipts group by 1"),
        "receipts_received": number("select sum(by_api + by_file) from receipts_received"),
        "receipts_queued": number("select count(*) from receipt_queue"),
        "receipts_in_utc": number("select count(*) from receipts where created like '%Z'"),
        "duplicates_ignored": log.get("duplicate_receipt_ignored", 0) + log.get("receipt_part_lost", 0),
        "receipts_dropped": log.get("receipt_dropped", 0),
        "receipts_refused": log.get("receipt_refused", 0),
        "receipts_split_over_files": number(_SPLIT),
        "integration_log": log,
    }


def totals(holdings: Holdings) -> dict[str, str]:
    """Signed sum of all receipts per currency."""
    sums: dict[str, Decimal] = {}
    for currency, total in holdings.rows("select currency, total from receipts"):
        sums[currency] = sums.get(currency, Decimal(0)) + Decimal(total)
    return {currency: f"{sums[currency]:f}" for currency in sorted(sums)}


def records(holdings: Holdings, kind: str, offset: int, limit: int) -> dict[str, Any] | None:
    """One page of a kind of record; None for an unknown kind."""
    make = _KINDS.get(kind)
    return make(holdings, offset, limit) if make else None


def _receipts(holdings: Holdings, offset: int, limit: int) -> dict[str, Any]:
    rows = holdings.rows(
        "select receipts.*, by_api, by_file from receipts left join receipts_received using (unique_receipt_id)"
        " order by unique_receipt_id limit ? offset ?",
        (limit, offset),
    )
    return listing("receipts", holdings.number("select count(*) from receipts"), [
        {
            "key": row["unique_receipt_id"], "times_received": (row["by_api"] or 0) + (row["by_file"] or 0),
            "received_by_api": row["by_api"] or 0, "received_by_file": row["by_file"] or 0,
            "channel": row["channel"], "contact_id": row["contact_id"], "store": row["store"],
            "currency": row["currency"], "total": row["total"], "line_count": row["line_count"],
            "created": row["created"], "receipt_number": row["receipt_number"],
            "lines": msgspec.Raw(row["lines"].encode()),
        }
        for row in rows
    ])  # fmt: skip


def _received(holdings: Holdings, offset: int, limit: int) -> dict[str, Any]:
    rows = holdings.rows(
        "select unique_receipt_id, by_api, by_file from receipts_received order by 1 limit ? offset ?",
        (limit, offset),
    )
    total = holdings.number("select count(*) from receipts_received")
    return listing("receipts_received", total, [
        {"key": key, "times_received": by_api + by_file, "received_by_api": by_api, "received_by_file": by_file}
        for key, by_api, by_file in rows
    ])  # fmt: skip


def _contacts(holdings: Holdings, offset: int, limit: int) -> dict[str, Any]:
    rows = holdings.rows("select * from contacts order by number limit ? offset ?", (limit, offset))
    return listing("contacts", holdings.number("select count(*) from contacts"), [
        {
            "key": row["id"], "times_received": row["times_received"], "channel": row["channel"],
            **contact_object(row),
        }
        for row in rows
    ])  # fmt: skip


def _stores(holdings: Holdings, offset: int, limit: int) -> dict[str, Any]:
    rows = holdings.rows("select * from stores order by external_id limit ? offset ?", (limit, offset))
    return listing("stores", holdings.number("select count(*) from stores"), [
        {
            "key": row["external_id"], "times_received": row["times_received"], "ghost": bool(row["ghost"]),
            "body": msgspec.Raw(row["body"].encode()),
        }
        for row in rows
    ])  # fmt: skip


def _log(holdings: Holdings, offset: int, limit: int) -> dict[str, Any]:
    rows = holdings.rows("select * from integration_log order by number limit ? offset ?", (limit, offset))
    return listing("integration_log", holdings.number("select count(*) from integration_log"), [
        {name: row[name] for name in ("number", "logged_at", "kind", "source", "key", "message")} for row in rows
    ])  # fmt: skip


_KINDS: dict[str, Callable[[Holdings, int, int], dict[str, Any]]] = {
    "receipts": _receipts, "receipts_received": _received, "contacts": _contacts, "stores": _stores,
    "integration_log": _log,
}  # fmt: skip
