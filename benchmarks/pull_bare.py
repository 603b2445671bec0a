"""The bare script: what a good engineer writes in an afternoon when speed is all that counts.

No contract, no state, no retry, no quarantine, no proof. One window after the other over one kept-alive connection, or
(with `--side-by-side`) as many windows at once as that; NDJSON; one `read_json` with declared columns; delete + insert.

    python -m benchmarks.pull_bare <url> <database> <first day> <last day> [--side-by-side 8]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import httpx
import msgspec

_WINDOW = timedelta(days=31)
_MONEY = "struct(amount bigint, currency varchar)"
_COLUMNS = {
    "id": "varchar", "location_id": "varchar", "customer_id": "varchar", "source": "struct(name varchar)",
    "state": "varchar", "created_at": "timestamptz", "updated_at": "timestamptz", "closed_at": "timestamptz",
    "version": "bigint", "total_money": _MONEY, "total_tax_money": _MONEY, "total_discount_money": _MONEY,
    "total_tip_money": _MONEY,
    "line_items": "struct(uid varchar, name varchar, variation_name varchar, quantity varchar, "
    f"catalog_object_id varchar, item_type varchar, base_price_money {_MONEY}, gross_sales_money {_MONEY}, "
    f"total_discount_money {_MONEY}, total_tax_money {_MONEY}, total_money {_MONEY})[]",
    "tenders": f"struct(id varchar, payment_id varchar, type varchar, created_at timestamptz, amount_money {_MONEY}, "
    f"tip_money {_MONEY})[]",
}  # fmt: skip
# Small, so that both threads read one file at once.
_LARGEST = 2 * 1024 * 1024
_TABLES = {
    "orders": "select id, location_id, customer_id, source.name as channel, state, created_at, updated_at, closed_at, "
    "version, total_money.currency as currency, total_money.amount as total, total_tax_money.amount as tax, "
    "total_discount_money.amount as discount, total_tip_money.amount as tip from pulled",
    "lines": "select id, line.uid as uid, line.name as name, line.variation_name as variation, "
    "cast(line.quantity as decimal(18, 5)) as quantity, line.catalog_object_id as product_id, line.item_type as type, "
    "line.base_price_money.amount as price, line.gross_sales_money.amount as gross, "
    "line.total_discount_money.amount as discount, line.total_tax_money.amount as tax, "
    "line.total_money.amount as total from (select id, unnest(line_items) as line from pulled)",
    "tenders": "select id, tender.id as tender_id, tender.payment_id as payment_id, tender.type as type, "
    "tender.created_at as paid_at, tender.amount_money.amount as amount, tender.tip_money.amount as tip "
    "from (select id, unnest(tenders) as tender from pulled)",
}


class _Page(msgspec.Struct):
    orders: list[msgspec.Raw] = []
    cursor: str | None = None


_READ_PAGE = msgspec.json.Decoder(_Page).decode


def pull(client: httpx.Client, file: Path, locations: list[str], start: datetime, end: datetime) -> Path:
    """Write the orders of one window as NDJSON."""
    between = {"start_at": _moment(start), "end_at": _moment(end - timedelta(milliseconds=1))}
    query = {
        "location_ids": locations, "limit": 500,
        "query": {"filter": {"date_time_filter": {"updated_at": between}},
                  "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"}},
    }  # fmt: skip
    with file.open("wb") as lines:
        while True:
            answer = client.post("/v2/orders/search", json=query)
            answer.raise_for_status()
            page = _READ_PAGE(answer.content)
            lines.write(b"\n".join(page.orders))
            lines.write(b"\n")
            if not page.cursor:
                return file
            query["cursor"] = page.cursor


def load(database: Path, files: list[Path]) -> None:
    """Replace the orders of each file in the database."""
    columns = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in _COLUMNS.items()) + "}"
    connection = duckdb.connect(str(database), config={"threads": 2, "memory_limit": "512MB"})
    connection.execute("set TimeZone = 'UTC'")
    for file in files:
        connection.execute(
            "create or replace temp table pulled as select * from "
            f"read_json(?, format = 'newline_delimited', columns = {columns}, maximum_object_size = {_LARGEST})",
            [str(file)],
        )  # fmt: skip
        connection.execute("begin")
        for table, select in _TABLES.items():
            connection.execute(f"create table if not exists {table} as from ({select}) limit 0")
            connection.execute(f"delete from {table} where id in (select id from pulled)")
            connection.execute(f"insert into {table} {select}")
        connection.execute("commit")
    connection.close()


def _windows(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    cuts = []
    while start < end:
        cuts.append((start, min(start + _WINDOW, end)))
        start += _WINDOW
    return cuts


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main() -> None:
    """Pull, load, and tell the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("database", type=Path)
    parser.add_argument("start", type=datetime.fromisoformat)
    parser.add_argument("end", type=datetime.fromisoformat)
    parser.add_argument("--side-by-side", type=int, default=1)
    given = parser.parse_args()
    began, used = time.monotonic(), time.process_time()
    with httpx.Client(base_url=given.url, timeout=60) as client, ThreadPoolExecutor(given.side_by_side) as pool:
        locations = [place["id"] for place in client.get("/v2/locations").json()["locations"]]
        futures = [
            pool.submit(pull, client, given.database.with_name(f"{number}.ndjson"), locations, start, end)
            for number, (start, end) in enumerate(_windows(given.start.astimezone(UTC), given.end.astimezone(UTC)))
        ]
        files = [future.result() for future in futures]
    pulled = time.monotonic()
    load(given.database, files)
    ended = time.monotonic()
    told = {"pull": pulled - began, "load": ended - pulled, "cpu": time.process_time() - used}
    sys.stdout.write(json.dumps({"seconds": ended - began, **told}) + "\n")


if __name__ == "__main__":
    main()
