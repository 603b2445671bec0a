"""The history of one receipt, as the warehouse knows it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from engage_pipelines.warehouse.database import Connection, Warehouse

# Other receipts of the same printed number that are named.
_MOST_OTHERS = 10

_FOUND = """
-- Receipts that somebody may mean, the best match first. Grain and key: transaction_id.
-- Some tills print the number of the payment, not one of the receipt.
with printed as (
    select transaction_id, min(receipt_number) as receipt_number, bool_or(receipt_number = $wanted) as is_wanted
    from core.payments
    where receipt_number is not null
    group by transaction_id
)
select t.transaction_id, t.source, t.source_transaction_id, coalesce(t.receipt_number, p.receipt_number), t.store_id,
    t.business_on, t.status, t.currency, t.total_amount, t.load_id
from core.transactions as t
left join printed as p on p.transaction_id = t.transaction_id
where $wanted in (t.transaction_id, t.source_transaction_id, t.receipt_number) or p.is_wanted
order by t.transaction_id = $wanted desc, t.source_transaction_id = $wanted desc, t.opened_at desc, t.transaction_id
"""
_VERSIONS = """
-- Versions of one receipt with the loads that brought them, oldest first. Grain: version.
select v.version, v.modified_at, v.status, v.total_amount, v.loaded_at, v.load_id, l.entity, l.window_start_at,
    l.window_end_at, l.spool_path, l.pulled_at
from ops.versions as v
left join ops.loads as l using (load_id)
where v.transaction_id = ?
order by v.modified_at, v.version
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a receipt and where it came from.

    Attributes:
        spool_path: folder of the raw record, relative to the lake; a later pull of the same window replaces it.
    """

    version: int
    modified_at: datetime
    status: str
    total_amount: Decimal
    loaded_at: datetime
    load_id: str
    entity: str | None
    window_start_at: datetime | None
    window_end_at: datetime | None
    spool_path: str | None
    pulled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as core has it, with its history.

    Attributes:
        others: keys of other receipts that the wanted number stands on too.
    """

    transaction_id: str
    source: str
    source_transaction_id: str
    receipt_number: str | None
    store_id: str
    business_on: date
    status: str
    currency: str
    total_amount: Decimal
    load_id: str
    versions: tuple[Version, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record of the till that could not become a row."""

    source: str
    entity: str
    record_id: str
    reason: str
    spool_path: str
    quarantined_at: datetime


def find_receipt(warehouse: Warehouse, wanted: str) -> Receipt | None:
    """Find a receipt by our key, by the till's own id or by the number printed on it (the latest one)."""
    with warehouse.connection() as connection:
        rows = connection.execute(_FOUND, {"wanted": wanted}).fetchall()
        if not rows:
            return None
        first, *rest = rows
        others = tuple(row[0] for row in rest[:_MOST_OTHERS])
        return replace(Receipt(*first), versions=_versions(connection, first[0]), others=others)


def find_quarantined(warehouse: Warehouse, record_id: str) -> list[Quarantined]:
    """Records of a till's id that are in quarantine; our key is taken too."""
    with warehouse.connection() as connection:
        rows = connection.execute(
            "select source, entity, record_id, reason, spool_path, quarantined_at from ops.quarantine "
            "where $wanted in (record_id, source || ':' || record_id) order by all",
            {"wanted": record_id},
        ).fetchall()
    return [Quarantined(*row) for row in rows]


def receipts_before(warehouse: Warehouse, day: date, keys: Collection[str]) -> set[str]:
    """Those of some receipts whose business day is before a day."""
    with warehouse.connection() as connection:
        rows = connection.execute(
            "select transaction_id from core.transactions where business_on < ? "
            "and transaction_id in (select unnest(?::varchar[]))",
            [day, list(keys)],
        ).fetchall()
    return {row[0] for row in rows}


def _versions(connection: Connection, transaction_id: str) -> tuple[Version, ...]:
    return tuple(Version(*row) for row in connection.execute(_VERSIONS, [transaction_id]).fetchall())
