"""The guard's yardstick for delivering: rows out of DuckDB, `json.dumps`, one call after the other, answers read.

No plan, no ledger, no retry.

    python -m benchmarks.deliver_bare <url> <folder> <products> [--batch 100]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import duckdb
import httpx

from benchmarks.catalogue import products_sql

_ROUTE = "/crmapi/rest/v2/products/synchronise"


def deliver(url: str, database: Path, batch: int) -> int:
    """Send every product; how many were taken."""
    taken = 0
    with duckdb.connect(str(database)) as connection, httpx.Client(base_url=url, timeout=60) as client:
        read = connection.execute("select sku, name, category from products")
        while rows := read.fetchmany(batch):
            products = [
                {"code": sku, "name": name, "description": name, "family_identifier": {"code": category}}
                for sku, name, category in rows
            ]
            body = json.dumps({"token": "bench-token", "products_set": products})
            answer = client.post(_ROUTE, content=body, headers={"content-type": "application/json"})
            taken += len(answer.raise_for_status().json()["data"]["processed_products_set"])
    return taken


def main() -> None:
    """Fill, deliver, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("products", type=int)
    parser.add_argument("--batch", type=int, default=100)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    database = given.folder / "products.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"create table products as {products_sql(given.products)}")
    began, used = time.monotonic(), time.process_time()
    taken = deliver(given.url, database, given.batch)
    told = {"seconds": time.monotonic() - began, "cpu": time.process_time() - used, "taken": taken}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
