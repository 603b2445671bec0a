"""A large installation to measure the ledger in: a warehouse, and a ledger that fits it, both made in bulk.

Products: as many as asked for, each with its row in the ledger of `crmcom/products`. Receipts: as many rows in the
ledger of `aiq/sales`; their warehouse has those of one day, those that are unsettled, and an ordinary catalogue.
Of each 10,000 records 10 are unsettled and 2 have changed since they were delivered. Everything follows from the
record's number, nothing is random.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.destinations.aiq import AIQ, SALES, AiqOptions
from engage_pipelines.destinations.crmcom import CRMCOM, PRODUCTS
from engage_pipelines.destinations.crmcom.options import CrmComOptions
from engage_pipelines.model import digest
from engage_pipelines.state import open_state
from engage_pipelines.state.database import DELIVERIES
from engage_pipelines.warehouse import Warehouse
from engage_pipelines.warehouse.database import Connection, bare, quoted, set_variables

OPTIONS: dict[str, Any] = {
    "crmcom": CrmComOptions(base_url="http://127.0.0.1:9"),
    "aiq": AiqOptions(uid="1"),
}
DAY = (datetime(2026, 11, 18, tzinfo=UTC), datetime(2026, 11, 19, tzinfo=UTC))
RECEIPTS_OF_DAY = 20_000
# So many of them were there before: a night re-reads a trailing range.
KNOWN_OF_DAY = 4_000
_STORES = 12
_LINES = 3
_CATALOGUE = 50_000
_ROWS_AT_ONCE = 50_000
_GIVEN = ("destination", "stream", "record_key", "state", "payload_hash", "delivered_hash", "settled_at")
_SENT_AT = "'2026-11-17T02:00:01.123456+00:00'"
# The same in every row; what they are does not matter, that they take up room does.
_SAME = {
    "delivered_at": _SENT_AT, "delivered_batch_id": "'aiq-sales-2026-11-17-00001234'",
    "batch_id": "'aiq-sales-2026-11-17-00001234'", "run_id": "'0f7c2d520d5a'", "attempt_count": "1",
    "first_attempt_at": _SENT_AT, "last_attempt_at": _SENT_AT,
}  # fmt: skip
# Of 10,000 records: 10 unsettled, 2 changed. They were settled in the nights of two years.
_ROWS = """
select '{destination}' as destination, '{stream}' as stream, record_key,
    case when lot < 10 then ['pending', 'in_doubt', 'rejected'][1 + lot % 3] else 'accepted' end as state,
    if(lot in (10, 11), md5(payload_hash), payload_hash) as payload_hash,
    case when lot in (10, 11) then md5(payload_hash) when lot > 11 then payload_hash end as delivered_hash,
    strftime(timestamp '2024-11-17 02:00:01' + to_days((hash(record_key) % 730)::integer),
        '%Y-%m-%dT%H:%M:%S.000000+00:00') as settled_at
from (select record_key, payload_hash, (hash(record_key) % 10000)::integer as lot from ({hashed}))
order by record_key
"""


def build_products(folder: Path, records: int) -> None:
    """Fill a warehouse with products, and write the ledger's rows beside it."""
    with _building(warehouse_folder(folder, CRMCOM)) as connection:
        _fill_products(connection, records)
        _write_rows(connection, CRMCOM, PRODUCTS, _shaped(connection, CRMCOM, PRODUCTS), rows_file(folder, CRMCOM))


def build_receipts(folder: Path, records: int) -> None:
    """Fill a warehouse with the receipts of a day and the unsettled ones, and write the whole ledger beside it."""
    with _building(warehouse_folder(folder, AIQ)) as connection:
        _fill_products(connection, _CATALOGUE)
        _fill_receipts(connection, records)
        connection.execute(f"create temp table shaped as {_shaped(connection, AIQ, SALES)}")
        # Most receipts are in the ledger only, so their hash may be anything.
        everything = (
            f"select r.record_key, coalesce(s.payload_hash, md5(r.record_key)) as payload_hash "
            f"from (select {_receipt_key('i')} as record_key from range({records}) as t(i)) as r "
            "left join shaped as s on s.record_key = r.record_key"
        )
        _write_rows(connection, AIQ, SALES, everything, rows_file(folder, AIQ))


