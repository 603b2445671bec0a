"""A real wholesaler's year through the whole loop, to the penny."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb

from engage_pipelines.model import TABLES
from engage_pipelines_tests.end_to_end.conftest import Demo
from engage_pipelines_tests.shared_data import shared

RECEIPTS = 25_900
LINES = 541_909
AMOUNT = Decimal("9747747.93")


def test_the_real_shop_arrives_whole_and_the_analysts_copy_names_nobody(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "data")
    summary = demo.run("--shop", str(shared("data/online_retail/online_retail.parquet").resolve()))
    assert summary["reconciled"] is True
    for stage in ("pos", "core"):
        totals = summary["totals"][stage]
        assert (totals["receipts"], totals["lines"]) == (RECEIPTS, LINES)
        assert {currency: Decimal(amount) for currency, amount in totals["amount"].items()} == {"GBP": AMOUNT}
    received = summary["totals"]["received"]["aiq/sales"]
    assert (received["receipts"], received["lines"]) == (RECEIPTS, LINES)
    assert Decimal(received["amount"]["sum"]) == AMOUNT

    published = demo.data / "demo" / "warehouse" / "analytics.duckdb"
    with duckdb.connect(str(published), read_only=True) as connection:
        assert connection.execute(
            "select count(*), sum(total_amount) from core.transactions where is_countable"
        ).fetchall() == [(RECEIPTS, AMOUNT)]
        assert connection.execute(
            "select count(*) from core.transaction_lines join core.transactions using (transaction_id) "
            "where is_countable"
        ).fetchall() == [(LINES,)]
        present = set(
            connection.execute("select schema_name, table_name, column_name from duckdb_columns()").fetchall()
        )
        assert connection.execute(
            "select count(distinct record_key) from ops.deliveries where destination = 'aiq' and stream = 'sales' "
            "and state = 'accepted'"
        ).fetchall() == [(RECEIPTS,)]
    personal = {
        (table.schema, table.name, column.name) for table in TABLES for column in table.columns if column.personal
    }
    assert personal
    assert present & personal == set()
