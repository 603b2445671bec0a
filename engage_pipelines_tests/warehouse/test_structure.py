"""A record's structure, and the SQL that reads records by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engage_pipelines.warehouse.database import scratch_connection
from engage_pipelines.warehouse.structure import as_text, column_types, leaf_count, struct_type, wrong_shape

STRUCTURE: dict[str, Any] = {
    "id": "VARCHAR", "money": {"amount": "BIGINT"}, "tags": ["VARCHAR"],
    "lines": [{"count": "BIGINT", "taxes": [{"rate": "DOUBLE"}]}],
}  # fmt: skip


def fits(record: Any) -> bool:
    """True if nothing of a record is lost when it is read by the structure."""
    typed, text = json.dumps(STRUCTURE), json.dumps(as_text(STRUCTURE))
    with scratch_connection() as connection:
        row = connection.execute(
            f"with r as (select ?::json as json), t as (select json, json_transform(json, '{typed}') as typed, "
            f"json_transform(json, '{text}') as untyped from r) select {wrong_shape(STRUCTURE, 'json')} "
            f"or {leaf_count(STRUCTURE, 'typed')} <> {leaf_count(STRUCTURE, 'untyped')} from t",
            [json.dumps(record)],
        ).fetchone()
    assert row is not None
    return not row[0]


def test_types_are_written_as_duckdb_reads_them() -> None:
    assert struct_type({"a": "BIGINT", "b": [{"c": "VARCHAR"}]}) == 'STRUCT("a" BIGINT, "b" STRUCT("c" VARCHAR)[])'
    assert column_types({"a": "BIGINT", "b": ["DATE"]}) == "{'a': 'BIGINT', 'b': 'DATE[]'}"
    assert as_text({"a": "BIGINT", "b": [{"c": "DATE"}]}) == {"a": "VARCHAR", "b": [{"c": "VARCHAR"}]}


@pytest.mark.parametrize(
    "record",
    [
        {}, {"id": None, "money": None, "lines": None, "tags": []}, {"id": 5, "other": {"deep": [1]}},
        {"money": {"amount": 5}}, {"money": {"amount": "5"}}, {"money": {}}, {"tags": ["a", None]},
        {"lines": [{"count": 1, "taxes": [{"rate": 0.2}, {"rate": None}]}, {}, None]},
    ],
)  # fmt: skip
def test_a_record_of_the_documented_shape_fits(record: Any) -> None:
    assert fits(record)


@pytest.mark.parametrize(
    "record",
    [
        {"money": {"amount": "five"}}, {"money": 5}, {"money": [5]}, {"tags": "a"}, {"tags": {"a": 1}}, {"lines": {}},
        {"lines": [5]}, {"lines": [{"count": 1}, {"count": "x"}]}, {"lines": [{"taxes": {"rate": 1}}]},
        {"lines": [{"taxes": [{"rate": 1}, {"rate": "x"}]}]}, {"lines": [{"taxes": ["x"]}]}, 5, [1], "text",
    ],
)  # fmt: skip
def test_a_value_that_would_be_lost_is_seen_at_any_depth(record: Any) -> None:
    assert not fits(record)