@contextmanager
def _building(folder: Path) -> Iterator[Connection]:
    with Warehouse(folder, memory_limit="3GB").connection() as connection:
        connection.execute("set preserve_insertion_order = false")
        yield connection


def warehouse_folder(folder: Path, destination: Destination) -> Path:
    """Where the warehouse is that a destination is served from."""
    return folder / f"{destination.name}-warehouse"


def rows_file(folder: Path, destination: Destination) -> Path:
    """Where the ledger's rows of a destination are."""
    return folder / f"{destination.name}.parquet"


def load_sqlite(folder: Path, file: Path) -> None:
    """Make the state database and put the rows in, without waiting for the disk."""
    open_state(f"sqlite:///{file}").dispose()
    names = ", ".join((*_GIVEN, *_SAME))
    values = ", ".join((*("?" for _ in _GIVEN), *_SAME.values()))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma journal_mode = off")
        connection.execute("pragma synchronous = off")
        connection.execute("pragma cache_size = -200000")
        for batch in _batches(folder):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            connection.executemany(f"insert into deliveries ({names}) values ({values})", rows)
        connection.commit()
        connection.execute("pragma journal_mode = wal")


def load_postgres(folder: Path, url: str) -> None:
    """Make the tables and copy the rows in; afterwards the server waits for the disk at each commit, as it must."""
    engine = open_state(url)
    defaults = "".join(f"alter table deliveries alter {name} set default {value};" for name, value in _SAME.items())
    no_defaults = "".join(f"alter table deliveries alter {name} drop default;" for name in _SAME)
    raw = engine.raw_connection()
    driver: Any = raw.driver_connection
    driver.autocommit = True
    cursor = raw.cursor()
    for setting, value in (("max_wal_size", "4GB"), ("maintenance_work_mem", "256MB")):
        cursor.execute(f"alter system set {setting} = '{value}'")
    cursor.execute("select pg_reload_conf()")
    cursor.execute(defaults)
    _copy(cursor, folder)
    cursor.execute(no_defaults)
    cursor.execute("vacuum analyze deliveries")
    for setting in ("fsync", "full_page_writes", "autovacuum"):
        cursor.execute(f"alter system set {setting} = on")
    cursor.execute("select pg_reload_conf()")
    cursor.execute("checkpoint")
    raw.close()
    engine.dispose()


def _copy(cursor: Any, folder: Path) -> None:
    out, into = os.pipe()

    def feed() -> None:
        options = arrow_csv.WriteOptions(include_header=False, quoting_style="none")
        with os.fdopen(into, "wb") as pipe:
            for batch in _batches(folder):
                arrow_csv.write_csv(batch, pipe, options)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    with os.fdopen(out, "rb") as pipe:
        cursor.copy_expert(f"copy {DELIVERIES.name} ({', '.join(_GIVEN)}) from stdin (format csv)", pipe)
    feeder.join()


def _batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """The rows in the order of the ledger's key."""
    for destination in sorted((AIQ, CRMCOM), key=lambda each: each.name):
        with parquet.ParquetFile(rows_file(folder, destination)) as file:
            yield from file.iter_batches(_ROWS_AT_ONCE, columns=list(_GIVEN))


def _write_rows(connection: Connection, destination: Destination, stream: Stream, hashed: str, file: Path) -> None:
    rows = _ROWS.format(destination=destination.name, stream=stream.ledger_name, hashed=hashed)
    connection.execute(f"copy ({rows}) to {quoted(file)} (format parquet, compression zstd)")


def _shaped(connection: Connection, destination: Destination, stream: Stream) -> str:
    """A query for the hash of each record as the stream's own SQL shapes it."""
    own = {"channel": "api", "elsewhere": stream.elsewhere}
    set_variables(connection, {**OPTIONS[destination.name].model_dump(), **own})
    connection.execute(f"create or replace temp view selected as from core.{stream.selects}")
    connection.execute("create or replace temp table store_names (store_id varchar, store_name varchar)")
    sql = bare((destination.folder / stream.sql).read_text())
    return f"select record_key, md5(coalesce(payload, '')) as payload_hash from ({sql})"


