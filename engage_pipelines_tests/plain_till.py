"""A made-up till, `acme`, with two kinds of records and the plainest mapping there can be.

For tests of the engines: what they do must not depend on any real vendor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from engage_pipelines.connector import Entity, Options, Scope, Source, Window
from engage_pipelines.http_client import VendorClient
from engage_pipelines.warehouse import LoadRequest, LoadResult, Warehouse, load_window

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
DAY = Window(datetime(2026, 11, 18, tzinfo=UTC), datetime(2026, 11, 19, tzinfo=UTC))

_FILES = {
    "orders.json": json.dumps({
        "id": "VARCHAR", "location_id": "VARCHAR", "customer_id": "VARCHAR", "currency": "VARCHAR",
        "updated_at": "TIMESTAMP WITH TIME ZONE", "version": "BIGINT", "total": "DECIMAL(18, 4)",
        "tip": "DECIMAL(18, 4)", "state": "VARCHAR", "buyer": {"note": "VARCHAR"},
        "lines": [{"id": "VARCHAR", "name": "VARCHAR", "total": "DECIMAL(18, 4)", "tax": {"rate": "DOUBLE"}}],
        "payments": [{"id": "VARCHAR", "amount": "DECIMAL(18, 4)"}],
    }),
    "orders_checks.sql": "select id as record_id, 'missing id' as reason from raw where id is null\n"
    "union all select id, 'unknown currency' from raw where currency not in (select currency from currencies);\n",
    "transactions.sql": """
        select 'acme:' || id as transaction_id, 'acme' as source, id as source_transaction_id,
            'acme:' || location_id as store_id, 'acme:' || customer_id as customer_id, null as receipt_number,
            null as channel, 'sale' as transaction_type, coalesce(state, 'completed') as status,
            coalesce(state, 'completed') = 'completed' as is_countable, false as is_test,
            null as refund_of_transaction_id, updated_at as opened_at, updated_at as closed_at,
            0 as utc_offset_minutes, cast(updated_at as date) as business_on, currency, total as gross_amount,
            0 as discount_amount, 0 as tax_amount, coalesce(tip, 0) as tip_amount, 0 as service_charge_amount,
            0 as rounding_amount, total as total_amount, len(lines) as line_count, coalesce(version, 0) as version,
            null as remark_code, updated_at as modified_at
        from raw;
    """,
    "transaction_lines.sql": """
        with lines as (
            select id, currency, unnest(lines) as line, generate_subscripts(lines, 1) as line_number from raw
        )
        select 'acme:' || id || ':' || line.id as line_id, 'acme:' || id as transaction_id, 'acme' as source,
            line.id as source_line_id, line_number, 'item' as line_type, false as is_return, null as product_id,
            null as sku, line.name as name, 1 as quantity, currency, line.total as unit_price_amount,
            line.total as gross_amount, 0 as discount_amount, 0 as tax_amount, 0 as service_charge_amount,
            line.total as total_amount, null as refund_of_line_id, null as remark_code
        from lines
    """,
    "transaction_tenders.sql": """
        with payments as (select id, currency, updated_at, unnest(payments) as payment from raw)
        select 'acme:' || payment.id as tender_id, 'acme:' || id as transaction_id, 'acme' as source,
            payment.id as source_tender_id, 'card' as tender_type, currency, payment.amount as amount,
            0 as tip_amount, updated_at as paid_at
        from payments
    """,
    "orders_proof.sql": "select record ->> 'location_id' as location_id, record ->> 'id' as record_id, "
    "record ->> 'updated_at' as version from proof;",
    "customers.json": json.dumps({
        "id": "VARCHAR", "first_name": "VARCHAR", "last_name": "VARCHAR", "email": "VARCHAR", "phone": "VARCHAR",
        "city": "VARCHAR", "updated_at": "TIMESTAMP WITH TIME ZONE",
    }),
    "customers_checks.sql": "select id as record_id, 'missing id' as reason from raw where id is null",
    "customers.sql": """
        select 'acme:' || id as customer_id, 'acme' as source, id as source_customer_id, first_name, last_name,
            lower(email) as email, phone_e164(phone, getvariable('default_country')) as phone, 'GB' as country_code,
            city, null as street, null as postal_code, null as birth_on, null as is_email_unsubscribed,
            null as reference_id, null as created_at, null as remark_code, updated_at as modified_at
        from raw
    """,
}  # fmt: skip


def no_pull(client: VendorClient, scope: Scope) -> Any:
    raise AssertionError("this till has no network")


ORDERS = Entity(
    name="orders", structure="orders.json", checks="orders_checks.sql", pull=no_pull,
    tables={
        "transactions": "transactions.sql", "transaction_lines": "transaction_lines.sql",
        "transaction_tenders": "transaction_tenders.sql",
    },
    prove=no_pull, proof="orders_proof.sql", version="coalesce(version, 0)", per_location=True,
)  # fmt: skip
CUSTOMERS = Entity(
    name="customers", structure="customers.json", checks="customers_checks.sql", pull=no_pull,
    tables={"customers": "customers.sql"},
)  # fmt: skip


def write_mappings(folder: Path) -> Path:
    """Write the till's SQL and structure files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    return folder


