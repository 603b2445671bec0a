"""Analysts have a file of their own, whole at any moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.settings import child_environment
from engage_pipelines.warehouse import publish
from engage_pipelines_tests.plain_till import CUSTOMERS, Loader, customer, order
from engage_pipelines_tests.warehouse.test_database import storage_version

_READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for _ in sys.stdin:
    print(connection.execute("select count(*) from core.transactions").fetchall()[0][0], flush=True)
"""


@pytest.fixture
def till(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


def count(file: Path) -> int:
    with duckdb.connect(file, read_only=True) as connection:
        return int(connection.execute("select count(*) from core.transactions").fetchall()[0][0])


def test_the_published_file_has_all_tables_and_counts_what_is_really_there(till: Loader) -> None:
    for version in range(1, 4):
        till.load(*[order(f"O{n}", version=version) for n in range(500)])
    published = publish(till.warehouse, [])
    assert published.rows["core.transactions"] == 500
    assert published.rows["core.transaction_lines"] == 1000
    assert published.rows["ops.loads"] == 3
    assert published.bytes == till.warehouse.published_path.stat().st_size
    assert count(till.warehouse.published_path) == 500
    assert storage_version(till.warehouse.published_path) <= 68


def test_people_are_not_published(till: Loader) -> None:
    till.load(customer(), entity=CUSTOMERS)
    publish(till.warehouse, [])
    content = till.warehouse.published_path.read_bytes()
    for value in (b"Zebedee", b"Quillfeather", b"zeb.quill", b"Zeb.Quill", b"2079460018"):
        assert value not in content
    with duckdb.connect(till.warehouse.published_path, read_only=True) as connection:
        found = connection.sql("from core.customers")
        assert found.columns == list(TABLE_BY_NAME["core.customers"].public_column_names)
        assert connection.execute("select city from core.customers").fetchall() == [("London",)]


def test_a_reader_keeps_its_file_while_a_new_one_is_published_and_a_new_reader_sees_the_new_one(till: Loader) -> None:
    till.load(order("O1"))
    publish(till.warehouse, [])
    path = till.warehouse.published_path
    with subprocess.Popen(
        [sys.executable, "-c", _READER, str(path)], env=child_environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as reader:  # fmt: skip
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask() -> int:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write("now\n")
            reader.stdin.flush()
            return int(reader.stdout.readline())

        assert ask() == 1
        for number in (2, 3):
            till.load(order(f"O{number}"))
            publish(till.warehouse, [])
            assert ask() == 1
            assert count(path) == number
        reader.stdin.close()


def test_nothing_half_written_is_left_beside_the_published_file(till: Loader) -> None:
    publish(till.warehouse, [])
    assert sorted(p.name for p in till.warehouse.folder.iterdir() if p.is_file()) == [
        "analytics.duckdb", "engage.duckdb", "engage.lock", "engage.next", "private.duckdb",
    ]  # fmt: skip
