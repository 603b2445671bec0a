"""The warehouse files: who may have them open, what is in them, and how they grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from engage_pipelines.errors import WarehouseBusyError
from engage_pipelines.model import TABLES
from engage_pipelines.settings import child_environment
from engage_pipelines.warehouse import Warehouse
from engage_pipelines.warehouse.database import STORAGE_VERSION, Room, quoted, scratch_connection, set_variables
from engage_pipelines_tests.plain_till import Loader, order

REPOSITORY = Path(__file__).resolve().parents[2]


def storage_version(file: Path) -> int:
    """The version in the header: 8 bytes of checksum, the word DUCK, then the number."""
    header = file.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    return int.from_bytes(header[12:20], "little")


def run_python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=child_environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def older_file(file: Path) -> duckdb.DuckDBPyConnection:
    """A warehouse file as an earlier release has made it: to be filled by hand."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return duckdb.connect(file, config={"storage_compatibility_version": STORAGE_VERSION})


def test_every_declared_table_is_there_with_its_description(tmp_path: Path) -> None:
    with Warehouse(tmp_path).connection() as connection:
        for table in TABLES:
            assert connection.sql(f"from {table.full_name}").columns == list(table.column_names)
        comments = connection.execute(
            "select distinct comment is not null from duckdb_columns() where database_name in ('warehouse', 'private')"
        ).fetchall()
    assert comments == [(True,)]


def test_the_files_can_be_read_by_clients_of_the_previous_release(tmp_path: Path) -> None:
    till = Loader(tmp_path)
    till.load(order())
    assert storage_version(till.warehouse.path) <= 68
    assert storage_version(till.warehouse.private_path) <= 68


def test_a_column_of_a_later_release_is_added_and_the_rows_stay(tmp_path: Path) -> None:
    older = [c for c in TABLES[0].columns if c.name != "city"]
    with older_file(Warehouse(tmp_path).path) as connection:
        connection.execute("create schema core")
        names = ", ".join(f'"{c.name}" {c.duckdb_type}' for c in older)
        connection.execute(f"create table core.stores ({names})")
        connection.execute("insert into core.stores (store_id, name) values ('acme:L1', 'Soho')")
    for _ in range(2):
        with Warehouse(tmp_path).connection() as connection:
            assert connection.execute("select store_id, name, city from core.stores").fetchall() == [
                ("acme:L1", "Soho", None)
            ]


def test_records_of_an_older_file_are_found_by_digests_that_it_did_not_have(tmp_path: Path) -> None:
    till = Loader(tmp_path)
    till.load(order(), order("O2"))
    with duckdb.connect(till.warehouse.path) as connection:
        for table in ("transactions", "transaction_lines", "transaction_tenders"):
            connection.execute(f"alter table core.{table} drop column transaction_digest")
    upgraded = Loader(tmp_path, loads=1)
    assert upgraded.load(order(), order("O2", total=3, version=2, lines=[])).changed == 1
    assert upgraded.rows("select transaction_id, total_amount from core.transactions order by all") == [
        ("acme:O1", 10), ("acme:O2", 3),
    ]  # fmt: skip
    assert upgraded.rows("select distinct transaction_id from core.transaction_lines") == [("acme:O1",)]
    assert upgraded.value("select count(*) from core.transaction_tenders") == 2


def test_notes_of_a_load_land_in_their_columns_also_in_an_older_file(tmp_path: Path) -> None:
    till = Loader(tmp_path)
    loads = next(t for t in TABLES if t.full_name == "ops.loads")
    with older_file(till.warehouse.path) as connection:
        connection.execute("create schema ops")
        # As if `spool_path` and `page_count` had come later: they will stand last.
        older = [c for c in loads.columns if c.name not in {"spool_path", "page_count"}]
        connection.execute(f"create table ops.loads ({', '.join(f'{c.name} {c.duckdb_type}' for c in older)})")
    till.load(order())
    assert till.rows("select spool_path, page_count, record_count from ops.loads") == [("acme/acme:orders:1", 1, 1)]


def test_a_warehouse_that_another_holds_too_long_is_busy(tmp_path: Path) -> None:
    patient, hurried = Warehouse(tmp_path), Warehouse(tmp_path, wait_seconds=0.05)
    with (
        patient.connection(),
        pytest.raises(WarehouseBusyError, match=r"engage\.duckdb: another process has held it"),
        hurried.connection(),
    ):
        pass
    with hurried.connection() as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]


def test_a_sitting_is_over_only_for_somebody_who_waits(tmp_path: Path) -> None:
    with Warehouse(tmp_path, sitting_seconds=0).sitting() as sitting:
        assert not sitting.is_over()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(Warehouse(tmp_path, wait_seconds=1).locked().__enter__)
            while not (sitting.is_over() or waiting.done()):
                pass
            assert isinstance(waiting.exception(), WarehouseBusyError)
        assert not sitting.is_over()


