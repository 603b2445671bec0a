"""What the suite has to know of each vendor. A new connector needs one entry here and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from engage_pipelines.connector import Destination, Entity, Source, Stream
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines.sources import SOURCES
from engage_pipelines_tests import small_shop

SHORT_TIMEOUT = 0.25


@dataclass(frozen=True)
class Till:
    """A source's stand-in, filled with the small shop.

    Attributes:
        routes: entity -> its calls, as a regular expression over `METHOD /path`.
        records: entity -> records of the small shop's week.
        one_page: entities that the vendor always lists in one answer.
        put_at: puts a new record of an entity on the till, changed at that very moment; gives its id.
    """

    routes: Mapping[str, str]
    records: Mapping[str, int]
    put_at: Callable[[Sandbox, str, datetime], str]
    one_page: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Platform:
    """A destination's stand-in.

    Attributes:
        routes: stream -> its writing calls, as a regular expression over `METHOD /path`; file streams have none.
        kinds: stream -> kind of record in the inspection API.
        bad_row: stream -> (key that the stand-in is told to refuse, records it stands for).
        asks: stream -> the route of the question that it asks before it writes, as the stand-in names it.
        holds: what of the stand-in's report tells what is there, however often it was sent.
        several_calls: options under which every stream needs several calls, one after the other.
        looks_first: streams that look before they create: even after a crash nothing arrives twice.
        short_timeout: options that make the connector give up waiting after `SHORT_TIMEOUT`.
        personal_lookups: options under which personal data stands in the address of a call.
    """

    routes: Mapping[str, str]
    kinds: Mapping[str, str]
    bad_row: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    asks: Mapping[str, str] = field(default_factory=dict)
    holds: tuple[str, ...] = ()
    several_calls: Mapping[str, Any] = field(default_factory=dict)
    looks_first: frozenset[str] = frozenset()
    short_timeout: Mapping[str, Any] = field(default_factory=dict)
    personal_lookups: Mapping[str, Any] = field(default_factory=dict)


def _put_on_square(sandbox: Sandbox, entity: str, at: datetime) -> str:
    before = at - timedelta(minutes=30)
    made: dict[str, Any] = {
        "orders": small_shop.order("BORDER", [small_shop.line("a", 1, "GBP")], before),
        "customers": {"id": "BORDER", "given_name": "Wilhelmina", "created_at": small_shop.text(before)},
        "payments": small_shop.payments(0)[0] | {"id": "BORDER", "created_at": small_shop.text(before)},
        "refunds": small_shop.loose_refund() | {"id": "BORDER", "created_at": small_shop.text(before)},
    }[entity]
    made["updated_at"] = small_shop.text(at)
    httpx.post(f"{sandbox.url}/square/_shop/{entity}", json={entity: [made]}).raise_for_status()
    return "BORDER"


TILLS = {
    "square": Till(
        routes={
            "locations": "GET /v2/locations", "catalog": "POST /v2/catalog/search",
            "customers": "POST /v2/customers/search", "inventory_counts": "POST /v2/inventory/counts",
            "orders": "POST /v2/orders/search", "payments": "GET /v2/payments", "refunds": "GET /v2/refunds",
        },
        records={
            "locations": len(small_shop.STORES), "catalog": 1 + 2 * small_shop.PRODUCTS,
            "customers": small_shop.CUSTOMERS, "inventory_counts": small_shop.PRODUCTS * len(small_shop.STORES),
            "orders": small_shop.RECEIPTS, "payments": small_shop.RECEIPTS - 3, "refunds": 1,
        },
        one_page=frozenset({"locations", "refunds"}),
        put_at=_put_on_square,
    ),
}  # fmt: skip

PLATFORMS = {
    "aiq": Platform(
        routes={
            "personas": "createUpdateMembers", "sales": "createUpdateSale", "inventory": "createUpdateInventory",
        },
        kinds={"personas": "personas", "sales": "sales", "inventory": "inventory"},
        bad_row={"personas": ("square:C00", 1), "sales": ("square:O00", 1), "inventory": ("SKU-00", 2)},
        holds=("personas", "sales", "lines", "transaction_total", "inventory_rows"),
        several_calls={"in_flight": 1, "batch_items": {"personas": 4, "sales": 15, "inventory": 10}},
    ),
    "crmcom": Platform(
        routes={"products": "products/synchronise"},
        kinds={"products": "products"},
        bad_row={"products": ("SKU-00", 1)},
        asks={"products": "POST /crmapi/rest/v2/authentication/web_api_key/token"},
        holds=("products", "products_by_family", "list_price_total"),
        several_calls={"in_flight": 1, "batch_items": {"products": 5}},
        short_timeout={"timeout_seconds": SHORT_TIMEOUT},
    ),
    "voyado": Platform(
        routes={
            "stores": "POST /api/v3/stores$", "contacts": "POST /api/v3/contacts$",
            "receipts": "POST /api/v3/receipts$",
        },
        kinds={
            "stores": "stores", "contacts": "contacts", "contact_history": "contacts", "receipts": "receipts",
            "receipt_history": "receipts",
        },
        bad_row={"stores": ("L1", 1), "contacts": ("square:C00", 1), "receipts": ("square:O30", 1)},
        asks={"stores": "GET /api/v3/stores/{store}", "contacts": "GET /api/v3/contacts/id"},
        holds=(
            "contacts", "contacts_by_channel", "stores", "ghost_stores", "receipts", "lines", "totals",
            "receipts_by_channel", "receipts_dropped", "receipts_refused", "receipts_split_over_files",
        ),
        several_calls={"in_flight": 1},
        looks_first=frozenset({"stores", "contacts"}),
        personal_lookups={"match_key_type": "email"},
    ),
}  # fmt: skip

ENTITIES = [(source, entity) for source in SOURCES for entity in source.entities]
WINDOWED = [(source, entity) for source, entity in ENTITIES if entity.windowed]
PROVEN = [(source, entity) for source, entity in ENTITIES if entity.prove]
STREAMS = [(destination, stream) for destination in DESTINATIONS for stream in destination.streams]
CALLING = [(d, s) for d, s in STREAMS if d.name in PLATFORMS and s.name in PLATFORMS[d.name].routes]
FILING = [(d, s) for d, s in STREAMS if s.rows]


def name_of(value: Any) -> str | None:
    """The name of a parametrised value in a test's id."""
    return value.name if isinstance(value, Source | Entity | Destination | Stream) else None
