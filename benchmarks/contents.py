"""What a contender's database holds: rows and an order-independent hash of each kind, to compare with the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb

# Per contender and kind: one text per row, as `orders.py` hashes it.
_TEXTS = {
    "ours": {
        "orders": "select source_transaction_id || '|' || cast(total_amount * 100 as bigint) as t "
        "from core.transactions",
        "lines": "select t.source_transaction_id || '|' || l.source_line_id || '|' || "
        "cast(l.total_amount * 100 as bigint) as t "
        "from core.transaction_lines as l join core.transactions as t using (transaction_id)",
        "tenders": "select split_part(tender_id, ':', 2) || '|' || cast(amount * 100 as bigint) as t "
        "from core.transaction_tenders",
    },
    "bare": {
        "orders": "select id || '|' || total as t from orders",
        "lines": "select id || '|' || uid || '|' || total as t from lines",
        "tenders": "select tender_id || '|' || amount as t from tenders",
    },
    "dlt": {
        "orders": "select id || '|' || total_money__amount as t from till.orders",
        "lines": "select o.id || '|' || l.uid || '|' || l.total_money__amount as t "
        "from till.orders__line_items as l join till.orders as o on o._dlt_id = l._dlt_parent_id",
        "tenders": "select id || '|' || amount_money__amount as t from till.orders__tenders",
    },
}


def completeness(kind: str, database: Path, truth: Path) -> dict[str, Any]:
    """Compare a database with `truth.json`: `is_complete`, and per kind of row how many are there and were there."""
    expected = json.loads(truth.read_text())
    compared = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for name, texts in _TEXTS[kind].items():
            count, total = connection.execute(
                f"select count(*), coalesce(sum(('0x' || md5(t)[:15])::hugeint), 0)::varchar from ({texts})"
            ).fetchall()[0]
            compared[name] = {
                "held": count, "expected": expected[name]["count"], "is_same": total == expected[name]["hash"],
            }  # fmt: skip
    return {"is_complete": all(each["is_same"] for each in compared.values()), **compared}
