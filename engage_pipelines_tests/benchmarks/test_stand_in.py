"""The stand-in serves what was made, once, and refuses what is beyond its limit."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.contenders import OURS
from benchmarks.orders import days_of, make_orders
from benchmarks.processes import report_of, stand_in
from benchmarks.stand_in import door_of
from engage_pipelines_tests.fake_clock import FakeClock

COUNT = 1_300


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_orders(tmp_path_factory.mktemp("orders"), COUNT)


def test_every_order_that_was_made_is_served_once_and_in_pages_of_500_at_most(orders: Path) -> None:
    start, end = days_of(COUNT)
    with stand_in(OURS, orders=orders) as url, httpx.Client(base_url=url) as client:
        pages = list(_pages(client, start, end))
    served = [order for page in pages for order in page]
    truth = json.loads((orders / "truth.json").read_text())
    assert max(map(len, pages)) == 500
    assert truth["orders"] == _hashed(f"{each['id']}|{each['total_money']['amount']}" for each in served)
    assert truth["lines"] == _hashed(
        f"{each['id']}|{line['uid']}|{line['total_money']['amount']}" for each in served for line in each["line_items"]
    )
    assert truth["tenders"] == _hashed(f"{t['id']}|{t['amount_money']['amount']}" for o in served for t in o["tenders"])


def test_windows_beside_each_other_share_no_order_and_leave_none_out(orders: Path) -> None:
    start, end = days_of(COUNT)
    middle = start + (end - start) / 3
    with stand_in(OURS, orders=orders) as url, httpx.Client(base_url=url) as client:
        parts = [*_pages(client, start, middle), *_pages(client, middle, end)]
    counted = Counter(order["id"] for page in parts for order in page)
    assert len(counted) == COUNT
    assert set(counted.values()) == {1}


def test_the_second_question_names_the_same_orders(orders: Path) -> None:
    start, end = days_of(COUNT)
    with stand_in(OURS, orders=orders) as url, httpx.Client(base_url=url) as client:
        whole = {order["id"] for page in _pages(client, start, end) for order in page}
        entries = [
            entry["order_id"] for page in _pages(client, start, end, entries=True) for entry in page
        ]  # fmt: skip
    assert len(entries) == COUNT
    assert set(entries) == whole


def test_calls_beyond_the_limit_of_a_second_are_refused_and_counted() -> None:
    clock = FakeClock()
    door = door_of(None, 0.0, 5)
    door.clock = clock.monotonic
    at_once = [door.answer(b"/nowhere", b"")[0] for _ in range(7)]
    clock.sleep(0.999)
    still = door.answer(b"/nowhere", b"")[0]
    clock.sleep(0.002)
    later = [door.answer(b"/nowhere", b"")[0] for _ in range(6)]
    assert at_once == [404] * 5 + [429] * 2
    assert still == 429
    assert later == [404] * 5 + [429]
    assert (door.report()["calls"], door.report()["refused"]) == (14, 4)


def test_without_a_limit_nothing_is_refused() -> None:
    door = door_of(None, 0.0, 0)
    assert {door.answer(b"/nowhere", b"")[0] for _ in range(500)} == {404}


def test_the_platform_counts_each_product_once_however_often_it_comes() -> None:
    body = json.dumps({"products_set": [
        {"code": code, "name": "x", "family_identifier": {"code": "family-1"}} for code in ("A", "B")
    ]})  # fmt: skip
    with stand_in(OURS) as url:
        for _ in range(2):
            answer = httpx.post(f"{url}/crmapi/rest/v2/products/synchronise", content=body)
        report = report_of(url)
    assert [each["request_code"] for each in answer.json()["data"]["processed_products_set"]] == ["A", "B"]
    assert (report["calls"], report["rows"], report["held"]) == (2, 4, 2)


def _pages(client: httpx.Client, start: datetime, end: datetime, *, entries: bool = False) -> Any:
    between = {"start_at": start.isoformat(), "end_at": (end - timedelta(milliseconds=1)).isoformat()}
    asked: dict[str, Any] = {
        "limit": 500, "return_entries": entries, "query": {"filter": {"date_time_filter": {"updated_at": between}}},
    }  # fmt: skip
    while True:
        page = client.post("/v2/orders/search", json=asked).json()
        yield page["order_entries" if entries else "orders"]
        if "cursor" not in page:
            return
        asked["cursor"] = page["cursor"]


def _hashed(texts: Any) -> dict[str, Any]:
    hashes = [int(hashlib.md5(text.encode()).hexdigest()[:15], 16) for text in texts]
    return {"count": len(hashes), "hash": str(sum(hashes))}
