"""`engage demo`: killed again and again, then to its end, and once more."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage_pipelines_tests.end_to_end.conftest import Demo, kill

RECEIPTS = "400"
# What a flow says of a run, in the order of the journey of a record.
FLOW_KEYS = {
    "flow", "source_records", "delivered", "accepted", "rejected", "pending", "in_doubt", "diverged", "unchanged",
    "skipped", "calls", "minimal_calls", "seconds",
}  # fmt: skip
FLOWS = {
    "aiq/personas", "aiq/sales", "aiq/inventory", "crmcom/products", "voyado/stores", "voyado/contacts",
    "voyado/contact_history", "voyado/receipts", "voyado/receipt_history",
}  # fmt: skip
ENDS = ("delivered", "accepted", "rejected", "pending", "in_doubt", "diverged", "unchanged")
NO_WAY_OUT = 240.0


def _assert_balanced(summary: dict[str, Any]) -> None:
    assert summary["reconciled"] is True
    assert summary["problems"] == []
    assert summary["in_doubt"] == 0
    totals = summary["totals"]
    for what in ("receipts", "lines"):
        assert totals["pos"][what] == totals["core"][what]
    assert {c: Decimal(a) for c, a in totals["pos"]["amount"].items()} == {
        c: Decimal(a) for c, a in totals["core"]["amount"].items()
    }
    for name, received in totals["received"].items():
        assert totals["delivered"][name]["receipts"] == received["receipts"] > 0


def _assert_received_once(demo: Demo) -> None:
    with demo.stand_ins() as running:
        ask = httpx.Client(base_url=f"{running.url}/_sandbox")
        with ask:
            aiq, voyado = ask.get("aiq").json(), ask.get("voyado").json()
            assert aiq["duplicate_sales_received"] == 0
            assert aiq["sales_received"] == aiq["sales"]
            assert (voyado["duplicates_ignored"], voyado["receipts_split_over_files"]) == (0, 0)
            assert (voyado["receipts_dropped"], voyado["receipts_refused"], voyado["ghost_stores"]) == (0, 0, 0)
            assert voyado["receipts_received"] == voyado["receipts"]
            for vendor, kind in (("aiq", "sales"), ("voyado", "receipts_received")):
                page = ask.get(f"{vendor}/records/{kind}", params={"limit": 100_000}).json()["records"]
                assert [each["key"] for each in page if each["times_received"] != 1] == []


def _in_pull(data: Path) -> bool:
    return bool(list((data / "demo" / "lake" / "square" / "orders").glob("*")))


def _in_load(data: Path) -> bool:
    return (data / "demo" / "warehouse" / "engage.duckdb").exists()


def _in_delivery(data: Path) -> bool:
    return _sent(data, "contacts") > 20


def _sent(data: Path, stream: str) -> int:
    ledger = data / "demo" / "state" / "state.db"
    if not ledger.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=1) as connection:
            query = "select count(*) from deliveries where stream = ? and state = 'delivered'"
            return int(connection.execute(query, [stream]).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def _killed_at(demo: Demo, reached: Callable[[Path], bool], later: float) -> None:
    """Start a run and kill it, a little after it has come to where it is wanted."""
    child = demo.start("--receipts", RECEIPTS)
    deadline = time.monotonic() + NO_WAY_OUT
    while not reached(demo.data):
        if _has_ended(child, within=0.02) or time.monotonic() > deadline:
            kill_if_alive(child)
            pytest.fail(f"never came to {reached.__name__}")
    _has_ended(child, within=later)
    kill(child)


def _has_ended(child: Any, *, within: float) -> bool:
    """Wait for the run's own end, no longer than that."""
    try:
        child.wait(timeout=within)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_a_run_that_is_killed_three_times_balances_and_the_one_after_it_sends_nothing(tmp_path: Path) -> None:
    demo, chance = Demo(tmp_path / "data"), random.Random(7)
    for reached in (_in_pull, _in_load, _in_delivery):
        _killed_at(demo, reached, later=chance.uniform(0.0, 0.8))
    first = demo.run("--receipts", RECEIPTS)
    _assert_balanced(first)
    assert {flow["flow"] for flow in first["flows"]} == FLOWS
    for flow in first["flows"]:
        assert set(flow) == FLOW_KEYS
        ended = sum(flow[name] for name in ENDS) + sum(flow["skipped"].values())
        assert ended == flow["source_records"]
        assert flow["calls"] >= flow["minimal_calls"] >= 0
        assert flow["pending"] == flow["in_doubt"] == 0
    assert first["sent"] > 0
    # Open and voided receipts are on the till and do not count.
    assert int(RECEIPTS) * 0.9 < first["totals"]["pos"]["receipts"] <= int(RECEIPTS)
    _assert_received_once(demo)

    second = demo.run("--receipts", RECEIPTS)
    _assert_balanced(second)
    assert second["sent"] == 0
    assert second["totals"] == first["totals"]
    assert [flow["flow"] for flow in second["flows"] if flow["calls"]] == []
    _assert_received_once(demo)


def kill_if_alive(child: Any) -> None:
    if child.poll() is None:
        kill(child)
