"""Showing a payload without showing a person."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage_pipelines.delivery import mask
from engage_pipelines.delivery.masking import MASK

NAMES = frozenset({"email", "firstName"})
TEXTS = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(sorted(NAMES)), inner),
    max_leaves=12,
)


def test_personal_fields_are_hidden_at_any_depth_and_the_others_stay() -> None:
    payload = (
        '{"visit":{"id":"O1","people":[{"firstName":"Ann","age":7},{"firstName":null}]},"email":{"home":"a@b.co"}}'
    )
    assert mask(payload, NAMES) == {
        "visit": {"id": "O1", "people": [{"firstName": MASK, "age": 7}, {"firstName": None}]}, "email": MASK,
    }  # fmt: skip


def test_an_address_or_a_phone_number_is_hidden_wherever_it_stands() -> None:
    shown = json.dumps(mask(b'{"note":"ask ann@shop.example or +44 7946 000001","list":["ann@shop.example"]}', ()))
    assert "ann" not in shown.replace("ask", "")
    assert "7946" not in shown


@pytest.mark.parametrize("amount", ["12.50", "0.0000", "1234567890123456.78"])
def test_an_amount_looks_as_it_was_sent(amount: str) -> None:
    assert mask(f'{{"total":{amount}}}', ()) == {"total": amount}


@pytest.mark.parametrize("text", ["", "firstName=Ann", '{"firstName":"Ann"', b'{"firstName":"\xff"}'])
def test_what_is_no_json_is_not_shown_at_all(text: str | bytes) -> None:
    assert mask(text, NAMES) == MASK


@given(VALUES, st.sampled_from(sorted(NAMES)))
def test_nothing_below_a_personal_field_gets_through(value: object, name: str) -> None:
    secret = {"deep": ["Wilhelmina", value]}
    shown = mask(json.dumps({"a": [{name: secret}], "b": value}), NAMES)
    assert shown["a"] == [{name: MASK}]
    assert "Wilhelmina" not in json.dumps(shown)


@given(VALUES)
def test_a_payload_keeps_its_shape(value: object) -> None:
    def shape(each: object) -> object:
        if isinstance(each, dict):
            return {k: "hidden" if k in NAMES and v is not None else shape(v) for k, v in each.items()}
        return [shape(v) for v in each] if isinstance(each, list) else type(each).__name__

    assert shape(mask(json.dumps({"v": value}), NAMES)) == shape({"v": value})