def test_the_lock_of_a_process_that_died_holds_nobody_up(tmp_path: Path) -> None:
    child = run_python(
        "import os, signal; from pathlib import Path; from engage_pipelines.warehouse import Warehouse\n"
        f"with Warehouse(Path({str(tmp_path)!r})).connection(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    child.communicate()
    assert child.returncode < 0
    with Warehouse(tmp_path, wait_seconds=1).connection():
        pass


def load_some(folder: Path, first: int) -> None:
    """What a writing process does: a few windows, one after the other."""
    till = Loader(folder / str(first))
    till.warehouse = Warehouse(folder / "warehouse", wait_seconds=60)
    for number in range(first, first + 5):
        till.load(order(f"O{number}"), load_id=f"acme:orders:{number}")


def test_two_processes_that_write_at_once_both_succeed(tmp_path: Path) -> None:
    # Make the files first, so that both children have the same work.
    with Warehouse(tmp_path / "warehouse").connection():
        pass
    children = [
        run_python(f"from {__name__} import *; load_some(Path({str(tmp_path)!r}), {first})") for first in (0, 100)
    ]
    for child in children:
        _, problem = child.communicate(timeout=60)
        assert child.returncode == 0, problem
    with Warehouse(tmp_path / "warehouse").connection() as connection:
        assert connection.execute("select count(*), count(distinct load_id) from core.transactions").fetchall() == [
            (10, 10)
        ]


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)

    def write_and(fail: Callable[[duckdb.DuckDBPyConnection], object]) -> None:
        with warehouse.transaction() as connection:
            connection.execute(
                "insert into warehouse.core.stores (store_id, source, source_store_id, name, time_zone, currency, "
                "is_active, modified_at, load_id) values ('a', 'a', 'a', 'a', 'a', 'a', true, now(), 'a')"
            )
            fail(connection)

    with pytest.raises(duckdb.ConversionException):
        write_and(lambda connection: connection.execute("select cast('x' as integer)"))
    with pytest.raises(ZeroDivisionError):
        write_and(lambda _: 1 / 0)
    with warehouse.connection() as connection:
        assert connection.execute("select count(*) from core.stores").fetchall() == [(0,)]


def test_phone_numbers_become_international_or_nothing() -> None:
    with scratch_connection() as connection:
        numbers = [("020 7946 0018", "GB"), ("+33 1 23 45 67 89", "GB"), ("123", "GB"), ("ask me", "GB"),
                   ("020 7946 0018", None), (None, "GB"), ("", "GB"), ("(212) 555-0100", "US")]  # fmt: skip
        connection.execute("create table n (number varchar, country varchar)")
        connection.executemany("insert into n values (?, ?)", numbers)
        found = connection.execute("select phone_e164(number, country) from n").fetchall()
    assert [row[0] for row in found] == [
        "+442079460018", "+33123456789", None, None, None, None, None, "+12125550100",
    ]  # fmt: skip


def test_settings_of_any_kind_can_be_read_in_sql() -> None:
    values = {"a": "it's", "b": 5, "c": True, "d": None, "e": ("x", "y"), "f": {"k": "v"}, "g": {}, "h": ()}
    with scratch_connection() as connection:
        set_variables(connection, values)
        row = connection.execute(
            "select getvariable('a'), getvariable('b') + 1, getvariable('c'), getvariable('d'), getvariable('e'), "
            "getvariable('f')['k'], cardinality(getvariable('g')), len(getvariable('h'))"
        ).fetchone()
    assert row == ("it's", 6, True, None, ["x", "y"], "v", 0, 0)


def test_every_session_is_in_utc() -> None:
    with scratch_connection() as connection:
        assert connection.execute("select cast(timestamptz '2026-07-01 12:00:00+02' as varchar)").fetchall() == [
            ("2026-07-01 10:00:00+00",)
        ]


def test_a_name_with_a_quote_is_quoted() -> None:
    assert quoted("o'brien") == "'o''brien'"


@pytest.mark.parametrize(
    ("room", "given", "then"),
    [
        (Room.SMALL_PART, "512MB", "131.7 MiB"),
        (Room.SMALL_PART, "256MB", "122.0 MiB"),
        (Room.SMALL_PART, "100MB", "95.3 MiB"),
        (Room.LARGE_PART, "512MB", "219.7 MiB"),
        (Room.ONE_THREAD, "512MB", "488.2 MiB"),
        (Room.ALL, "512MB", "488.2 MiB"),
    ],
)
def test_windows_side_by_side_get_a_part_of_the_memory_but_never_less_than_they_need(
    tmp_path: Path, room: Room, given: str, then: str
) -> None:
    with Warehouse(tmp_path, memory_limit=given, threads=3).sitting(room) as sitting, sitting.connection() as opened:
        assert opened.execute("select current_setting('memory_limit')").fetchone() == (then,)
        threads = 3 if room is Room.ALL else 1
        assert opened.execute("select current_setting('threads')").fetchone() == (threads,)
        assert opened.execute("select current_setting('write_buffer_row_group_count')").fetchone() == (1,)