def source(folder: Path, *entities: Entity) -> Source:
    """The till as a source."""
    return Source(
        name="acme", folder=write_mappings(folder), options=Options, secrets=(), entities=entities,
        connect=lambda options, secrets, limits: VendorClient("acme", "http://127.0.0.1:9", limits=limits),
        locations=lambda client, options: ("L1",),
    )  # fmt: skip


def order(number: str = "O1", **changes: Any) -> dict[str, Any]:
    """An order of 10.00 in two lines, paid by card."""
    return {
        "id": number, "location_id": "L1", "customer_id": "C1", "currency": "GBP", "total": 10.00, "version": 1,
        "updated_at": "2026-11-18T10:00:00Z",
        "lines": [{"id": "a", "name": "Tea", "total": 4.25}, {"id": "b", "name": "Cake", "total": 5.75}],
        "payments": [{"id": f"P-{number}", "amount": 10.00}],
    } | changes  # fmt: skip


def customer(number: str = "C1", **changes: Any) -> dict[str, Any]:
    """A customer whose every personal value is found nowhere else."""
    return {
        "id": number, "first_name": "Zebedee", "last_name": "Quillfeather", "email": "Zeb.Quill@Example.org",
        "phone": "020 7946 0018", "city": "London", "updated_at": "2026-11-18T10:00:00Z",
    } | changes  # fmt: skip


def ndjson(file: Path, records: Iterable[Mapping[str, Any] | bytes]) -> Path:
    """Write records as the spool does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with pa.CompressedOutputStream(str(file), "zstd") as stream:
        for record in records:
            stream.write((record if isinstance(record, bytes) else json.dumps(record).encode()) + b"\n")
    return file


@dataclass
class Loader:
    """Loads records of the made-up till into a warehouse."""

    folder: Path
    wait_seconds: float = 60.0
    loads: int = 0
    warehouse: Warehouse = field(init=False)

    def __post_init__(self) -> None:
        self.warehouse = Warehouse(self.folder / "warehouse", wait_seconds=self.wait_seconds)
        write_mappings(self.folder / "acme")

    def request(
        self,
        records: Iterable[Mapping[str, Any] | bytes],
        entity: Entity = ORDERS,
        *,
        window: Window = DAY,
        load_id: str | None = None,
        proofs: Iterable[Mapping[str, Any]] | None = None,
        byte_count: int = 1000,
    ) -> LoadRequest:
        self.loads += 1
        name = load_id or f"acme:{entity.name}:{self.loads}"
        spool = self.folder / "lake" / str(self.loads)
        return LoadRequest(
            source="acme", entity=entity, folder=self.folder / "acme", load_id=name, window=window,
            location_ids=("L1", "L2") if entity.per_location else (), spool=f"acme/{name}",
            records=ndjson(spool / "records.ndjson.zst", records),
            proofs=None if proofs is None else ndjson(spool / "proof.ndjson.zst", proofs),
            page_count=1, byte_count=byte_count, pulled_at=NIGHT, variables={"default_country": "GB"},
        )  # fmt: skip

    def load(self, *records: Mapping[str, Any] | bytes, entity: Entity = ORDERS, **options: Any) -> LoadResult:
        request = self.request(records, entity, **options)
        return load_window(self.warehouse, request, now=NIGHT + timedelta(minutes=self.loads))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a question to the warehouse answers."""
        with self.warehouse.connection() as connection:
            return connection.execute(sql).fetchall()

    def value(self, sql: str) -> Any:
        """The single value that a question to the warehouse answers."""
        ((value,),) = self.rows(sql)
        return value

    def quarantine(self) -> dict[str, str]:
        """Record -> why it is in quarantine."""
        return dict(self.rows("select record_id, reason from ops.quarantine order by 1"))
