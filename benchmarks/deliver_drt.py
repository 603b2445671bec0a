"""drt: the same catalogue from DuckDB to the same calls, in its batch mode, twice.

Runs in the peers' environment. drt has one request in flight; its pace is set to the platform's limit, or out of the
way.

    python -m benchmarks.deliver_drt <url> <folder> <products> [--batch 1000] [--rate 10]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
from drt.config.credentials import DuckDBProfile
from drt.config.models import SyncConfig
from drt.destinations.rest_api import RestApiDestination
from drt.engine.sync import run_sync
from drt.sources.duckdb import DuckDBSource

from benchmarks.catalogue import products_sql

_BODY = (
    '{"token":"%s","synchronisation_definition_identifier":{"alternative_code":"Product_Sync"},'
    '"fields_set":"processed_products_set,unprocessed_products_set","products_set":{{ rows | tojson_safe }}}'
)
_QUERY = "select sku as code, name as description, {'code': category} as family_identifier from products"
_NO_LIMIT = 1_000_000


def sync_of(url: str, token: str, *, batch: int, rate: float) -> SyncConfig:
    """The sync as its YAML would say it."""
    return SyncConfig.model_validate({
        "name": "products",
        "model": _QUERY,
        "destination": {
            "type": "rest_api", "url": f"{url}/crmapi/rest/v2/products/synchronise", "method": "POST",
            "headers": {"Content-Type": "application/json"}, "body_mode": "batch", "batch_template": _BODY % token,
        },
        "sync": {
            "mode": "full", "batch_size": batch, "on_error": "skip",
            "rate_limit": {"requests_per_second": rate or _NO_LIMIT},
            "retry": {"max_attempts": 5, "initial_backoff": 0.2},
        },
    })  # fmt: skip


def deliver(sync: SyncConfig, database: Path) -> dict[str, Any]:
    """Run the sync once."""
    began = time.monotonic()
    result = run_sync(sync, DuckDBSource(), RestApiDestination(), DuckDBProfile("duckdb", str(database)), Path.cwd())
    return {"delivered": result.success, "failed": result.failed, "seconds": time.monotonic() - began}


def main() -> None:
    """Fill, deliver twice, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("products", type=int)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--token", default="bench-token")
    parser.add_argument("--once", action="store_true", help="no second run")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    database = given.folder / "products.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"create table products as {products_sql(given.products)}")
    sync = sync_of(given.url, given.token, batch=given.batch, rate=given.rate)
    first = deliver(sync, database)
    second = None if given.once else deliver(sync, database)
    sys.stdout.write(json.dumps({"seconds": first["seconds"], "first": first, "second": second}) + "\n")


if __name__ == "__main__":
    main()
