"""The books of an installation: what core has, what each receipt flow delivered, where the rest is."""

from __future__ import annotations

from dataclasses import dataclass

from engage_pipelines.operations.desk import Desk
from engage_pipelines.warehouse import Totals, core_totals, delivered_totals


@dataclass(frozen=True, slots=True)
class FlowStanding:
    """Records of one ledger stream by state."""

    destination: str
    stream: str
    states: dict[str, int]


@dataclass(frozen=True, slots=True)
class Books:
    """Totals of receipts: in core, and held by each platform by the ledger."""

    core: Totals
    delivered: dict[str, Totals]


def keep_books(desk: Desk) -> Books:
    """Add up the receipts in core and those that each platform holds."""
    delivered = {}
    for destination in desk.destinations:
        names = {s.ledger_name for s in destination.streams if s.selects == "transactions"}
        for name in sorted(names):
            keys = desk.ledger.held_keys(destination.name, name)
            delivered[f"{destination.name}/{name}"] = delivered_totals(desk.warehouse, keys)
    return Books(core_totals(desk.warehouse), delivered)
