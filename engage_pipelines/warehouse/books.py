"""The books: receipts, lines and amounts per currency, at each stage of the journey."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from engage_pipelines.model import Table
from engage_pipelines.warehouse.database import Connection, Warehouse

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Totals:
    """Receipts, lines, and amount per currency (exact), with and without tips."""

    receipts: int
    lines: int
    amount: dict[str, Decimal]
    amount_without_tips: dict[str, Decimal]


def core_totals(warehouse: Warehouse) -> Totals:
    """Totals of the countable receipts in core."""
    with warehouse.connection() as connection:
        return _totals(connection, "books.sql")


def delivered_totals(warehouse: Warehouse, record_keys: Collection[str]) -> Totals:
    """Totals of the receipts with these keys, as core has them."""
    with warehouse.connection() as connection:
        connection.execute("create temp table held as select unnest(?::varchar[]) as record_key", [list(record_keys)])
        return _totals(connection, "delivered.sql")


def receipts_out_of_balance(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Receipts whose parts do not add up: (transaction_id, reason)."""
    with warehouse.connection() as connection:
        return connection.execute((_HERE / "out_of_balance.sql").read_text()).fetchall()


def payments_apart(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Completed payments that do not agree with the receipts: (payment_id, reason)."""
    with warehouse.connection() as connection:
        return connection.execute((_HERE / "payments_apart.sql").read_text()).fetchall()


def duplicate_keys(warehouse: Warehouse, table: Table) -> list[tuple[str, ...]]:
    """Keys that more than one row of a table has."""
    key = ", ".join(table.key)
    # By their hashes first: a fraction of the time and memory that texts take. Whatever is there twice has the same.
    with warehouse.connection() as connection:
        return connection.execute(
            f"with twice as (select hash({key}) as number from {table.full_name} group by number having count(*) > 1) "
            f"select {key} from {table.full_name} where hash({key}) in (from twice) "
            f"group by {key} having count(*) > 1 order by all limit 1000"
        ).fetchall()


def incomplete_windows(warehouse: Warehouse) -> list[str]:
    """Windows in which records are missing that the till lists."""
    with warehouse.connection() as connection:
        rows = connection.execute(
            "select entity || ' ' || location_id || ' ' || window_start_at || '..' || window_end_at || ': ' "
            "|| missing_count || ' missing' from ops.completeness where not is_complete order by 1"
        ).fetchall()
    return [row[0] for row in rows]


def quarantine_counts(warehouse: Warehouse) -> dict[tuple[str, str], int]:
    """(entity, reason) -> records in quarantine, most first."""
    with warehouse.connection() as connection:
        rows = connection.execute(
            "select entity, reason, count(*) from ops.quarantine group by all order by 3 desc"
        ).fetchall()
    return {(entity, reason): count for entity, reason, count in rows}


def earliest_window_loaded_since(warehouse: Warehouse, moment: datetime) -> datetime | None:
    """Start of the earliest window among the loads that committed at or after a moment."""
    with warehouse.connection() as connection:
        row = connection.execute("select min(window_start_at) from ops.loads where loaded_at >= ?", [moment]).fetchone()
    return row[0] if row else None


def _totals(connection: Connection, file: str) -> Totals:
    rows = connection.execute((_HERE / file).read_text()).fetchall()
    return Totals(
        receipts=sum(row[1] for row in rows),
        lines=sum(int(row[2]) for row in rows),
        amount={row[0]: row[3] for row in rows},
        amount_without_tips={row[0]: row[4] for row in rows},
    )
