"""A made-up chain on the Square stand-in: three stores, two currencies, two years. The same seed, the same shop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date

from engage_pipelines.sandbox.shops.made_up_catalogue import make_catalogue
from engage_pipelines.sandbox.shops.made_up_customers import known_since, make_customers
from engage_pipelines.sandbox.shops.made_up_receipts import Receipt, ReceiptMaker
from engage_pipelines.sandbox.shops.made_up_stores import STORES, Visit, location, visits
from engage_pipelines.sandbox.square import SquareStandIn, documents
from engage_pipelines.sandbox.square.store import Document

_BATCH = 500
_CUSTOMERS = 1_500


def fill_made_up_shop(
    stand_in: SquareStandIn,
    *,
    receipts: int = 20_000,
    seed: int = 7,
    first_day: date = date(2024, 10, 1),
    last_day: date = date(2026, 10, 14),
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fill the till; all of it or, if something fails, nothing.

    Args:
        stand_in: The till to fill.
        receipts: How many orders there are, returns and voided ones included.
        seed: Start of all chance.
        first_day: First day of trade.
        last_day: Last day of trade, included.
        progress: Told now and then how many receipts are done.
    """
    rng = random.Random(seed)
    catalogue = make_catalogue(rng, first_day, last_day)
    regulars = make_customers(rng, _CUSTOMERS, first_day, last_day)
    maker = ReceiptMaker(rng, catalogue.products, regulars.by_country)
    store = stand_in.store
    with store.transaction():
        store.put([documents.location_document(location(place)) for place in STORES])
        store.put([row for entry in catalogue.objects for row in documents.catalog_documents(entry)])
        store.put([documents.count_document(count) for count in catalogue.counts])
        done = 0
        for some in _some(visits(rng, receipts, first_day, last_day)):
            made = [maker.make(visit, receipts - done - at) for at, visit in enumerate(some, 1)]
            store.put(_documents(made))
            done += len(made)
            if progress is not None:
                progress(done, receipts)
        known = (known_since(record, maker.first_seen.get(key)) for key, record in regulars.records.items())
        store.put([documents.customer_document(record) for record in known])


def _documents(receipts: list[Receipt]) -> Iterator[Document]:
    for receipt in receipts:
        yield documents.order_document(receipt.order)
        yield from map(documents.payment_document, receipt.payments)
        yield from map(documents.refund_document, receipt.refunds)


def _some(all_visits: Iterator[Visit]) -> Iterator[list[Visit]]:
    chunk: list[Visit] = []
    for visit in all_visits:
        chunk.append(visit)
        if len(chunk) == _BATCH:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
