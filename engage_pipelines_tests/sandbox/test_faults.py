"""Faults in time, poisoned records, limits and their counts, and the clock of the sandbox."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage_pipelines.sandbox.clock import SandboxClock
from engage_pipelines.sandbox.faults import FaultBook, Struck, is_in_share, read_fault
from engage_pipelines.sandbox.limits import SlidingWindows
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.sandbox.fault_calls import CALLS, HEADERS, Call, World, receipt, sale

SALES = "/api/v1.1/createUpdateSales/1001"
SYNCHRONISE = "/crmapi/rest/v2/products/synchronise"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    small_shop.fill(tmp_path / "square")
    with running_sandbox(tmp_path) as running:
        yield running


@pytest.fixture
def world(sandbox: Sandbox) -> Iterator[World]:
    with httpx.Client(base_url=sandbox.url) as caller:
        yield World(sandbox, caller)


def rule(world: World, vendor: str, **fields: Any) -> None:
    assert world.caller.post(f"/_sandbox/{vendor}/faults", json=fields).status_code == 201


def status(world: World, vendor: str, call: Call, method: str = "POST") -> int:
    return world.send(call, vendor, method).status_code


def locations(world: World) -> int:
    return status(world, "square", Call("/v2/locations"), "GET")


def sales(*keys: str) -> Call:
    return Call(SALES, [sale(key) for key in keys])


def products(world: World, *keys: str) -> Call:
    definition = {"alternative_code": "Product_Sync"}
    return Call(SYNCHRONISE, {
        "token": world.token, "synchronisation_definition_identifier": definition,
        "products_set": [{"code": key} for key in keys],
    })  # fmt: skip


def pass_time(world: World, seconds: float) -> None:
    world.caller.put("/_sandbox/clock", json={"advance": seconds}).raise_for_status()


def test_a_vendor_is_down_for_an_hour_of_the_sandboxs_clock(world: World) -> None:
    rule(world, "aiq", kind="down", from_seconds=600, until_seconds=4200, retry_after=30)
    seen = [status(world, "aiq", sales("R1"))]
    for seconds in (601, 3000, 600):
        pass_time(world, seconds)
        seen.append(status(world, "aiq", sales("R1")))
    assert seen == [200, 503, 503, 200]
    assert locations(world) == 200


def test_a_vendor_that_is_down_answers_nothing_at_all_and_leaves_its_levers(world: World) -> None:
    rule(world, "square", kind="down")
    for route, build in CALLS["square"].items():
        assert status(world, "square", build(world), route.partition(" ")[0]) == 503
    assert world.caller.post("/square/_shop/orders", json={"orders": []}).status_code == 200
    world.caller.delete("/_sandbox/square/faults", params={"kind": "down"}).raise_for_status()
    assert locations(world) == 200


def test_a_vendor_that_is_down_does_not_look_at_limits_but_the_sandbox_does(world: World) -> None:
    world.caller.put("/_sandbox/square/limits", json={"rates": [[1, 3600]]}).raise_for_status()
    rule(world, "square", kind="down")
    assert [locations(world) for _ in range(3)] == [503, 503, 503]
    world.sandbox.clear_faults("square")
    assert locations(world) == 429
    assert world.inspect("square/limits")["times_exceeded"] == 3


def test_an_unreachable_vendor_resets_every_connection(world: World) -> None:
    rule(world, "voyado", kind="unreachable")
    for route, build in list(CALLS["voyado"].items())[:3]:
        with pytest.raises(httpx.ReadError, match="reset by peer"):
            world.send(build(world), "voyado", route.partition(" ")[0])


def test_rules_of_one_kind_are_forgotten_and_the_others_stay(world: World) -> None:
    rule(world, "square", kind="down", times=1)
    rule(world, "square", kind="throttle")
    left = world.caller.delete("/_sandbox/square/faults", params={"kind": "down"}).json()["faults"]
    assert [one["kind"] for one in left] == ["throttle"]
    assert locations(world) == 429


def test_the_summary_counts_by_kind_and_outlives_the_rules(world: World) -> None:
    rule(world, "square", kind="throttle", times=2)
    rule(world, "square", kind="status", status=500, times=1)
    assert [locations(world) for _ in range(4)] == [429, 429, 500, 200]
    world.caller.delete("/_sandbox/square/faults").raise_for_status()
    assert world.inspect("square/faults/summary") == {"struck": {"status": 1, "throttle": 2}, "total": 3}
    assert world.inspect("aiq/faults/summary") == {"struck": {}, "total": 0}


def test_a_session_ends_with_the_clock_in_the_middle_of_the_work(world: World) -> None:
    assert world.send(products(world, "A"), "crmcom", "POST").json()["status"]["code"] == "OK"
    pass_time(world, 7201)
    assert world.send(products(world, "B"), "crmcom", "POST").json()["status"]["code"] == "INVALID_TOKEN"
    assert world.inspect("crmcom")["products"] == 1


@pytest.mark.parametrize(
    ("vendor", "call"),
    [("aiq", sales("good", "bad")), ("voyado", Call("/api/v3/receipts", receipt("bad")))],
)
def test_one_poisoned_record_takes_the_whole_call_down_and_nobody_says_which(
    world: World, vendor: str, call: Call
) -> None:
    rule(world, vendor, kind="poison", keys=["bad"])
    before = world.inspect(vendor)
    answer = world.send(call, vendor, "POST")
    assert answer.status_code == 400
    assert "bad" not in answer.text
    assert world.inspect(vendor) == before
    assert world.inspect(f"{vendor}/faults/poisoned") == {"poisoned": ["bad"]}


def test_poison_at_a_vendor_that_answers_by_row_takes_the_call_or_the_row(world: World) -> None:
    rule(world, "crmcom", kind="poison", keys=["bad"], times=1)
    assert status(world, "crmcom", products(world, "good", "bad")) == 400
    assert world.inspect("crmcom")["products"] == 0
    rule(world, "crmcom", kind="poison", keys=["bad"], by_row=True)
    data = world.send(products(world, "good", "bad"), "crmcom", "POST").json()["data"]
    assert [row["request_code"] for row in data["processed_products_set"]] == ["good"]
    assert [row["request_code"] for row in data["unprocessed_products_set"]] == ["bad"]


@pytest.mark.parametrize("path", ["/api/v3/contacts", "/api/v3/stores"])
def test_calls_about_one_record_are_poisoned_too(world: World, path: str) -> None:
    rule(world, "voyado", kind="poison", keys=["bad"])
    assert status(world, "voyado", Call(path, {"externalId": "bad", "name": "Shop"})) == 400
    assert status(world, "voyado", Call(path, {"externalId": "good", "name": "Shop"})) == 201


def test_a_seeded_share_of_all_keys_is_poisoned_and_can_be_asked_for_beforehand(world: World) -> None:
    rule(world, "aiq", kind="poison", share=0.01, seed=11)
    keys = [f"R{number}" for number in range(20_000)]
    asked = world.caller.post("/_sandbox/aiq/faults/poisoned", json={"keys": keys}).json()["poisoned"]
    assert asked == [key for key in keys if is_in_share(key, 0.01, 11)]
    assert 150 < len(asked) < 250
    good = next(key for key in keys if key not in asked)
    assert [status(world, "aiq", sales(key)) for key in (asked[0], good)] == [400, 200]
    assert world.inspect("aiq/faults/poisoned") == {"poisoned": asked[:1]}


@pytest.mark.parametrize("kind", ["reset_after", "half_body", "slow"])
def test_poison_stays_poison_when_something_else_befalls_the_call(world: World, kind: str) -> None:
    rule(world, "aiq", kind=kind, seconds=0, times=1)
    rule(world, "aiq", kind="poison", keys=["bad"])
    before = world.inspect("aiq")["sales"]
    if kind == "slow":
        assert status(world, "aiq", sales("good", "bad")) == 400
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            world.send(sales("good", "bad"), "aiq", "POST")
    assert world.inspect("aiq")["sales"] == before
    assert world.inspect("aiq/faults/summary")["struck"] == {"poison": 1, kind: 1}


def test_rows_can_be_refused_by_share_too(world: World) -> None:
    rule(world, "crmcom", kind="row_errors", share=0.5, seed=3)
    keys = [f"P{number}" for number in range(200)]
    data = world.send(products(world, *keys), "crmcom", "POST").json()["data"]
    refused = [row["request_code"] for row in data["unprocessed_products_set"]]
    assert refused == [key for key in keys if is_in_share(key, 0.5, 3)]


def test_a_rule_for_certain_rows_passes_calls_without_them(world: World) -> None:
    rule(world, "aiq", kind="row_errors", keys=["bad"], times=1)
    assert [status(world, "aiq", sales(key)) for key in ("good", "bad", "bad")] == [200, 400, 200]


@pytest.mark.parametrize(
    "fields", [{"kind": "poison"}, {"kind": "poison", "share": 1.5}, {"kind": "down", "until_seconds": "soon"}]
)
def test_a_rule_that_makes_no_sense_is_refused(world: World, fields: dict[str, Any]) -> None:
    assert world.caller.post("/_sandbox/aiq/faults", json=fields).status_code == 400


def test_a_list_of_keys_must_be_one(world: World) -> None:
    assert world.caller.post("/_sandbox/aiq/faults/poisoned", json=["R1"]).status_code == 400


def test_a_rule_begins_and_ends_with_the_clock() -> None:
    now = [100.0]
    book = FaultBook(lambda: now[0])
    book.add(read_fault({"kind": "status", "from_seconds": 5, "until_seconds": 7}))
    struck = []
    for now[0] in (100.0, 104.9, 105.0, 106.9, 107.0):
        struck.append(book.strike(Struck("GET /x")) is not None)
    assert struck == [False, False, True, True, False]


def test_the_clock_runs_stands_jumps_and_is_set() -> None:
    ticks = [50.0]
    clock = SandboxClock(1_000.0, tick=lambda: ticks[0])
    ticks[0] += 2
    clock.advance(3600)
    assert (clock(), clock.elapsed()) == (4602.0, 3652.0)
    clock.run(running=False)
    ticks[0] += 10
    assert (clock(), clock.elapsed()) == (4602.0, 3662.0)
    clock.set(10.0)
    assert (clock(), clock.elapsed()) == (10.0, 3662.0)
    clock.run(running=True)
    ticks[0] += 1
    assert clock.moment().isoformat() == "1970-01-01T00:00:11+00:00"


def test_the_clock_is_moved_from_outside(world: World) -> None:
    put = world.caller.put
    assert put("/_sandbox/clock", json={"now": "2026-10-14T03:00:00+01:00", "running": False}).json() == {
        "now": 1791943200.0, "moment": "2026-10-14T02:00:00.000+00:00", "running": False,
    }  # fmt: skip
    assert put("/_sandbox/clock", json={"advance": 60}).json()["now"] == 1791943260.0
    assert world.inspect("")["clock"] == world.inspect("clock")
    for wrong in ({"advance": -1}, {"now": "2026-10-14T03:00:00"}, {"now": True}, {"colour": 1}):
        assert put("/_sandbox/clock", json=wrong).status_code == 400


def test_rates_pass_with_the_clock(world: World) -> None:
    world.caller.put("/_sandbox/square/limits", json={"rates": [[1, 3600]]}).raise_for_status()
    seen = [locations(world), locations(world)]
    pass_time(world, 3600)
    assert [*seen, locations(world)] == [200, 429, 200]


def test_an_excess_is_counted_even_where_it_is_let_through(world: World) -> None:
    world.caller.put("/_sandbox/square/limits", json={"rates": [[2, 3600]], "enforced": False}).raise_for_status()
    assert [locations(world) for _ in range(5)] == [200] * 5
    standing = world.inspect("square/limits")
    assert (standing["times_exceeded"], standing["let_through"], standing["enforced"]) == (3, 5, False)


def test_windows_that_are_not_enforced_count_every_call_beyond() -> None:
    windows = SlidingWindows([(1, 10.0)], clock=lambda: 0.0)
    windows.enforced = False
    assert [windows.admit() for _ in range(3)] == [True, True, True]
    assert (windows.exceeded, windows.let_through) == (2, 3)


@contextmanager
def waiting_call(world: World) -> Iterator[None]:
    """A call that the vendor lets wait, open while the context is."""
    struck = world.sandbox.frames["square"].faults.struck_by_kind
    before = struck["slow"]
    url = httpx.URL(world.sandbox.url)
    with socket.create_connection((url.host, url.port)) as wire:
        fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS["square"].items())
        wire.sendall(f"GET /square/v2/locations HTTP/1.1\r\nhost: {url.host}\r\n{fields}\r\n".encode())
        while struck["slow"] == before:
            world.inspect("clock")
        yield


def test_calls_beyond_those_in_flight_are_counted_and_hung_up_ones_are_not(world: World) -> None:
    world.caller.put("/_sandbox/square/limits", json={"rates": [[100, 1]], "in_flight": 1}).raise_for_status()
    rule(world, "square", kind="slow", seconds=30, times=1)
    with waiting_call(world):
        pass
    assert locations(world) == 200
    assert world.inspect("square/limits")["times_in_flight_exceeded"] == 0

    rule(world, "square", kind="slow", seconds=30, times=1)
    with waiting_call(world):
        assert locations(world) == 200
    standing = world.inspect("square/limits")
    assert (standing["times_in_flight_exceeded"], standing["most_in_flight"]) == (1, 2)
