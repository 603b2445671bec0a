"""A row that is missing, double or different in a contender's database is found."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from benchmarks.contents import completeness
from benchmarks.orders import make_orders

COUNT = 200


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_orders(tmp_path, COUNT)


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Path:
    orders = json.loads(b"[" + (made / "orders.bin").read_bytes()[:-1] + b"]")
    file = tmp_path / "held.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table orders (id varchar, total bigint)")
        connection.execute("create table lines (id varchar, uid varchar, total bigint)")
        connection.execute("create table tenders (tender_id varchar, amount bigint)")
        connection.executemany(
            "insert into orders values (?, ?)", [(each["id"], each["total_money"]["amount"]) for each in orders]
        )
        connection.executemany(
            "insert into lines values (?, ?, ?)",
            [
                (each["id"], line["uid"], line["total_money"]["amount"])
                for each in orders
                for line in each["line_items"]
            ],
        )
        connection.executemany(
            "insert into tenders values (?, ?)",
            [(tender["id"], tender["amount_money"]["amount"]) for each in orders for tender in each["tenders"]],
        )
    return file


def test_all_rows_in_whatever_order_are_complete(database: Path, made: Path) -> None:
    _change(database, "create or replace table orders as from orders order by total, id desc")
    found = completeness("bare", database, made / "truth.json")
    assert found["is_complete"]
    assert found["orders"] == {"held": COUNT, "expected": COUNT, "is_same": True}


def test_a_missing_row_is_found(database: Path, made: Path) -> None:
    _change(database, "delete from lines where rowid = 17")
    found = completeness("bare", database, made / "truth.json")
    assert not found["is_complete"]
    assert found["lines"]["held"] == found["lines"]["expected"] - 1
    assert found["orders"]["is_same"]


def test_a_double_row_is_found(database: Path, made: Path) -> None:
    _change(database, "insert into tenders from tenders limit 1")
    found = completeness("bare", database, made / "truth.json")
    assert not found["is_complete"]
    assert found["tenders"]["held"] == COUNT + 1


def test_one_row_missing_and_another_double_is_found_though_the_count_is_right(database: Path, made: Path) -> None:
    _change(database, "delete from orders where rowid = 3")
    _change(database, "insert into orders from orders limit 1")
    found = completeness("bare", database, made / "truth.json")
    assert found["orders"]["held"] == COUNT
    assert not found["is_complete"]


def test_an_amount_that_is_a_penny_off_is_found(database: Path, made: Path) -> None:
    _change(database, "update lines set total = total + 1 where rowid = 5")
    assert not completeness("bare", database, made / "truth.json")["is_complete"]


def _change(database: Path, statement: str) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute(statement)
