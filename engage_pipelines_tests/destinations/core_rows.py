"""A warehouse in memory with the core tables, rows put in by hand, and a stream's SQL run over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import duckdb

from engage_pipelines.connector import Destination, Options, Stream
from engage_pipelines.model import CORE_TABLES, TABLE_BY_NAME
from engage_pipelines_tests.core_row import put_row

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_FILLING: dict[str, Any] = {
    "text": "x", "integer": 0, "money": "0", "quantity": "0", "share": "0", "timestamp": NOON,
    "date": date(2026, 3, 1), "boolean": False, "json": "{}",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of a stream: what the delivery engine reads."""

    payload: str
    skipped_reason: str | None
    rejected_reason: str | None


class CoreRows:
    """Core tables in memory. Columns that a test does not care about get a filling."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        # A session far from UTC: no time that is sent may depend on it.
        self.connection.execute("set TimeZone = 'Asia/Tokyo'")
        self.connection.execute("create schema core")
        for table in CORE_TABLES:
            self.connection.execute(table.ddl())
        self.connection.execute("create temp table store_names (store_id varchar, store_name varchar)")

    def add(self, table: str, **values: Any) -> None:
        """Put one row into `core.<table>`."""
        declared = TABLE_BY_NAME[f"core.{table}"]
        row = {c.name: _FILLING[c.type] for c in declared.columns if c.name in declared.required} | values
        put_row(self.connection, table, row)

    def name_store(self, store_id: str, name: str) -> None:
        """Name a store for the destination."""
        self.connection.execute("insert into store_names values (?, ?)", [store_id, name])

    def rows(self, destination: Destination, stream: Stream, options: Options, where: str = "true") -> dict[str, Row]:
        """Run a stream as the delivery engine does: options as variables, the view `selected`, the SQL."""
        for name, value in options.model_dump().items():
            self.connection.execute(f"set variable {name} = ?", [value])
        self.connection.execute(
            f"create or replace temp view selected as select * from core.{stream.selects} where {where}"
        )
        sql = (destination.folder / stream.sql).read_text(encoding="utf-8")
        found = self.connection.execute(
            f"select record_key, payload, skipped_reason, rejected_reason from ({sql})"
        ).fetchall()
        rows = {key: Row(*rest) for key, *rest in found}
        assert len(rows) == len(found), "a record key appeared twice"
        return rows


def add_sale(core: CoreRows, transaction_id: str = "sq:T1", **changes: Any) -> None:
    values: dict[str, Any] = {
        "transaction_id": transaction_id, "store_id": "sq:S1", "customer_id": "sq:C1", "status": "completed",
        "is_countable": True, "closed_at": datetime(2026, 3, 1, 18, 5, 9, tzinfo=UTC),
        "utc_offset_minutes": -300, "tax_amount": "1.60", "tip_amount": "2.00", "total_amount": "21.60",
    }  # fmt: skip
    core.add("transactions", **(values | changes))


def add_line(core: CoreRows, number: int = 1, transaction_id: str = "sq:T1", **changes: Any) -> None:
    values: dict[str, Any] = {
        "line_id": f"{transaction_id}:{number}", "transaction_id": transaction_id, "line_number": number,
        "product_id": "sq:P1", "sku": "TEA-1", "name": "Green tea, hot", "quantity": "2",
        "unit_price_amount": "10", "gross_amount": "20", "discount_amount": "2",
    }  # fmt: skip
    core.add("transaction_lines", **(values | changes))


def add_level(core: CoreRows, product_id: str = "sq:P1", store_id: str = "sq:S1", quantity: str = "7") -> None:
    core.add("inventory_levels", product_id=product_id, store_id=store_id, quantity=quantity)
