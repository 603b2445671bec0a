"""The chain of many stores has the same receipts as the one of few, each at one store with all that belongs to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measures import stores as measure
from benchmarks.nightly_world import build, busy_days
from benchmarks.stores_world import spread
from engage_pipelines.sandbox.square import SquareStandIn
from engage_pipelines.sandbox.square.store import Search

STORES = 20


def _records(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    till = SquareStandIn(folder / "sandbox" / "square")
    found = [json.loads(found.body) for found in till.store.page(Search(kind), None, 100_000)]
    till.close()
    return {record["id"]: record for record in found}


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    few, many = tmp_path_factory.mktemp("few") / "shop", tmp_path_factory.mktemp("many") / "shop"
    for folder in (few, many):
        build(folder, busy_days(60))
    spread(many, STORES)
    return few, many


@pytest.mark.parametrize("kind", ["order", "payment", "refund"])
def test_nothing_but_the_store_of_a_record_changes(chains: tuple[Path, Path], kind: str) -> None:
    few, many = (_records(folder, kind) for folder in chains)
    assert few
    assert few.keys() == many.keys()
    for record_id, record in few.items():
        assert many[record_id] == record | {"location_id": many[record_id]["location_id"]}


def test_a_receipt_and_its_money_are_at_one_store_of_the_same_currency(chains: tuple[Path, Path]) -> None:
    _, many = chains
    places, orders = _records(many, "location"), _records(many, "order")
    assert len(places) == STORES
    assert {order["location_id"] for order in orders.values()} == set(places)
    for payment in _records(many, "payment").values():
        assert payment["location_id"] == orders[payment["order_id"]]["location_id"]
        assert payment["amount_money"]["currency"] == places[payment["location_id"]]["currency"]


def test_many_stores_are_told_beside_the_few_and_must_hold_the_same_money() -> None:
    held = {"receipts": 100, "payments": 90, "amount": "1.0000"}
    few = {"stores": 3, "receipts": 100, "seconds": 2.0, "windows": 7.0, "calls": 9.0, "held": held}
    many = few | {"stores": 200, "seconds": 5.0, "windows": 60.0, "held": held | {"amount": "1.0100"}}
    assert [line[2:4] for line in measure.targets([many, few])] == [["not the same", "**no**"]]
    assert [line[3] for line in measure.targets([few, many | {"held": held}])] == ["yes"]
    assert measure.summary([few, many])[0][1:4] == [
        "200 stores: 5.0 s, 60 windows, 9 calls", "the same in 3 stores", "2.0 s, 7 windows, 9 calls",
    ]  # fmt: skip
