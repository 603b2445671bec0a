"""One measurement each, in a process of its own, so that its memory is its own: `ledger_steps <step> <folder> <url>`.

What is measured is the product: previews of the streams as they are declared, and the ledger's own methods.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from typing import Any

from benchmarks.ledger_world import DAY, OPTIONS, RECEIPTS_OF_DAY, warehouse_folder
from engage_pipelines.connector import Destination, Stream
from engage_pipelines.delivery import Delivery
from engage_pipelines.destinations.aiq import AIQ, SALES
from engage_pipelines.destinations.crmcom import CRMCOM, PRODUCTS
from engage_pipelines.state import BatchEnd, Ledger, Queue, Runs, Settlement, open_state
from engage_pipelines.warehouse import Selection, Warehouse, publish

Facts = dict[str, Any]
_WRITING_SECONDS = 6.0
_NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def plan_day(folder: Path, url: str) -> Facts:
    """Plan the receipts of one day's partition, as the nightly run does."""
    return _preview(folder, url, AIQ, SALES, Selection(touched=DAY))


def plan_everything(folder: Path, url: str) -> Facts:
    """Plan all products."""
    return _preview(folder, url, CRMCOM, PRODUCTS, Selection())


def read_states(folder: Path, url: str) -> Facts:
    """Count the ledger's records by state, as the status does."""
    del folder
    ledger = Ledger(open_state(url))
    began = time.perf_counter()
    states = ledger.states()
    return {"seconds": time.perf_counter() - began, "records": sum(states.values())}


def publish_all(folder: Path, url: str) -> Facts:
    """Publish with a mirror that is made anew, as the first time."""
    warehouse = Warehouse(warehouse_folder(folder, AIQ))
    with warehouse.connection() as connection:
        connection.execute("delete from warehouse.ops.deliveries")
    return _publish(warehouse, Ledger(open_state(url)))


def publish_a_night(folder: Path, url: str) -> Facts:
    """Publish what a night has added, to a mirror that has all the rest."""
    ledger, batches = Ledger(open_state(url)), _batches(100, "night")
    for _ in range(RECEIPTS_OF_DAY // 100):
        _note(ledger, *next(batches))
    return _publish(Warehouse(warehouse_folder(folder, AIQ)), ledger)


def write_batches(folder: Path, url: str) -> Facts:
    """Note batches of 100 from one thread."""
    return _write(folder, url, threads=1, size=100)


def write_batches_side_by_side(folder: Path, url: str) -> Facts:
    """Note batches of 100 from four threads."""
    return _write(folder, url, threads=4, size=100)


def write_singles(folder: Path, url: str) -> Facts:
    """Note single records from one thread."""
    return _write(folder, url, threads=1, size=1)


def write_singles_side_by_side(folder: Path, url: str) -> Facts:
    """Note single records from four threads."""
    return _write(folder, url, threads=4, size=1)


STEPS: dict[str, Callable[[Path, str], Facts]] = {
    step.__name__: step
    for step in (
        plan_day, plan_everything, read_states, publish_all, publish_a_night, write_batches,
        write_batches_side_by_side, write_singles, write_singles_side_by_side,
    )
}  # fmt: skip


def _preview(folder: Path, url: str, destination: Destination, stream: Stream, selection: Selection) -> Facts:
    engine, warehouse = open_state(url), Warehouse(warehouse_folder(folder, destination))
    delivery = Delivery(
        destination=destination, options=OPTIONS[destination.name], warehouse=warehouse,
        ledger=Ledger(engine), queue=Queue(engine), runs=Runs(engine), store_names={}, batch_items={},
        limits=destination.limits, outbox=folder / "outbox",
    )  # fmt: skip
    began = time.perf_counter()
    preview = delivery.preview(stream, selection)
    return {
        "seconds": time.perf_counter() - began, "records": preview.source_records, "new": preview.new,
        "changed": preview.changed, "again": preview.again, "unchanged": preview.unchanged,
    }  # fmt: skip


def _write(folder: Path, url: str, *, threads: int, size: int) -> Facts:
    """Note batches before and after a call that takes no time, for some seconds; gives records per second."""
    del folder
    engine = open_state(url)
    ledger, batches, turn = Ledger(engine), _batches(size, f"{threads}x{size}"), threading.Lock()
    until = time.perf_counter() + _WRITING_SECONDS

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < until:
            with turn:
                batch_id, keys = next(batches)
            _note(ledger, batch_id, keys)
            done += len(keys)
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "records": done, "rows_per_second": done / seconds}


def _note(ledger: Ledger, batch_id: str, keys: list[str]) -> None:
    """The two steps around a call that takes no time."""
    hashed = [(key, md5(key.encode()).hexdigest()) for key in keys]  # noqa: S324 - the ledger's own hash
    attempt = ledger.begin(AIQ.name, SALES.ledger_name, batch_id, "benchmark", hashed, _NOW)
    end = BatchEnd(call_count=1, route="POST /api", status=200)
    ledger.settle(attempt, [Settlement(key, "accepted") for key in keys], _NOW, end)


def _publish(warehouse: Warehouse, ledger: Ledger) -> Facts:
    published = publish(warehouse, ledger.mirror())
    return {"seconds": published.seconds, "records": published.rows["ops.deliveries"]}


def _batches(size: int, series: str) -> Iterator[tuple[str, list[str]]]:
    """Batches of new records in key order, as a plan has them, spread over the whole ledger from start to end."""
    # A night's 50,000 records, again and again.
    for round_number in range(1_000_000):
        numbers = range(round_number * 50_000, (round_number + 1) * 50_000)
        keys = sorted(f"square:{md5(f'{series}-{n}'.encode()).hexdigest()[:24].upper()}" for n in numbers)  # noqa: S324
        for start in range(0, len(keys), size):
            yield f"aiq-sales-{series}-{round_number}-{start}", keys[start : start + size]


if __name__ == "__main__":
    facts = STEPS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
    sys.stdout.write(json.dumps(facts) + "\n")
