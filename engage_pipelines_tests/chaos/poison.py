"""Rows that a platform refuses for good, whoever sends them and however often: a seeded few of each flow."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from engage_pipelines_tests.chaos.faults import Rule
from engage_pipelines_tests.chaos.held import READERS
from engage_pipelines_tests.chaos.shop import GO_LIVE_ON
from engage_pipelines_tests.chaos.versions import Versions, exactly

# Flow -> what the fault book calls the row in a payload. Nobody poisons people: their receipts would be lost with them.
_NAME_IN: Mapping[str, str] = {
    "aiq/personas": "createUpdateMember", "aiq/sales": "createUpdateSale", "aiq/inventory": "createUpdateInventory",
    "crmcom/products": "synchronise", "voyado/receipts": "receipts",
}  # fmt: skip
# CRM.COM answers row by row; of the others a whole call is refused, and nobody says for which row.
_BY_ROW = frozenset({"crmcom/products"})
_FEW = 3


class Poison:
    """The poison rows of a campaign, by flow: keys as the platform has them.

    Args:
        rng: chance.
        versions: what there is to choose from.
    """

    def __init__(self, rng: random.Random, versions: Versions) -> None:
        self._keys: dict[str, frozenset[str]] = {}
        for flow in _NAME_IN:
            names = sorted({
                name for shaped in versions.present.get(flow, {}).values()
                if shaped.goes and (name := self._name(flow, shaped.payload))
            })  # fmt: skip
            self._keys[flow] = frozenset(rng.sample(names, min(_FEW + len(names) // 200, len(names))))

    def has(self, flow: str, payload: str) -> bool:
        """True if a payload is one of them."""
        return flow in self._keys and self._name(flow, payload) in self._keys[flow]

    def rules(self, vendor: str) -> Sequence[Rule]:
        """The vendor's rules."""
        return [
            {"kind": "poison", "route": route, "keys": sorted(self._keys[flow]), "by_row": flow in _BY_ROW}
            for flow, route in _NAME_IN.items()
            if flow.startswith(f"{vendor}/") and self._keys[flow]
        ]

    def _name(self, flow: str, payload: str) -> str:
        content = exactly(payload)
        if flow == "aiq/inventory":
            return str(content["sku"])
        if flow == "voyado/receipts" and content["createdDate"] < GO_LIVE_ON.isoformat():
            # It goes by file, where nobody is poisoned.
            return ""
        return READERS[flow].key_in(content)
