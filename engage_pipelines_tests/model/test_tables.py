"""The tables of this product: every name keeps its promise."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import duckdb
import pytest

from engage_pipelines.model import CORE_TABLES, OPS_TABLES, TABLE_BY_NAME, TABLES, Column, Table, digest, tables_page
from engage_pipelines.model.money import MINOR_UNITS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"
COLUMNS = [pytest.param(t, c, id=f"{t.full_name}.{c.name}") for t in TABLES for c in t.columns]


def expected_type(name: str) -> str | None:
    """What a column's name says about its type, if anything."""
    endings = {"_at": "timestamp", "_on": "date", "_amount": "money", "_count": "integer", "_id": "text",
               "_code": "text", "_ids": "text", "_hash": "text"}  # fmt: skip
    if name == "amount":
        return "money"
    if name.startswith(("is_", "has_")):
        return "boolean"
    return next((kind for ending, kind in endings.items() if name.endswith(ending)), None)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_suffix_means_one_thing_everywhere(table: Table, column: Column) -> None:
    expected = expected_type(column.name)
    assert expected in (None, column.type), f"{table.full_name}.{column.name} is {column.type}"
    by_type = {"timestamp": "_at", "date": "_on"}
    assert column.name.endswith(by_type.get(column.type, ""))
    if column.type == "money":
        assert column.name == "amount" or column.name.endswith("_amount")
    if column.type == "boolean":
        assert column.name.startswith(("is_", "has_"))


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_column_is_named_in_snake_case_and_explained_in_a_sentence(table: Table, column: Column) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
    assert column.description.endswith(".")
    assert "|" not in column.description


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_a_table_has_a_key_of_columns_that_are_always_set(table: Table) -> None:
    assert table.key
    assert set(table.key) <= set(table.required)
    assert table.parent is None or table.parent in table.required
    assert len(set(table.column_names)) == len(table.column_names)


@pytest.mark.parametrize("table", CORE_TABLES, ids=lambda table: table.full_name)
def test_a_digest_is_of_a_key_and_always_there(table: Table) -> None:
    for column in table.columns:
        assert column.name.endswith("_digest") == (column.digest_of is not None)
        if column.digest_of:
            assert (column.type, column.required) == ("integer", True)
            assert column.digest_of in table.required
            assert column.name not in table.required
            assert table.digest_of(column.digest_of) == column.name
    assert table.digest_of("load_id") is None


@pytest.mark.parametrize("key", ["acme:O1", "square:ÄÖ 東京", ""])
def test_a_digest_is_the_same_in_every_release(key: str) -> None:
    """Rows are found by the digests of years ago: a database that made others would load receipts twice."""
    ((found,),) = duckdb.execute(f"select {digest('$key')}", {"key": key}).fetchall()
    assert found == int.from_bytes(hashlib.md5(key.encode()).digest()[:5], "little")


@pytest.mark.parametrize("table", CORE_TABLES, ids=lambda table: table.full_name)
def test_money_has_its_currency_in_the_row(table: Table) -> None:
    if any(column.type == "money" for column in table.columns):
        assert "currency" in table.column_names


@pytest.mark.parametrize("table", CORE_TABLES, ids=lambda table: table.full_name)
def test_every_core_row_says_where_it_came_from_and_which_load_brought_it(table: Table) -> None:
    assert {"source", "load_id"} <= set(table.required)
    if table.parent is None:
        assert "modified_at" in table.required


def test_what_identifies_a_person_is_marked_and_keys_are_not() -> None:
    personal = {f"{t.full_name}.{c.name}" for t in TABLES for c in t.columns if c.personal}
    assert personal == {
        f"core.customers.{name}"
        for name in ("first_name", "last_name", "email", "phone", "street", "postal_code", "birth_on")
    }
    assert not any(c.personal and c.required for t in TABLES for c in t.columns)


def test_tables_are_found_by_their_full_name() -> None:
    assert set(TABLE_BY_NAME) == {t.full_name for t in (*CORE_TABLES, *OPS_TABLES)}
    assert {t.schema for t in CORE_TABLES} == {"core"}
    assert {t.schema for t in OPS_TABLES} == {"ops"}


def test_the_page_in_docs_is_up_to_date() -> None:
    assert PAGE.exists(), "make it with `engage tables --markdown > docs/tables.md`"
    assert PAGE.read_text(encoding="utf-8").rstrip() == tables_page().rstrip()


@pytest.mark.parametrize(("currency", "places"), [("GBP", 2), ("JPY", 0), ("KWD", 3), ("ISK", 0), ("EUR", 2)])
def test_a_currency_has_the_decimal_places_of_its_minor_unit(currency: str, places: int) -> None:
    assert MINOR_UNITS[currency] == places


def test_currencies_are_codes_of_three_letters() -> None:
    assert all(re.fullmatch("[A-Z]{3}", code) for code in MINOR_UNITS)
    assert set(MINOR_UNITS.values()) == {0, 2, 3}
    assert not {"XTS", "XXX", "ZZZ"} & set(MINOR_UNITS)
