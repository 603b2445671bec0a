"""The shapes that connectors fill in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydantic import ValidationError

from engage_pipelines.connector import Batch, BatchLimits, Entity, InDoubt, Options, Outcome, Stream


def stream(**changes: Any) -> Stream:
    values: dict[str, Any] = {
        "name": "receipts", "sql": "receipts.sql", "selects": "transactions", "limits": BatchLimits(),
        "send": lambda session, batch: [], "in_doubt": InDoubt("hold", "nobody knows"), "summary": "Receipts.",
    }  # fmt: skip
    return Stream(**(values | changes))


def test_two_channels_for_the_same_records_share_a_ledger() -> None:
    assert stream().ledger_name == "receipts"
    assert stream(name="receipt_history", ledger="receipts").ledger_name == "receipts"


@pytest.mark.parametrize("value", [stream(), Batch("b", (), ()), Outcome("delivered"), BatchLimits()])
def test_a_declaration_cannot_be_changed(value: Any) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, "other")


def test_a_stream_is_neither_windowed_nor_immutable_nor_a_file_unless_it_says_so() -> None:
    plain = stream()
    assert (plain.windowed, plain.immutable, plain.rows, plain.history) == (False, False, None, False)


def test_an_entity_is_identified_by_its_id_and_ordered_by_its_last_change_unless_it_says_otherwise() -> None:
    entity = Entity("orders", "orders.json", {}, "checks.sql", lambda client, scope: iter(()))
    assert (entity.record_id, entity.modified_at, entity.version) == ("id", "updated_at", "0")
    assert (entity.windowed, entity.prove) == (True, None)


def test_options_know_their_keys_and_no_others() -> None:
    class Mine(Options):
        colour: str = "red"

    assert Mine.model_validate({"colour": "blue"}).colour == "blue"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Mine.model_validate({"color": "blue"})
    with pytest.raises(ValidationError, match="frozen"):
        Mine().colour = "blue"  # type: ignore[misc]
