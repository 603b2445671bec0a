"""Square: what it is, what it has, and where the SQL for it lies.

The calls are in `calls`, the walk through pages in `paging`, the settings in `options`; one JSON file
per entity names the fields that the mapping reads, one SQL file per core table shapes them.
"""

from __future__ import annotations

from pathlib import Path

from engage_pipelines.connector import Entity, Source
from engage_pipelines.sources.square import calls
from engage_pipelines.sources.square.options import SquareOptions

__all__ = ["SQUARE", "SquareOptions"]

# One search for orders takes so many. Payments and refunds are asked location by location, in groups no larger.
_LOCATIONS_A_SCOPE = 10

_LOCATIONS = Entity(
    name="locations",
    structure="locations.json",
    tables={"stores": "stores.sql"},
    checks="locations_checks.sql",
    pull=calls.pull_locations,
    modified_at="created_at",
    windowed=False,
)
_CATALOG = Entity(
    name="catalog",
    structure="catalog.json",
    tables={"products": "products.sql"},
    checks="catalog_checks.sql",
    pull=calls.pull_catalog,
    windowed=False,
)
_CUSTOMERS = Entity(
    name="customers",
    structure="customers.json",
    tables={"customers": "customers.sql"},
    checks="customers_checks.sql",
    pull=calls.pull_customers,
    from_the_beginning=True,
)
_INVENTORY_COUNTS = Entity(
    name="inventory_counts",
    structure="inventory_counts.json",
    tables={"inventory_levels": "inventory_levels.sql"},
    checks="inventory_counts_checks.sql",
    pull=calls.pull_inventory_counts,
    record_id="catalog_object_id || ':' || location_id",
    modified_at="calculated_at",
    windowed=False,
)
_ORDERS = Entity(
    name="orders",
    structure="orders.json",
    tables={
        "transactions": "transactions.sql",
        "transaction_lines": "transaction_lines.sql",
        "transaction_tenders": "transaction_tenders.sql",
    },
    checks="orders_checks.sql",
    pull=calls.pull_orders,
    version="coalesce(version, 0)",
    prove=calls.prove_orders,
    proof="orders_proof.sql",
    per_location=True,
    locations_per_call=_LOCATIONS_A_SCOPE,
)
_PAYMENTS = Entity(
    name="payments",
    structure="payments.json",
    tables={"payments": "payments.sql"},
    checks="payments_checks.sql",
    pull=calls.pull_payments,
    per_location=True,
    locations_per_call=_LOCATIONS_A_SCOPE,
    walks_locations=True,
)
_REFUNDS = Entity(
    name="refunds",
    structure="refunds.json",
    tables={
        "transactions": "refund_transactions.sql",
        "transaction_lines": "refund_lines.sql",
        "transaction_tenders": "refund_tenders.sql",
    },
    checks="refunds_checks.sql",
    pull=calls.pull_refunds,
    per_location=True,
    locations_per_call=_LOCATIONS_A_SCOPE,
    walks_locations=True,
)

SQUARE = Source(
    name="square",
    folder=Path(__file__).parent,
    options=SquareOptions,
    secrets=(calls.TOKEN,),
    connect=calls.connect,
    locations=calls.location_ids,
    entities=(_LOCATIONS, _CATALOG, _CUSTOMERS, _INVENTORY_COUNTS, _ORDERS, _PAYMENTS, _REFUNDS),
)
