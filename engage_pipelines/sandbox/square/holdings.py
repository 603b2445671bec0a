"""The report: what the till holds, counted and summed exactly, to compare with what arrived elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from engage_pipelines.sandbox.square.conditions import equal
from engage_pipelines.sandbox.square.store import DocumentStore, Search, Tally

# Currencies of Square's list whose minor unit is not a hundredth.
_DECIMALS = dict.fromkeys(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0
) | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)


def report(store: DocumentStore) -> dict[str, Any]:
    """Receipts, lines, net amounts and tips per currency, for completed orders and for all; counts of the rest.

    An amount is `net_amounts.total_money` (returns count against it), an order without that its `total_money`. Orders
    whose amount is no whole number are counted under `unmeasured`, under no currency.
    """
    tallies = store.tallies()
    completed = [tally for tally in tallies if tally.label == "COMPLETED"]
    return {
        "countable": {**_sums(completed), "locations": _by_location(completed)},
        "all": {**_sums(tallies), "locations": _by_location(tallies)},
        **{f"{kind}s": store.count(Search(kind)) for kind in ("location", "customer", "payment", "refund", "count")},
        "items": store.count(Search("catalog", wheres=tuple(equal("label", "ITEM")))),
        "variations": store.count(Search("catalog", wheres=tuple(equal("label", "ITEM_VARIATION")))),
    }


def _by_location(tallies: list[Tally]) -> dict[str, Any]:
    grouped: defaultdict[str, list[Tally]] = defaultdict(list)
    for tally in tallies:
        grouped[tally.location_id].append(tally)
    return {location: _sums(group) for location, group in grouped.items()}


def _sums(tallies: list[Tally]) -> dict[str, Any]:
    return {
        "receipts": sum(tally.receipts for tally in tallies),
        "lines": sum(tally.lines for tally in tallies),
        "amount": _per_currency((tally.currency, tally.amount) for tally in tallies),
        "tip": _per_currency((tally.currency, tally.tip) for tally in tallies),
        "unmeasured": sum(tally.unmeasured for tally in tallies),
    }


def _per_currency(amounts: Iterable[tuple[str | None, int]]) -> dict[str, str]:
    minor: Counter[str] = Counter()
    for currency, amount in amounts:
        if currency is not None:
            minor[currency] += amount
    return {currency: str(Decimal(minor[currency]).scaleb(-_DECIMALS.get(currency, 2))) for currency in sorted(minor)}
