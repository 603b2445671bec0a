"""Rows that a platform refuses for good, whoever sends them and however often: a seeded few of each flow."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from engage_pipelines_tests.chaos.faults import Rule
from engage_pipelines_tests.chaos.held import READERS
from engage_pipelines_tests.chaos.shop import GO_LIVE_ON
from engage_pipelines_tests.chaos.versions import Versions, exactly

# Flow -> part of the routes that carry its rows.
_ROUTES: Mapping[str, str] = {
    "aiq/personas": "createUpdateMember", "aiq/sales": "createUpdateSale", "aiq/inventory": "createUpdateInventory",
    "crmcom/products": "synchronise", "voyado/receipts": "receipts",
}  # fmt: skip
_PEOPLE = "voyado/contacts"
_RECEIPTS = "voyado/receipts"
# CRM.COM answers row by row; of the others a whole call is refused, and nobody says for which row.
_BY_ROW = frozenset({"crmcom/products"})
_FEW = 3


class Poison:
    """The poison rows of a campaign, by flow: keys as the platform has them.

    Some of Voyado's contacts are among them: what they buy must then stay here, Voyado loses it without a word.

    Args:
        rng: chance.
        versions: what there is to choose from.
    """

    def __init__(self, rng: random.Random, versions: Versions) -> None:
        self._keys: dict[str, frozenset[str]] = {}
        receipts = [exactly(each.payload) for each in versions.present.get(_RECEIPTS, {}).values() if each.goes]
        # A file tells of everybody who was at a till then, also of those whose receipt does not go anywhere.
        by_file = {
            READERS[_PEOPLE].key_in(exactly(person.payload))
            for key, person in versions.present.get(_PEOPLE, {}).items()
            if key in versions.early_customers and person.payload
        }
        self._by_call = {receipt["contact"]["matchKey"] for receipt in receipts} - by_file
        self._routes = {**_ROUTES, _PEOPLE: "POST /api/v3/contacts"}
        for flow in self._routes:
            names = sorted({
                name for shaped in versions.present.get(flow, {}).values()
                if shaped.goes and (name := self._name(flow, shaped.payload))
            })  # fmt: skip
            self._keys[flow] = frozenset(rng.sample(names, min(_FEW + len(names) // 200, len(names))))

    def has(self, flow: str, payload: str) -> bool:
        """True if a payload is one of them."""
        return flow in self._keys and self._name(flow, payload) in self._keys[flow]

    def blocks(self, flow: str, payload: str) -> bool:
        """True if a payload must stay here because somebody that it names is refused."""
        people = self._keys[_PEOPLE]
        return flow == _RECEIPTS and exactly(payload)["contact"]["matchKey"] in people

    def rules(self, vendor: str) -> Sequence[Rule]:
        """The vendor's rules."""
        return [
            {"kind": "poison", "route": route, "keys": sorted(self._keys[flow]), "by_row": flow in _BY_ROW}
            for flow, route in self._routes.items()
            if flow.startswith(f"{vendor}/") and self._keys[flow]
        ]

    def _name(self, flow: str, payload: str) -> str:
        content = exactly(payload)
        name = READERS[flow].key_in(content)
        if flow == "aiq/inventory":
            return str(content["sku"])
        if flow == _PEOPLE:
            # Only who has bought something, and is not told of by file.
            return name if name in self._by_call else ""
        # A file goes where nobody is poisoned.
        return "" if flow == _RECEIPTS and _is_past(content) else name


def _is_past(receipt: Mapping[str, Any]) -> bool:
    return bool(receipt["createdDate"] < GO_LIVE_ON.isoformat())
