"""Two years of receipts of known customers, made in bulk: a warehouse, and the ledger's rows of the contacts.

    python -m benchmarks.history_world <folder> <receipts>

Each receipt has three lines and one payment, an id as random as a till's, and a customer that the platform holds.
Receipts lie in the warehouse as nightly loads leave them, day by day. Everything follows from the receipt's number.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from engage_pipelines.model import digest
from engage_pipelines.operations import Desk
from engage_pipelines.settings import parse_settings
from engage_pipelines.warehouse.database import Connection

LINES = 3
MEMORY_LIMIT = "140MB"
FIRST_DAY = date(2024, 11, 1)
GO_LIVE_ON = date(2026, 11, 1)
_DAYS = (GO_LIVE_ON - FIRST_DAY).days
_STORES = 12
_PRODUCTS = 20_000
_RECEIPTS_PER_CUSTOMER = 25
_ROWS_AT_ONCE = 50_000
_MOMENT = "2026-11-01T02:00:01.123456+00:00"

# Grain: one row per receipt, with its day and its key.
_RECEIPTS = f"""
select i, 'square:' || upper(substr(md5('r' || i), 1, 24)) as transaction_id,
    date '{FIRST_DAY}' + (i * {_DAYS} // {{receipts}})::integer as business_on,
    'square:orders:' || date '{FIRST_DAY}' + (i * {_DAYS} // {{receipts}})::integer as load_id
from range({{receipts}}) as t(i)
"""
# Grain: one row per receipt line. Prices run from 1.00 to 91.99, one line in eight is of two pieces, one in eleven is
# reduced.
_LINE_ROWS = f"""
select r.transaction_id || ':' || l.n as line_id, r.transaction_id, 'square' as source, l.n::varchar as source_line_id,
    l.n as line_number, 'item' as line_type, false as is_return,
    'square:' || upper(substr(md5('p' || p.product), 1, 24)) as product_id,
    'Article ' || p.product || ' in a colour and a size' as name, p.pieces as quantity, 'GBP' as currency,
    p.price as unit_price_amount, p.price * p.pieces as gross_amount, p.reduction as discount_amount,
    ((p.price * p.pieces - p.reduction) * 0.2)::decimal(18, 2) as tax_amount, 0 as service_charge_amount,
    p.price * p.pieces - p.reduction as total_amount, r.load_id,
    {digest("r.transaction_id")} as transaction_digest
from ({_RECEIPTS}) as r, range(1, {LINES} + 1) as l(n), (
    select (r.i * {LINES} + l.n) % {_PRODUCTS} as product, 1 + ((r.i + l.n) % 8 = 0)::integer as pieces,
        ((r.i * 7 + l.n * 1300) % 9100 + 100)::decimal(18, 4) * 0.01 as price,
        if((r.i + l.n) % 11 = 0, 0.5, 0)::decimal(18, 4) as reduction
) as p
order by r.i, l.n
"""


def desk_of(folder: Path) -> Desk:
    """An installation that has only this platform, whose drop is a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text("VOYADO_API_KEY=bench-key\n")
    platform = {
        "base_url": "http://127.0.0.1:9", "group_currency": "GBP", "go_live_on": GO_LIVE_ON,
        "drop": f"folder:{folder / 'data' / 'drop'}",
    }  # fmt: skip
    # Less than the default: DuckDB keeps what it has read as long as its limit allows, and planning needs no more.
    content = {"warehouse": {"memory_limit": MEMORY_LIMIT}, "destinations": {"voyado": platform}}
    return Desk(parse_settings(content, folder / "engage.toml"))


def months() -> list[tuple[date, date]]:
    """The months before go-live as ranges `[first, end)`, oldest first."""
    found, first = [], FIRST_DAY
    while first < GO_LIVE_ON:
        end = (first + timedelta(days=31)).replace(day=1)
        found.append((first, end))
        first = end
    return found


def build(desk: Desk, receipts: int) -> None:
    """Fill the warehouse with receipts, and the ledger with their contacts."""
    customers = max(1, receipts // _RECEIPTS_PER_CUSTOMER)
    with desk.warehouse.connection() as connection:
        connection.execute("set memory_limit = '3GB'")
        _fill_shop(connection, customers)
        _fill_receipts(connection, receipts, customers)
        keys = connection.execute("select customer_id from core.customers order by 1").fetchall()
    _hold_contacts(desk, [key for (key,) in keys])


def _fill_shop(connection: Connection, customers: int) -> None:
    moment = f"timestamptz '{FIRST_DAY} 00:00:00+00'"
    connection.execute(
        f"insert into warehouse.core.stores by name select 'square:L' || i as store_id, 'square' as source, "
        f"'L' || i as source_store_id, 'Store ' || i as name, 'Europe/London' as time_zone, 'GBP' as currency, "
        f"true as is_active, {moment} as modified_at, 'shop' as load_id from range({_STORES}) as t(i)"
    )
    connection.execute(
        f"insert into warehouse.core.products by name select "
        f"'square:' || upper(substr(md5('p' || i), 1, 24)) as product_id, 'square' as source, "
        f"upper(substr(md5('p' || i), 1, 24)) as source_product_id, 'SKU-' || lpad(i::varchar, 6, '0') as sku, "
        f"'Article ' || i || ' in a colour and a size' as name, 10 as price_amount, 'GBP' as currency, "
        f"true as is_active, {moment} as modified_at, 'shop' as load_id from range({_PRODUCTS}) as t(i)"
    )
    for database in ("warehouse", "private"):
        connection.execute(
            f"insert into {database}.core.customers by name select {_customer('i')} as customer_id, "
            f"'square' as source, substr({_customer('i')}, 8) as source_customer_id, "
            f"{moment} as modified_at, 'shop' as load_id from range({customers}) as t(i)"
        )


def _fill_receipts(connection: Connection, receipts: int, customers: int) -> None:
    rows = _RECEIPTS.format(receipts=receipts)
    lines = _LINE_ROWS.format(receipts=receipts)
    connection.execute(f"insert into warehouse.core.transaction_lines by name {lines}")
    connection.execute(
        f"""
        insert into warehouse.core.transactions by name
        with sums as (
            select transaction_id, sum(gross_amount) as gross_amount, sum(discount_amount) as discount_amount,
                sum(tax_amount) as tax_amount, sum(total_amount) as total_amount
            from warehouse.core.transaction_lines group by transaction_id
        )
        select r.transaction_id, 'square' as source, substr(r.transaction_id, 8) as source_transaction_id,
            'square:L' || r.i % {_STORES} as store_id, {_customer(f"hash(r.i) % {customers}")} as customer_id,
            lpad((r.i % 10000)::varchar, 4, '0') as receipt_number,
            'sale' as transaction_type, 'completed' as status, true as is_countable, false as is_test,
            timezone('UTC', r.business_on + interval 9 hour) + interval (hash(r.i) % 40000) second as opened_at,
            opened_at as closed_at, 0 as utc_offset_minutes, r.business_on, 'GBP' as currency, sums.gross_amount,
            sums.discount_amount, sums.tax_amount, 0 as tip_amount, 0 as service_charge_amount,
            0 as rounding_amount, sums.total_amount, {LINES} as line_count, 1 as version, opened_at as modified_at,
            r.load_id, {digest("r.transaction_id")} as transaction_digest
        from ({rows}) as r inner join sums on sums.transaction_id = r.transaction_id
        order by r.i
        """
    )
    connection.execute(
        f"""
        insert into warehouse.core.transaction_tenders by name
        select t.transaction_id || '-p' as tender_id, t.transaction_id, 'square' as source,
            substr(t.transaction_id, 8) || '-p' as source_tender_id,
            if(r.i % 3 = 0, 'cash', 'card') as tender_type, 'GBP' as currency, t.total_amount as amount,
            0 as tip_amount, t.closed_at as paid_at, r.load_id, t.transaction_digest
        from ({rows}) as r inner join warehouse.core.transactions as t on t.transaction_id = r.transaction_id
        order by r.i
        """
    )


def _hold_contacts(desk: Desk, keys: list[str]) -> None:
    """The rows that the contacts' own delivery would have left, without waiting for the disk."""
    desk.ledger.states()
    same = {
        "destination": "voyado", "stream": "contacts", "state": "accepted", "batch_id": "contacts-of-the-history",
        "delivered_batch_id": "contacts-of-the-history", "run_id": "0f7c2d520d5a", "attempt_count": 1,
        "delivered_at": _MOMENT, "first_attempt_at": _MOMENT, "last_attempt_at": _MOMENT, "settled_at": _MOMENT,
    }  # fmt: skip
    names = [*same, "record_key", "payload_hash", "delivered_hash"]
    statement = f"insert into deliveries ({', '.join(names)}) values ({', '.join('?' * len(names))})"
    constant: tuple[Any, ...] = tuple(same.values())
    payload_hash = "0123456789abcdef0123456789abcdef"
    with closing(sqlite3.connect(desk.settings.data / "state" / "state.db")) as connection:
        connection.execute("pragma synchronous = off")
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            some = keys[start : start + _ROWS_AT_ONCE]
            connection.executemany(statement, [(*constant, key, payload_hash, payload_hash) for key in some])
            connection.commit()


def _customer(number: str) -> str:
    return f"'square:' || upper(substr(md5('c' || ({number})), 1, 26))"


if __name__ == "__main__":
    build(desk_of(Path(sys.argv[1])), int(sys.argv[2]))
    sys.stdout.write('{"seconds": 0}\n')
