"""What core has already is not read again, and nothing is taken for known that is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage_pipelines.connector import Window
from engage_pipelines.warehouse import LoadRequest, load_window
from engage_pipelines.warehouse.database import Connection
from engage_pipelines.warehouse.known import News, confirmed, news
from engage_pipelines.warehouse.load_request import Bundle, list_windows
from engage_pipelines_tests.plain_till import CUSTOMERS, DAY, NIGHT, ORDERS, Loader, customer, ndjson, order

LATER = {"updated_at": "2026-11-18T12:00:00Z", "version": 2}
# A day later, and back over the day before.
AGAIN = Window(DAY.start, DAY.end + timedelta(days=1))


@pytest.fixture
def till(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


def staged(connection: Connection, *requests: LoadRequest) -> Bundle:
    """Windows to be loaded together, as a connection knows of them."""
    bundle = Bundle(requests)
    list_windows(connection, bundle)
    return bundle


def read_of(till: Loader, request: LoadRequest) -> tuple[list[str], bool]:
    """The lines that a load would read whole, and whether core was asked about heads."""
    with till.warehouse.connection() as connection, news(connection, staged(connection, request), "warehouse") as found:
        assert isinstance(found, News)
        if found.files == (request.records,):
            return ["all"], found.has_heads
        return found.files[0].read_text().splitlines(), found.has_heads


def ids_in(lines: list[str]) -> list[str]:
    return [line.split('"')[3] for line in lines]


def test_of_a_window_that_was_loaded_before_only_what_is_new_is_read(till: Loader) -> None:
    till.load(order("O1"), order("O2"), order("O3"))
    request = till.request([order("O1"), order("O2", **LATER), order("O3"), order("O4")], window=AGAIN)
    lines, has_heads = read_of(till, request)
    assert (ids_in(lines), has_heads) == (["O2", "O4"], True)


@pytest.mark.parametrize("days", [-2, -1, 1, 2])
def test_a_window_that_comes_for_the_first_time_is_read_without_asking(till: Loader, days: int) -> None:
    till.load(order("O1"))
    beside = Window(DAY.start + timedelta(days=days), DAY.end + timedelta(days=days))
    assert read_of(till, till.request([order("O1")], window=beside)) == (["all"], False)


def test_where_lines_and_records_are_not_the_same_all_is_read(till: Loader) -> None:
    till.load(order("O1"), order("O2"))
    request = till.request([order("O1"), b"", order("O3"), order("O2")], window=AGAIN)
    assert read_of(till, request) == (["all"], False)


def test_where_little_is_known_all_is_read_at_once(till: Loader) -> None:
    till.load(order("O1"))
    request = till.request([order(f"O{n}") for n in range(1, 7)], window=AGAIN)
    assert read_of(till, request) == (["all"], True)


def test_all_records_of_the_till_are_counted_and_proven_whether_they_are_read_or_not(till: Loader) -> None:
    till.load(order("O1"), order("O2"), order("O3"))
    proofs = [{"id": f"O{n}", "location_id": "L1", "updated_at": "x"} for n in (1, 2, 3, 4, 5)]
    request = till.request([order("O1"), order("O2"), order("O3"), order("O4")], window=AGAIN, proofs=proofs)
    result = load_window(till.warehouse, request, now=NIGHT)
    assert (result.records, result.changed, result.missing) == (4, 1, 1)
    found = "select expected_count, landed_count, missing_count from ops.completeness where location_id = 'L1'"
    assert till.rows(found) == [(5, 4, 1)]


def test_a_record_that_does_not_fit_is_counted_once_among_those_that_core_has(till: Loader) -> None:
    till.load(order("O1"), order("O2"))
    result = till.load(order("O1"), order("O2"), order("O3", total="ten"), window=AGAIN)
    assert (result.records, result.changed, result.quarantined) == (3, 0, 1)


def test_what_is_known_is_not_judged_again(till: Loader) -> None:
    till.load(order("O1"), order("O2"))
    result = till.load(order("O1", total="ten"), order("O2", currency="?"), order("O3", currency="?"), window=AGAIN)
    assert (result.records, result.changed) == (3, 0)
    assert set(till.quarantine()) == {"O3"}


def test_a_record_that_comes_in_two_versions_counts_as_the_newer_one(till: Loader) -> None:
    till.load(order("O1"), order("O2"), order("O3"))
    records = [order("O1", total=12, **LATER), order("O1"), order("O2"), order("O3"), order("O3")]
    assert till.load(*records, window=AGAIN).changed == 1
    assert till.rows("select total_amount, version from core.transactions order by transaction_id") == [
        (12, 2), (10, 1), (10, 1),
    ]  # fmt: skip
    assert till.value("select count(*) from core.transaction_lines") == 6


def test_where_a_head_cannot_be_read_every_record_is(till: Loader) -> None:
    till.load(order("O1"), order("O2"))
    request = till.request([order("O1"), order("O2"), order("O3", updated_at="soon")], window=AGAIN)
    assert read_of(till, request) == (["all"], False)
    load_window(till.warehouse, request, now=NIGHT)
    assert set(till.quarantine()) == {"O3"}


def test_a_new_record_may_be_larger_than_the_fast_reading_takes(till: Loader) -> None:
    till.load(order("O1"), order("O2"))
    result = till.load(order("O1"), order("O2"), order("O3", note="x" * 9_000_000), window=AGAIN)
    assert (result.records, result.changed, result.quarantined) == (3, 1, 0)


def test_a_nameless_misfit_is_called_by_its_line_in_the_spool(till: Loader) -> None:
    till.load(order("O1"), order("O2"))
    nameless = order() | {"id": None, "total": "ten"}
    till.load(order("O1"), order("O2"), nameless, window=AGAIN)
    assert till.quarantine() == {"line 3": "a value does not fit its documented type"}


def test_records_without_an_id_are_read_and_put_aside(till: Loader) -> None:
    till.load(order("O1"), order("O2"))
    assert till.load(order("O1"), order("O2"), order() | {"id": None}, window=AGAIN).quarantined == 1
    assert till.quarantine() == {"record without id": "missing id"}


def test_people_are_compared_with_the_file_that_names_them(till: Loader) -> None:
    till.load(customer("C1"), customer("C2"), entity=CUSTOMERS)
    with till.warehouse.transaction() as connection:
        # As after a crash between the two files.
        connection.execute("delete from warehouse.core.customers where customer_id = 'acme:C2'")
    till.load(customer("C1"), customer("C2"), entity=CUSTOMERS, window=AGAIN)
    assert till.rows("select customer_id, email from private.core.customers order by 1") == [
        ("acme:C1", "zeb.quill@example.org"), ("acme:C2", "zeb.quill@example.org"),
    ]  # fmt: skip
    assert till.rows("select customer_id from warehouse.core.customers order by 1") == [("acme:C1",), ("acme:C2",)]


@pytest.mark.parametrize("count", [2, 3])
def test_a_spool_that_is_replaced_meanwhile_is_read_whole(till: Loader, count: int) -> None:
    till.load(order("O1"), order("O2"))
    entity = replace(ORDERS, modified_at="pulled_again(updated_at)")
    request = till.request([order("O1"), order("O2")], entity, window=AGAIN)
    pulled = [order(f"O{n}") for n in range(8, 8 + count)]

    def pulled_again(moment: datetime) -> datetime:
        # While the heads are read, another process puts a new pull of the window in place of this one.
        aside = ndjson(request.records.with_suffix(".part"), pulled)
        aside.replace(request.records)
        return moment

    with till.warehouse.connection() as connection:
        kind = "TIMESTAMP WITH TIME ZONE"
        connection.create_function("pulled_again", pulled_again, [kind], kind)  # type: ignore[call-overload]
        with news(connection, staged(connection, request), "warehouse") as found:
            assert (found.files, found.has_heads) == ((request.records,), False)
        left = "select table_name from duckdb_tables() where temporary and table_name in ('heads', 'known')"
        assert connection.execute(left).fetchall() == []


@pytest.mark.parametrize("new", [1, 12], ids=["most are known", "few are known"])
@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.parametrize("reads_the_spool", [False, True])
def test_heads_count_as_long_as_what_was_read_is_what_they_are_of(
    till: Loader, new: int, is_replaced: bool, reads_the_spool: bool
) -> None:
    till.load(order("O1"), order("O2"))
    request = till.request([order(f"O{n}") for n in range(1, 3 + new)], window=AGAIN)
    with till.warehouse.connection() as connection, news(connection, staged(connection, request), "warehouse") as found:
        assert (found.files == (request.records,)) is (new == 12)
        if is_replaced:
            ndjson(request.records.with_suffix(".part"), [order("O20")]).replace(request.records)
        read = (request.records,) if reads_the_spool else found.files
        # Lines that were written aside stay what they were.
        holds = not is_replaced or read != (request.records,)
        assert confirmed(connection, Bundle((request,)), found, read).has_heads is holds
        left = "select count(*) from duckdb_tables() where temporary and table_name in ('heads', 'known')"
        assert connection.execute(left).fetchall() == [(2 if holds else 0,)]


def test_after_a_change_of_the_mapping_days_are_shaped_anew_from_the_spool(till: Loader) -> None:
    till.load(order("O1"), order("O2", total=12, **LATER))
    people = till.request([customer("C1")], CUSTOMERS)
    load_window(till.warehouse, people, now=NIGHT)
    for file, old, new in (
        ("transactions.sql", "null as channel", "'kiosk' as channel"),
        ("transaction_lines.sql", "null as sku", "'S1' as sku"),
        ("customers.sql", "null as street", "'High Street' as street"),
    ):
        mapping = till.folder / "acme" / file
        mapping.write_text(mapping.read_text().replace(old, new))
    request = till.request([order("O1"), order("O2"), order("O3")], window=AGAIN)
    assert load_window(till.warehouse, request, now=NIGHT).changed == 1
    shaped = "select transaction_id, channel, (select min(sku) from core.transaction_lines as l "
    shaped += "where l.transaction_id = t.transaction_id) from core.transactions as t order by 1"
    assert till.rows(shaped) == [("acme:O1", None, None), ("acme:O2", None, None), ("acme:O3", "kiosk", "S1")]
    assert load_window(till.warehouse, replace(request, anew=True), now=NIGHT).changed == 2
    # Of O2 core has a later version than the spool.
    assert till.rows(shaped) == [("acme:O1", "kiosk", "S1"), ("acme:O2", None, None), ("acme:O3", "kiosk", "S1")]
    assert till.value("select count(*) from core.transaction_lines") == 6
    assert till.value("select count(*) from ops.versions") == 3
    load_window(till.warehouse, replace(people, anew=True), now=NIGHT)
    assert till.rows("select customer_id, street from private.core.customers") == [("acme:C1", "High Street")]
    assert till.value("select count(*) from warehouse.core.customers") == 1


VERSIONS = st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(1, 3))


def _orders(versions: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """Orders as (number, hours after ten, version); the total tells which version it is."""
    return [
        order(
            f"O{number}", updated_at=f"2026-11-18T1{hours}:00:00Z", version=version, total=hours * 10 + version,
            lines=[{"id": "a", "name": "Tea", "total": hours * 10 + version}],
        )
        for number, hours, version in versions
    ]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(VERSIONS, max_size=8), st.lists(st.lists(VERSIONS, max_size=12), min_size=1, max_size=3))
def test_the_newest_version_ever_seen_is_in_core_whatever_came_when(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[int, int, int]],
    others: list[list[tuple[int, int, int]]],
) -> None:
    till = Loader(tmp_path_factory.mktemp("till"))
    newest: dict[int, tuple[int, int]] = {}
    for versions in [first, *others]:
        till.load(*_orders(versions), window=AGAIN)
        for number, hours, version in versions:
            newest[number] = max(newest.get(number, (0, 0)), (hours, version))
    expected = [(f"acme:O{number}", 10 * hours + version) for number, (hours, version) in sorted(newest.items())]
    for table in ("transactions", "transaction_lines"):
        assert till.rows(f"select transaction_id, total_amount from core.{table} order by 1") == expected
