"""CRM.COM (Web API v2): takes the product catalogue.

What belongs here: the declaration and the function that sends products. The token lives in `session.py`,
the answer is read in `answers.py`, what a product looks like is in `products.sql`. The vendor's points
that no document settles are options; docs/connectors/crmcom.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engage_pipelines.connector import (
    Batch,
    BatchLimits,
    Destination,
    InDoubt,
    Outcome,
    Stream,
)
from engage_pipelines.destinations.crmcom.answers import product_outcomes
from engage_pipelines.destinations.crmcom.options import CrmComOptions
from engage_pipelines.destinations.crmcom.session import Session
from engage_pipelines.http_client import Limits, Rate, VendorClient

API_KEY = "CRMCOM_WEB_API_KEY"
# Without both sets in the answer, refused products would be invisible.
_FIELDS_SET = "processed_products_set,unprocessed_products_set"


def connect(options: CrmComOptions, secrets: Mapping[str, str], limits: Limits) -> Session:
    """Open a session; no call is made before the first batch."""
    key = secrets[API_KEY]
    client = VendorClient("CRM.COM", options.base_url, limits=limits, secrets=(key,))
    return Session(client, options, key)


def send_products(session: Session, batch: Batch) -> list[Outcome]:
    """Create or update up to 1,000 products; CRM.COM answers product by product."""
    options = session.options
    body: dict[str, Any] = {
        "synchronisation_definition_identifier": {"alternative_code": options.synchronisation_definition},
        "fields_set": _FIELDS_SET,
        "products_set": [msgspec.Raw(payload) for payload in batch.payloads],
    }
    data = session.call("products/synchronise", body, timeout=options.timeout_seconds)
    codes = [msgspec.json.decode(payload, type=_Product).code for payload in batch.payloads]
    return product_outcomes(codes, data, already_there=options.already_exists_codes, reads_message=options.release_17)


class _Product(msgspec.Struct):
    """The part of a payload that its answer is found by."""

    code: str


PRODUCTS = Stream(
    name="products",
    sql="products.sql",
    selects="products",
    limits=BatchLimits(items=1000),
    send=send_products,
    in_doubt=InDoubt(
        "resend", "CRM.COM matches by code: a product sent again is updated, or reported as already there."
    ),
    summary="The product catalogue by SKU, with family and, on request, brand, text and price.",
)

CRMCOM = Destination(
    name="crmcom",
    folder=Path(__file__).parent,
    options=CrmComOptions,
    secrets=(API_KEY,),
    limits=Limits(rates=(Rate(10, 1.0),), in_flight=2),
    connect=connect,
    streams=(PRODUCTS,),
    docs="docs/connectors/crmcom.md",
)
