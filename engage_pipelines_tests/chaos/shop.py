"""The campaign's shop: eleven weeks of the made-up chain, with fewer customers. The same seed, the same shop."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

from engage_pipelines.sandbox.shops.made_up_catalogue import make_catalogue
from engage_pipelines.sandbox.shops.made_up_customers import known_since, make_customers
from engage_pipelines.sandbox.shops.made_up_receipts import ReceiptMaker
from engage_pipelines.sandbox.shops.made_up_stores import STORES, location, visits
from engage_pipelines.sandbox.square import SquareStandIn, documents

FIRST_DAY = date(2026, 2, 2)
# Receipts from here on go to Voyado one by one, the older ones as files.
GO_LIVE_ON = date(2026, 4, 1)
LAST_DAY = date(2026, 4, 19)
# The till touches receipts for some days after they were sold; all of that is past on the last day.
_LAST_SALES = date(2026, 4, 14)
HISTORY_MONTHS = ("2026-02", "2026-03")


def fill_shop(state: Path, seed: int, *, receipts: int, customers: int, stock: int) -> None:
    """Fill the till of the stand-in whose state is in `state`; `stock` is how many stock counts there are at most."""
    rng = random.Random(seed)
    catalogue = make_catalogue(rng, FIRST_DAY, LAST_DAY)
    regulars = make_customers(rng, customers, FIRST_DAY, LAST_DAY)
    maker = ReceiptMaker(rng, catalogue.products, regulars.by_country)
    till = SquareStandIn(state)
    with till.store.transaction():
        till.store.put([documents.location_document(location(place)) for place in STORES])
        till.store.put([row for entry in catalogue.objects for row in documents.catalog_documents(entry)])
        till.store.put([documents.count_document(count) for count in catalogue.counts[:stock]])
        for number, visit in enumerate(visits(rng, receipts, FIRST_DAY, _LAST_SALES), start=1):
            made = maker.make(visit, receipts - number)
            till.store.put([documents.order_document(made.order)])
            till.store.put([documents.payment_document(payment) for payment in made.payments])
            till.store.put([documents.refund_document(refund) for refund in made.refunds])
        known = (known_since(record, maker.first_seen.get(key)) for key, record in regulars.records.items())
        till.store.put([documents.customer_document(record) for record in known])
    till.close()
