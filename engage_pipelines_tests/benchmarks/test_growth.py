"""The till with years of orders that are stored nowhere, and what is said of growth."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from benchmarks.growth_till import LINES_A_DAY, ORDERS_A_DAY, RepeatedTill
from benchmarks.measures import growth
from benchmarks.orders import make_orders
from benchmarks.plan import Plan


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_orders(tmp_path_factory.mktemp("templates"), ORDERS_A_DAY)


@pytest.fixture(scope="module")
def till(templates: Path) -> RepeatedTill:
    return RepeatedTill(templates, 3)


def _asked(till: RepeatedTill, start: str, end: str, **more: Any) -> list[list[dict[str, Any]]]:
    """All pages of a range of time."""
    query = {"filter": {"date_time_filter": {"updated_at": {"start_at": start, "end_at": end}}}}
    asked: dict[str, Any] = {"query": query, "limit": 1000, **more}
    pages = []
    while True:
        _, parts = till.search(json.dumps(asked).encode())
        page = json.loads(b"".join(parts))
        pages.append(page.get("orders") or page.get("order_entries") or [])
        if "cursor" not in page:
            return pages
        asked["cursor"] = page["cursor"]


def test_each_day_has_orders_of_its_own_at_moments_of_its_own(till: RepeatedTill) -> None:
    orders = list(chain.from_iterable(_asked(till, "2026-08-29T00:00:00Z", "2026-08-31T23:59:59.999Z")))
    moments = [order["updated_at"] for order in orders]
    assert len({order["id"] for order in orders}) == len(orders) == 3 * ORDERS_A_DAY
    assert moments == sorted(moments)
    assert {moment[:10] for moment in moments} == {"2026-08-29", "2026-08-30", "2026-08-31"}
    assert sum(len(order["line_items"]) for order in orders) == 3 * LINES_A_DAY


def test_an_order_names_itself_and_its_moment_alike_wherever_it_does(till: RepeatedTill) -> None:
    order = _asked(till, "2026-08-30T00:00:00Z", "2026-08-30T00:00:00Z")[0][0]
    assert order["tenders"][0]["transaction_id"] == order["id"]
    assert all(line["uid"].startswith(order["id"]) for line in order["line_items"])
    assert order["created_at"] == order["closed_at"] == order["tenders"][0]["created_at"] == order["updated_at"]


def test_the_second_question_lists_the_same_orders(till: RepeatedTill) -> None:
    between = ("2026-08-29T17:00:00Z", "2026-08-30T09:30:00Z")
    pages = _asked(till, *between)
    entries = chain.from_iterable(_asked(till, *between, return_entries=True))
    assert max(map(len, pages)) == 500
    assert [entry["order_id"] for entry in entries] == [order["id"] for order in chain.from_iterable(pages)]


def test_outside_of_the_history_there_is_nothing(till: RepeatedTill) -> None:
    assert _asked(till, "2026-08-01T00:00:00Z", "2026-08-28T23:59:59.999Z") == [[]]
    assert _asked(till, "2026-09-01T00:00:00Z", "2026-09-30T00:00:00Z") == [[]]


def test_twice_the_time_for_twice_the_rows_is_an_exponent_of_one() -> None:
    assert growth.exponent([{"rows": n, "seconds": n / 500} for n in (10, 100, 1000)]) == pytest.approx(1)
    assert growth.exponent([{"rows": n, "seconds": n * n} for n in (10, 100)]) == pytest.approx(2)


def test_time_that_grows_faster_only_at_the_end_misses_the_target() -> None:
    sizes = [(1, 5, 3.0), (2, 50, 20.0), (3, 500, 240.0)]
    measured = [
        {"rows": days * 3000, "days": days, "seconds": seconds, "peak_mb": 400.0, "contender": "engage_pipelines"}
        for _, days, seconds in sizes
    ]
    of_time, of_memory = growth.targets(measured)
    assert "last step 1.08" in of_time[2]
    assert of_time[3] == "**no**"
    assert of_memory[2:4] == ["1.00x", "yes"]


def test_everything_that_was_served_is_there_at_every_size(tmp_path: Path) -> None:
    measured = list(growth.rows(Plan(rounds=1, data=tmp_path, is_quick=True)))
    assert [row["completeness"]["is_complete"] for row in measured] == [True, True]
    assert growth.table(measured).count("| yes |") == 2
    assert len(growth.targets(measured)) == 1, "no history filled a window, so nothing is said of memory"
    assert not list((tmp_path / "growth").glob("*/*"))