def _fill_products(connection: Connection, records: int) -> None:
    connection.execute(
        f"""
        insert into warehouse.core.products by name
        select 'square:' || upper(substr(md5('p' || i), 1, 24)) as product_id, 'square' as source,
            upper(substr(md5('p' || i), 1, 24)) as source_product_id, 'SKU-' || lpad(i::varchar, 9, '0') as sku,
            'Article ' || i || ' in a colour and a size' as name, 'category ' || i % 500 as category,
            'brand ' || i % 90 as brand, (i % 9000 + 99)::decimal(18, 4) / 100 as price_amount, 'EUR' as currency,
            true as is_active, {_moment(DAY[0])} as modified_at, 'square-catalog' as load_id
        from range({records}) as t(i)
        """
    )


def _fill_receipts(connection: Connection, records: int) -> None:
    first = max(0, records - KNOWN_OF_DAY)
    connection.execute(
        f"create temp table receipts as select i, {_receipt_key('i')} as transaction_id, i >= {first} as is_of_day "
        f"from range({first + RECEIPTS_OF_DAY}) as t(i) where i >= {first} or hash(transaction_id) % 10000 < 10"
    )
    for name, start, end in (("day", *map(_moment, DAY)), ("before", "timestamptz '2026-01-01 00:00:00+00'",
                                                           "timestamptz '2026-11-01 00:00:00+00'")):  # fmt: skip
        connection.execute(
            f"insert into warehouse.ops.loads by name select '{name}' as load_id, 'square' as source, "
            f"'orders' as entity, '' as location_ids, {start} as window_start_at, {end} as window_end_at, "
            "'none' as spool_path, 1 as page_count, 1 as record_count, 1 as changed_count, 0 as quarantined_count, "
            f"0 as unknown_field_count, {end} as pulled_at, {end} as loaded_at"
        )
    connection.execute(
        "insert into warehouse.core.stores by name select 'square:L' || i as store_id, 'square' as source, "
        "'L' || i as source_store_id, 'Store ' || i as name, 'Europe/Berlin' as time_zone, 'EUR' as currency, "
        f"true as is_active, {_moment(DAY[0])} as modified_at, 'day' as load_id from range({_STORES}) as t(i)"
    )
    connection.execute(
        f"""
        insert into warehouse.core.transactions by name
        select transaction_id, 'square' as source, substr(transaction_id, 8) as source_transaction_id,
            'square:L' || i % {_STORES} as store_id, 'square:C' || i % 50000 as customer_id, 'sale' as transaction_type,
            'completed' as status, true as is_countable, false as is_test,
            {_moment(DAY[0])} + interval (i % 86400) second as opened_at, opened_at as closed_at,
            60 as utc_offset_minutes, if(is_of_day, date '2026-11-18', date '2026-10-18') as business_on,
            'EUR' as currency, 30 as gross_amount, 0 as discount_amount, 5 as tax_amount, 0 as tip_amount,
            0 as service_charge_amount, 0 as rounding_amount, 30 as total_amount, {_LINES} as line_count,
            1 as version, opened_at as modified_at, if(is_of_day, 'day', 'before') as load_id,
            {digest("transaction_id")} as transaction_digest
        from receipts
        """
    )
    connection.execute(
        f"""
        insert into warehouse.core.transaction_lines by name
        select r.transaction_id || ':' || l.n as line_id, r.transaction_id, 'square' as source,
            l.n::varchar as source_line_id, l.n as line_number, 'item' as line_type, false as is_return,
            'square:' || upper(substr(md5('p' || (r.i * {_LINES} + l.n) % 1000), 1, 24)) as product_id,
            'Article' as name, 1 as quantity, 'EUR' as currency, 10 as unit_price_amount, 10 as gross_amount,
            0 as discount_amount, 0 as tax_amount, 0 as service_charge_amount, 10 as total_amount,
            if(r.is_of_day, 'day', 'before') as load_id, {digest("r.transaction_id")} as transaction_digest
        from receipts as r, range(1, {_LINES} + 1) as l(n)
        """
    )


def _receipt_key(number: str) -> str:
    return f"'square:' || upper(substr(md5('r' || {number}), 1, 24))"


def _moment(moment: datetime) -> str:
    return f"timestamptz '{moment.isoformat()}'"
