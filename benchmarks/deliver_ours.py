"""The product: `Desk.deliver` of the whole catalogue, twice; the second time nothing has changed.

python -m benchmarks.deliver_ours <url> <folder> <products> [--batch 1000] [--in-flight 2] [--rate 10/s]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.catalogue import products_sql
from engage_pipelines.operations import Desk
from engage_pipelines.settings import parse_settings
from engage_pipelines.warehouse import Selection


def desk_of(url: str, folder: Path, *, batch: int, in_flight: int, rate: str, key: str) -> Desk:
    """An installation that has only this platform."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text(f"CRMCOM_WEB_API_KEY={key}\n")
    platform = {
        "base_url": url, "in_flight": in_flight, "rates": [rate] if rate else [], "batch_items": {"products": batch},
    }  # fmt: skip
    return Desk(parse_settings({"destinations": {"crmcom": platform}}, folder / "engage.toml"))


def fill(desk: Desk, count: int) -> None:
    """Put the catalogue into the warehouse."""
    with desk.warehouse.transaction() as connection:
        connection.execute(
            "insert into warehouse.core.products (product_id, source, source_product_id, sku, name, category, "
            "price_amount, currency, is_active, modified_at, load_id) select product_id, 'square', source_product_id, "
            f"sku, name, category, price_amount, 'GBP', true, ?, 'bench' from ({products_sql(count)})",
            [datetime(2026, 9, 1, tzinfo=UTC)],
        )


def deliver(desk: Desk) -> dict[str, Any]:
    """Deliver once; what became of the rows, and the seconds as they are seen from outside."""
    destination = desk.destination("crmcom")
    began, used = time.monotonic(), time.process_time()
    done = desk.deliver(destination, desk.stream(destination, "products"), Selection(), yes_really=True)
    return {**asdict(done), "seconds": time.monotonic() - began, "cpu": time.process_time() - used}


def main() -> None:
    """Fill, deliver twice, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("products", type=int)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=2)
    parser.add_argument("--rate", default="")
    parser.add_argument("--key", default="bench-key")
    given = parser.parse_args()
    desk = desk_of(
        given.url, given.folder, batch=given.batch, in_flight=given.in_flight, rate=given.rate, key=given.key
    )
    fill(desk, given.products)
    first = deliver(desk)
    sys.stdout.write(json.dumps({"seconds": first["seconds"], "first": first, "second": deliver(desk)}) + "\n")


if __name__ == "__main__":
    main()
