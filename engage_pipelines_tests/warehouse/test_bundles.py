"""Windows that are loaded together: each of them is what it would be alone, whatever is in the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engage_pipelines.connector import Window
from engage_pipelines.model import TABLES
from engage_pipelines.warehouse import LoadRequest, LoadResult, Warehouse, load_windows
from engage_pipelines_tests.plain_till import CUSTOMERS, DAY, NIGHT, ORDERS, Loader, customer, order

TOO_MUCH = 10**9


@pytest.fixture
def till(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


def day(number: int) -> Window:
    return Window(DAY.start + timedelta(days=number), DAY.end + timedelta(days=number))


def load(warehouse: Warehouse, requests: Sequence[LoadRequest]) -> tuple[list[LoadResult], int]:
    """The results, and how many transactions they took."""
    moments: list[datetime] = []

    def now() -> datetime:
        moments.append(NIGHT)
        return NIGHT

    results = [result for _, result in load_windows(warehouse, requests, now=now)]
    return results, len(moments)


def everything(till: Loader) -> dict[str, list[tuple[Any, ...]]]:
    tables = [*(t.full_name for t in TABLES), "private.core.customers"]
    with till.warehouse.connection() as connection:
        return {name: connection.execute(f"from {name} order by all").fetchall() for name in tables}


def test_small_windows_are_written_together_and_each_is_noted_as_the_load_it_is(till: Loader) -> None:
    requests = [
        till.request(
            [order(f"O{n}"), order(f"P{n}", total=None), order(f"Q{n}", zone="b")], window=day(n),
            proofs=[{"id": f"O{n}", "location_id": "L1"}, {"id": f"M{n}", "location_id": "L2"}],
        )
        for n in range(3)
    ]  # fmt: skip
    results, transactions = load(till.warehouse, requests)
    assert transactions == 1
    assert [(r.records, r.changed, r.quarantined, r.missing, r.unknown_fields, r.rows) for r in results] == [
        (3, 2, 1, 1, ("zone",), {"transactions": 2, "transaction_lines": 4, "transaction_tenders": 2})
    ] * 3
    for table in ("transactions", "transaction_lines", "transaction_tenders"):
        is_of_another = "right(load_id, 1)::integer <> right(transaction_id, 1)::integer + 1"
        assert till.value(f"select count(*) from core.{table} where {is_of_another}") == 0
    assert till.rows("select load_id, record_id from ops.quarantine order by 1") == [
        (f"acme:orders:{n + 1}", f"P{n}") for n in range(3)
    ]
    assert till.rows(
        "select load_id, location_id, window_start_at, missing_count, moved_count from ops.completeness order by 1, 2"
    ) == [
        (f"acme:orders:{n + 1}", place, day(n).start, missing, moved)
        for n in range(3)
        for place, missing, moved in (("L1", 0, 2), ("L2", 1, 0))
    ]  # fmt: skip
    assert till.rows("select load_id, spool_path, record_count from ops.loads order by 1") == [
        (request.load_id, request.spool, 3) for request in requests
    ]


def test_of_windows_that_were_loaded_before_only_what_is_new_is_read(till: Loader) -> None:
    first = [till.request([order(f"O{n}{i}") for i in range(3)], window=day(n), load_id=f"acme:{n}") for n in range(3)]
    assert load(till.warehouse, first)[1] == 1
    later = [
        till.request(
            [*(order(f"O{n}{i}") for i in range(2)), order(f"O{n}2", version=2, total=11)], window=day(n),
            load_id=f"acme:{n}", proofs=[{"id": f"O{n}0", "location_id": "L1"}],
        )
        for n in range(3)
    ]  # fmt: skip
    # Whoever reads them whole meets what does not fit, and has to load each by itself.
    for request in later:
        request.records.write_bytes(till.request([
            *(order(f"{request.load_id.replace('acme:', 'O')}{i}", total="ten") for i in range(2)),
            order(f"{request.load_id.replace('acme:', 'O')}2", version=2, total=11),
        ]).records.read_bytes())  # fmt: skip
    results, transactions = load(till.warehouse, later)
    assert transactions == 1
    assert [(r.records, r.changed, r.quarantined, r.missing) for r in results] == [(3, 1, 0, 0)] * 3
    assert till.value("select sum(total_amount) from core.transactions") == 3 * (10 + 10 + 11)
    assert till.rows("select distinct landed_count from ops.completeness where location_id = 'L1'") == [(3,)]


def test_windows_are_not_loaded_together_where_that_would_be_too_much(till: Loader) -> None:
    requests = [till.request([order(f"O{n}")], window=day(n), byte_count=TOO_MUCH) for n in range(3)]
    requests += [till.request([order(f"O{n}")], window=day(n)) for n in range(3, 6)]
    results, transactions = load(till.warehouse, requests)
    assert ([r.changed for r in results], transactions) == ([1] * 6, 4)


def test_of_many_windows_with_little_in_them_some_are_loaded_at_a_time(till: Loader) -> None:
    requests = [till.request([], window=day(n)) for n in range(120)]
    results, transactions = load(till.warehouse, requests)
    assert (len(results), transactions) == (120, 3)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_of_windows_together_one_that_cannot_be_read_stops_only_what_comes_after_it(
    till: Loader, position: int
) -> None:
    requests = [till.request([order(f"O{n}")], window=day(n)) for n in range(3)]
    requests[position].records.write_bytes(b"not compressed at all")
    with pytest.raises((duckdb.Error, OSError), match=r"(?i)zstd|frame|decompress"):
        load(till.warehouse, requests)
    assert till.rows("select load_id from ops.loads order by 1") == [(r.load_id,) for r in requests[:position]]
    assert till.value("select count(*) from core.transactions") == position


def test_rows_whose_keys_are_made_otherwise_are_loaded_window_by_window(till: Loader) -> None:
    for name in ("transactions", "transaction_lines", "transaction_tenders"):
        sql = till.folder / "acme" / f"{name}.sql"
        sql.write_text(
            sql.read_text().replace("'acme:' || id as transaction_id", "'acme:order-' || id as transaction_id")
        )
    requests = [till.request([order(f"O{n}")], window=day(n)) for n in range(3)]
    results, _ = load(till.warehouse, requests)
    assert [(r.changed, r.quarantined) for r in results] == [(1, 0)] * 3
    assert till.rows("select transaction_id, load_id from core.transactions order by 1") == [
        (f"acme:order-O{n}", requests[n].load_id) for n in range(3)
    ]


def test_people_of_several_windows_are_written_to_both_files(till: Loader) -> None:
    requests = [till.request([customer(f"C{n}"), customer(f"D{n}")], CUSTOMERS, window=day(n)) for n in range(3)]
    results, transactions = load(till.warehouse, requests)
    assert ([r.changed for r in results], transactions) == ([2, 2, 2], 2)
    both = "select customer_id, load_id from {}.core.customers order by 1"
    assert till.rows(both.format("warehouse")) == till.rows(both.format("private"))
    assert till.value("select count(distinct load_id) from warehouse.core.customers") == 3


def test_a_whole_state_is_loaded_by_itself(till: Loader) -> None:
    entity = replace(ORDERS, windowed=False)
    requests = [till.request([order("O1", total=n)], entity, window=day(n)) for n in (1, 2)]
    results, transactions = load(till.warehouse, requests)
    assert ([r.changed for r in results], transactions) == ([1, 1], 2)
    assert till.value("select total_amount from core.transactions") == 2


RECORDS = st.tuples(
    st.integers(1, 9), st.integers(0, 2), st.integers(1, 2),
    st.sampled_from(["", "", "", "", "", "no total", "no currency", "misfit", "no id"]),
)  # fmt: skip
WINDOWS = st.lists(st.lists(RECORDS, max_size=5), min_size=1, max_size=4)


def _record(number: int, hours: int, version: int, flaw: str) -> dict[str, Any]:
    flaws: dict[str, dict[str, Any]] = {
        "no total": {"total": None}, "no currency": {"currency": "?"}, "misfit": {"total": "ten"},
        "no id": {"id": None},
    }  # fmt: skip
    # Nobody is flawed and sound: of an older flawed version it is a matter of time whether the newer one is known yet.
    return order(
        f"{'F' if flaw else 'O'}{number}", version=version, total=hours * 10 + version,
        updated_at=f"2026-11-18T1{hours}:00:00Z",
        payments=[{"id": f"P{number}", "amount": hours * 10 + version}],
    ) | flaws.get(flaw, {})  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(WINDOWS, WINDOWS, st.sets(st.integers(1, 9), max_size=4), st.booleans())
# Each in its own window; one in two windows; one without an id; one that is no order.
@example([[(1, 0, 1, "")], [(2, 0, 1, "no total")]], [[(1, 0, 1, "")], [(3, 0, 1, "")], [(2, 1, 1, "")]], {1, 3}, True)
@example([[(1, 0, 1, "")], [(1, 1, 2, "")], [(2, 0, 1, "")]], [[(2, 1, 1, "")], [(2, 2, 1, "")]], {1}, False)
@example([[(1, 0, 1, "no id")], [(1, 1, 2, "")]], [[(2, 1, 1, "misfit")], [(2, 2, 1, "no currency")]], set(), False)
def test_loading_together_gives_what_loading_one_by_one_does(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[list[tuple[int, int, int, str]]],
    then: list[list[tuple[int, int, int, str]]],
    listed: set[int],
    has_proofs: bool,
) -> None:
    found = []
    for byte_count in (1, TOO_MUCH):
        till = Loader(tmp_path_factory.mktemp("till"))
        told = []
        for windows in (first, then):
            requests = [
                till.request(
                    [_record(*record) for record in records], window=day(n), byte_count=byte_count,
                    load_id=f"acme:{n}",
                    proofs=[{"id": f"O{i}", "location_id": "L1"} for i in sorted(listed)] if has_proofs else None,
                )
                for n, records in enumerate(windows)
            ]  # fmt: skip
            told.append(load(till.warehouse, requests)[0])
        found.append((told, everything(till)))
    assert found[0] == found[1]
