"""The books: receipts, lines and amounts per currency, at each stage of the journey."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from engage_pipelines.warehouse.database import Connection, Warehouse

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Totals:
    """Receipts, lines, and amount per currency (exact)."""

    receipts: int
    lines: int
    amount: dict[str, Decimal]


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


def _totals(connection: Connection, file: str) -> Totals:
    rows = connection.execute((_HERE / file).read_text()).fetchall()
    return Totals(
        receipts=sum(row[1] for row in rows),
        lines=sum(int(row[2]) for row in rows),
        amount={row[0]: row[3] for row in rows},
    )
