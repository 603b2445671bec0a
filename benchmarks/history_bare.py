"""The bare script: history files written straight from the warehouse, by one statement a month.

No plan, no ledger, no hash, no check of what was written, no manifest, nothing put aside and renamed; texts are taken
as they are. A month is cut into files of whole receipts.

    python -m benchmarks.history_bare <folder of the installation>
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

from benchmarks.history_world import months

# Whole receipts: the last one of a file may go over this by its own lines.
_LINES_IN_A_FILE = 19_900
_MONTH = """
copy (
    with receipts as (
        select
            t.*, sum(line_count) over (order by closed_at, transaction_id rows unbounded preceding) as lines_so_far
        from warehouse.core.transactions as t
        where business_on >= ? and business_on < ? and is_countable
    )
    select
        c.source_customer_id as "matchKey", 'externalId' as "matchKeyType", 'Contact' as "contactType",
        r.transaction_id as "uniqueReceiptId", r.receipt_number as "receiptNumber",
        strftime(r.closed_at + to_minutes(r.utc_offset_minutes), '%Y-%m-%dT%H:%M:%S') as "createdDate",
        r.store_id as "storeExternalId", r.currency as "currency", '1' as "exchangeRateToGroupCurrency",
        r.total_amount::decimal(18, 2) as "totalGrossPrice", if(l.is_return, 'RETURN', 'PURCHASE') as "type",
        p.sku as "sku", p.sku as "articleNumber", l.name as "articleName", null as "articleGroup",
        l.quantity::decimal(18, 0) as "quantity", l.total_amount::decimal(18, 2) as "grossPaidPrice",
        l.tax_amount::decimal(18, 2) as "taxAmount",
        (100 * l.tax_amount / nullif(l.total_amount - l.tax_amount, 0))::decimal(18, 2) as "taxPercent",
        null as "marginPercent", null as "awardsBonus", (r.lines_so_far - 1) // {most} as file
    from receipts as r
    join warehouse.core.transaction_lines as l using (transaction_id)
    join warehouse.core.customers as c on c.customer_id = r.customer_id
    left join warehouse.core.products as p on p.product_id = l.product_id
) to '{folder}' (format csv, delimiter ';', header, partition_by (file), file_extension 'csv')
"""


def write(folder: Path, lines_in_a_file: int = _LINES_IN_A_FILE) -> int:
    """Write all months; gives the lines written."""
    drop = folder / "data" / "drop"
    drop.mkdir(parents=True)
    connection = duckdb.connect(config={"memory_limit": "300MB", "threads": 2, "temp_directory": str(folder / "tmp")})
    connection.execute(f"attach '{folder / 'data' / 'warehouse' / 'engage.duckdb'}' as warehouse (read_only)")
    lines = 0
    for first, end in months():
        month = _MONTH.format(folder=drop / f"{first:%Y-%m}", most=lines_in_a_file)
        lines += connection.execute(month, [first, end]).fetchall()[0][0]
    connection.close()
    return lines


if __name__ == "__main__":
    began = time.monotonic()
    written = write(Path(sys.argv[1]))
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - began, "lines": written}) + "\n")
