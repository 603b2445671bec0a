"""The installation of two years that a night is measured in, and what is said of that night."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks.contenders import OURS
from benchmarks.increment_ours import night
from benchmarks.increment_world import DAY, REREAD_DAYS, TEMPLATES, History, Increment, fill, order_id, serve
from benchmarks.measures import increment
from benchmarks.orders import LOCATIONS, days_of, make_orders
from benchmarks.processes import stand_in
from benchmarks.pull_ours import desk_of, pull_and_load

HISTORY, INCREMENT = History(2), Increment(8, 3)
WAREHOUSE = Path("data") / "warehouse" / "engage.duckdb"


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_orders(tmp_path_factory.mktemp("templates"), TEMPLATES)


@pytest.fixture(scope="module")
def served(templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return serve(tmp_path_factory.mktemp("served") / "orders", templates, HISTORY, INCREMENT)


@pytest.fixture(scope="module")
def installation(templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    loaded, folder = tmp_path_factory.mktemp("loaded"), tmp_path_factory.mktemp("installation")
    start, end = days_of(TEMPLATES)
    with stand_in(OURS, orders=templates) as url:
        pull_and_load(desk_of(url, loaded, start, end, rate="", in_flight=8), (start.date(), DAY.date()))
    fill(folder, loaded / WAREHOUSE, HISTORY)
    return folder


def _orders(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(b"[" + (folder / "orders.bin").read_bytes()[:-1] + b"]")
    return found


def _rows(folder: Path, sql: str) -> list[Any]:
    with duckdb.connect(str(folder / WAREHOUSE), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_till_has_the_last_days_and_the_edits_of_all_time(served: Path) -> None:
    orders = _orders(served)
    edited = [order for order in orders if order["version"] == 4]
    assert len(orders) == 2 * REREAD_DAYS * HISTORY.orders_a_day + INCREMENT.new + INCREMENT.edited
    assert {order["id"] for order in edited} == {order_id(number) for number in HISTORY.edited(INCREMENT)}
    assert all(order["updated_at"][:10] == "2026-08-31" > order["created_at"][:10] for order in edited)


def test_the_till_finds_orders_by_time_of_change(served: Path) -> None:
    count, changed = len(_orders(served)), array("q")
    with (served / "places.bin").open("rb") as places:
        places.seek(2 * 8 * (count + 1))
        changed.fromfile(places, count)
    moments = [datetime.fromtimestamp(moment / 1000, UTC) for moment in changed]
    assert moments == sorted(moments)
    assert moments == [datetime.fromisoformat(order["updated_at"]) for order in _orders(served)]


def test_no_two_numbers_have_the_same_id() -> None:
    assert len({order_id(number) for number in range(100_000)}) == 100_000


def test_the_filled_history_is_whole(installation: Path) -> None:
    counted = _rows(
        installation,
        "select count(*), count(distinct transaction_id), sum(line_count), (select count(*) from "
        "core.transaction_lines join core.transactions using (transaction_id)), (select count(*) from "
        "core.transaction_tenders join core.transactions using (transaction_id)), (select count(*) from "
        "core.transactions join ops.versions using (transaction_id, modified_at, version)), (select count(*) from "
        "core.transactions join ops.loads using (load_id)) from core.transactions",
    )
    count = HISTORY.filled
    # The numbers begin with four orders of one, two, two and three lines.
    assert counted == [(count, count, 2 * count, 2 * count, count, count, count)]


@pytest.fixture
def after(installation: Path, served: Path) -> Iterator[dict[str, float]]:
    with stand_in(OURS, orders=served) as url:
        desk = desk_of(url, installation, datetime(2024, 1, 1, tzinfo=UTC), DAY, rate="", in_flight=2)
        # The bookmark is two days further back than a night reads again anyway: those two days were filled.
        first = DAY - timedelta(days=REREAD_DAYS + 2)
        desk.bookmarks.advance("square", "orders", LOCATIONS, first - timedelta(days=1), first)
        yield night(desk, DAY.date())


def test_a_night_finds_what_was_filled_unchanged_and_takes_what_is_new_or_edited(
    installation: Path, after: dict[str, float]
) -> None:
    of_days = REREAD_DAYS * HISTORY.orders_a_day
    assert after["changed"] == of_days + INCREMENT.new + INCREMENT.edited
    assert after["pulled"] - after["changed"] == 2 * HISTORY.orders_a_day
    assert after["missing"] == after["quarantined"] == 0
    total = HISTORY.count + INCREMENT.new
    assert _rows(installation, "select count(*), count(distinct transaction_id) from core.transactions") == [
        (total, total)
    ]
    assert _rows(installation, "select count(*) from core.transactions where version = 4") == [(INCREMENT.edited,)]


def _night(warehouse: str, new: int, seconds: float) -> dict[str, Any]:
    return {
        "contender": "engage_pipelines", "warehouse": warehouse, "new": new, "pulled": new * 2, "seconds": seconds,
        "beyond": seconds, "held_lines": 10_000_000,
    }  # fmt: skip


def test_a_slow_night_misses_its_target_and_says_what_the_warehouse_has_to_do_with_it() -> None:
    measured = [_night("two years", new, s) for new, s in ((4_000, 2.0), (20_000, 4.5), (100_000, 12.0))]
    measured.append(_night("what the night touches", 20_000, 3.3))
    of_seconds, of_growth = increment.targets(measured)
    assert of_seconds[2:] == ["4.50 s", "**no**", "1.2 s of it for the warehouse's size"]
    assert of_growth == [
        "increments of 4,000, 20,000, 100,000 new orders: seconds per 10,000 more", "no more than before",
        "0.78, 0.47 s", "yes", "",
    ]  # fmt: skip
    measured[2] = _night("two years", 100_000, 20.0)
    assert increment.targets(measured)[1][2:4] == ["0.78, 0.97 s", "**no**"]
