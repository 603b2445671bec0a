"""The product: the history files of receipts, month by month as the migration runs, and the proof of what is in them.

    python -m benchmarks.history_ours deliver <folder>
    python -m benchmarks.history_ours compare <folder>

`deliver` makes the files and hands them over to a folder of this machine: an upload to the vendor would be the
network's time, not ours. `compare` holds what was handed over against the warehouse, in a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.history_world import desk_of, months
from engage_pipelines.operations import Desk
from engage_pipelines.warehouse import Selection

# A receipt's key and the money of its lines, in a sum that does not depend on their order.
_HASH = "sum(hash({receipt} || '|' || {amount}::decimal(18, 2)::varchar)::hugeint)::varchar"
_IN_WAREHOUSE = (
    f"select count(*), count(distinct transaction_id), {_HASH.format(receipt='transaction_id', amount='total_amount')} "
    "from core.transaction_lines"
)
_IN_FILES = (
    f"select count(*), count(distinct uniqueReceiptId), "
    f"{_HASH.format(receipt='uniqueReceiptId', amount='grossPaidPrice')} from read_csv(?, delim = ';', "
    "header = true, quote = '', all_varchar = true)"
)


def deliver(desk: Desk) -> dict[str, Any]:
    """Deliver all months; the seconds, and those of each month."""
    voyado = desk.destination("voyado")
    stream = desk.stream(voyado, "receipt_history")
    began, each, delivered = time.monotonic(), [], 0
    for days in months():
        started = time.monotonic()
        done = desk.deliver(voyado, stream, Selection(business=days), yes_really=True)
        each.append(round(time.monotonic() - started, 3))
        delivered += done.accepted
    return {"seconds": time.monotonic() - began, "months": each, "accepted": delivered}


def compare(desk: Desk) -> dict[str, Any]:
    """Count and sum up files, warehouse and ledger."""
    files = sorted((desk.settings.data / "drop").glob("**/*.csv"))
    with desk.warehouse.connection() as connection:
        connection.execute("set memory_limit = '3GB'")
        (most,) = connection.execute(
            "select max(lines) from (select count(*) as lines from read_csv(?, delim = ';', header = true, "
            "quote = '', all_varchar = true, filename = true) group by filename)", [list(map(str, files))],
        ).fetchall()[0]  # fmt: skip
        in_files = connection.execute(_IN_FILES, [list(map(str, files))]).fetchall()[0]
        in_warehouse = connection.execute(_IN_WAREHOUSE).fetchall()[0]
    return {
        "files": len(files), "most_lines": most, "bytes": sum(file.stat().st_size for file in files),
        "in_files": in_files, "in_warehouse": in_warehouse, "is_complete": in_files == in_warehouse,
        "ledger_rows": desk.ledger.states("voyado", "receipts").get(("voyado", "receipts", "accepted"), 0),
    }  # fmt: skip


if __name__ == "__main__":
    work = {"deliver": deliver, "compare": compare}[sys.argv[1]]
    sys.stdout.write(json.dumps(work(desk_of(Path(sys.argv[2])))) + "\n")
