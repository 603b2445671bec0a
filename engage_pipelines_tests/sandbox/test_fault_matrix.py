"""Every fault at every route of every stand-in: what the caller sees, and whether the work was done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from engage_pipelines.sandbox.faults import KINDS
from engage_pipelines.sandbox.sense import senseless
from engage_pipelines.sandbox.server import running_sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.sandbox.fault_calls import CALLS, Call, World, said

GENEROUS = {"rates": ((1_000_000, 1.0),)}


@dataclass(frozen=True)
class Case:
    """One kind of fault.

    Attributes:
        rule: the rule without its route.
        seen: what the caller sees: an error of its client, or what `said` makes of the answer.
        is_done: whether the vendor did the work.
        header: the Retry-After header.
        unless: vendors that show it otherwise.
    """

    rule: dict[str, Any]
    seen: str
    is_done: bool
    header: str | None = None
    unless: dict[str, str] = field(default_factory=dict)


CUT = "RemoteProtocolError"
CASES = {
    "429-with-retry-after": Case({"kind": "throttle", "retry_after": 3}, "429", is_done=False, header="3"),
    "429-without-retry-after": Case({"kind": "throttle"}, "429", is_done=False),
    "403-throttle": Case({"kind": "forbidden_throttle"}, "403", is_done=False),
    "500": Case({"kind": "status"}, "500", is_done=False),
    "502": Case({"kind": "status", "status": 502}, "502", is_done=False),
    "503": Case({"kind": "status", "status": 503, "retry_after": 1}, "503", is_done=False, header="1"),
    "502-after-the-work": Case({"kind": "status", "status": 502, "handled": True}, "502", is_done=True),
    "time-out": Case({"kind": "slow", "seconds": 30}, "ReadTimeout", is_done=True),
    "reset-before": Case({"kind": "reset_before"}, "ReadError", is_done=False),
    "reset-after": Case({"kind": "reset_after"}, CUT, is_done=True),
    "half-a-body": Case({"kind": "half_body"}, CUT, is_done=True),
    "broken-json": Case({"kind": "broken_json"}, "no JSON", is_done=True),
    "200-with-failure": Case({"kind": "ok_with_failure"}, "no", is_done=False),
    "row-errors": Case({"kind": "row_errors"}, "400", is_done=False),
    "missing-rows": Case({"kind": "missing_rows"}, "yes", is_done=True),
    "expired-token": Case({"kind": "expired_token"}, "401", is_done=False, unless={"crmcom": "no"}),
    "down": Case({"kind": "down"}, "503", is_done=False),
    "unreachable": Case({"kind": "unreachable"}, "ReadError", is_done=False),
    "accept-and-forget": Case({"kind": "accept_and_forget"}, "yes", is_done=False),
    "poison": Case({"kind": "poison"}, "400", is_done=False),
}
# Where the vendor answers row by row, the good row of a call is taken; Voyado does not even say so.
ROW_BY_ROW = {
    "POST /crmapi/rest/v2/products/synchronise", "POST /api/v3/contacts/bulk", "PATCH /api/v3/contacts/bulk",
}  # fmt: skip
ROUTES = [(vendor, route) for vendor, calls in CALLS.items() for route in calls]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    state = tmp_path_factory.mktemp("stand-ins")
    small_shop.fill(state / "square")
    options = dict.fromkeys(("aiq", "crmcom", "voyado"), GENEROUS)
    with running_sandbox(state, options=options) as sandbox, httpx.Client(base_url=sandbox.url) as caller:
        sandbox.frames["square"].windows.change([(1_000_000, 1.0)])
        yield World(sandbox, caller)


@pytest.fixture
def served(world: World) -> Iterator[World]:
    yield world
    for vendor in CALLS:
        world.sandbox.clear_faults(vendor)


def test_every_route_of_every_stand_in_is_in_the_matrix(world: World) -> None:
    for vendor, stand_in in world.sandbox.stand_ins.items():
        verbs = {(route.path, verb) for route in stand_in.routes() for verb in route.methods or () if verb != "HEAD"}
        assert {f"{verb} {path}" for path, verb in verbs if not path.startswith("/_")} == set(CALLS[vendor])


def test_every_kind_of_fault_is_in_the_matrix() -> None:
    assert {case.rule["kind"] for case in CASES.values()} == KINDS


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("vendor", "route"), ROUTES)
def test_a_fault_shows_as_it_should_and_the_work_is_done_or_not(
    served: World, vendor: str, route: str, name: str
) -> None:
    case, call = CASES[name], CALLS[vendor][route](served)
    rows = served.sandbox.frames[vendor].rows.get(route)
    reason = senseless(vendor, route, rows).get(case.rule["kind"])
    seen, is_done, struck, _ = struck_by(served, vendor, route, case, call)
    works = rows is not None or "authentication" in route
    if reason:
        assert (seen, is_done, struck) == ("yes", works, 0), reason
        return
    by_row = name == "row-errors" and route in ROW_BY_ROW
    expected = "yes" if by_row else case.unless.get(vendor, case.seen)
    assert (seen, is_done, struck) == (expected, works and (case.is_done or by_row), 1)
    if rows and name in {"row-errors", "poison"}:
        refused = served.inspect(f"{vendor}/journal/{rows.kind}?pick=refused&limit=10000")["records"]
        assert any(row["key"].startswith(call.keys[-1]) for row in refused)


@pytest.mark.parametrize(("vendor", "route"), ROUTES)
def test_rows_that_are_left_out_are_missing_from_the_answer(served: World, vendor: str, route: str) -> None:
    if reason := senseless(vendor, route, served.sandbox.frames[vendor].rows.get(route)).get("missing_rows"):
        assert reason
        return
    call = CALLS[vendor][route](served)
    whole = served.send(call, vendor, route.partition(" ")[0])
    _, _, _, answer = struck_by(served, vendor, route, CASES["missing-rows"], call)
    assert answer is not None
    assert rows_listed(answer) == rows_listed(whole) - 1


def struck_by(
    world: World, vendor: str, route: str, case: Case, call: Call
) -> tuple[str, bool, int, httpx.Response | None]:
    """Make a call under a rule; gives what the caller saw, whether the work was done, how often the rule struck."""
    method = route.partition(" ")[0]
    keys = {"keys": call.keys[-1:] or ["nobody"]} if case.rule["kind"] in {"row_errors", "poison"} else {}
    world.sandbox.add_fault(vendor, route=f"^{method} {call.path}$", **case.rule, **keys)
    before = evidence(world, vendor, route, call)
    answer, seen = attempt(world, vendor, method, call, read=0.03 if case.rule["kind"] == "slow" else 10)
    # Read while the rule stands: it must not strike the inspection.
    is_done = evidence(world, vendor, route, call) != before
    struck = world.inspect(f"{vendor}/faults")["faults"][0]["struck"]
    assert answer is None or answer.headers.get("retry-after") == (case.header if struck else None)
    return seen, is_done, struck, answer


def attempt(world: World, vendor: str, method: str, call: Call, read: float) -> tuple[httpx.Response | None, str]:
    """Make a call; gives the answer if one came, and what the caller saw."""
    calls = world.sandbox.frames[vendor].calls
    before = sum(calls.values())
    try:
        answer = world.send(call, vendor, method, httpx.Timeout(10, read=read))
    except httpx.TransportError as error:
        # The vendor works on after its caller has gone.
        while sum(calls.values()) == before:
            world.inspect("clock")
        return None, type(error).__name__
    return answer, said(answer)


def evidence(world: World, vendor: str, route: str, call: Call) -> Any:
    """What the inspection API shows of a call's work."""
    if route.endswith("/release"):
        probe = Call(call.path.replace("authentication/token/release", "products/synchronise"), call.body)
        return world.send(probe, vendor, "POST").json()["status"]["code"]
    report = world.inspect(vendor)
    rows = world.sandbox.frames[vendor].rows.get(route)
    if rows is None:
        return report
    records = world.inspect(f"{vendor}/records/{rows.kind}?limit=100000")["records"]
    return report, [(record["key"], record["times_received"]) for record in records]


def rows_listed(answer: httpx.Response) -> int:
    """The length of the first list in an answer that has something in it."""
    return next((len(rows) for rows in lists_in(answer.json()) if rows), 0) if answer.content else 0


def lists_in(value: Any) -> list[list[Any]]:
    if isinstance(value, list):
        return [value]
    return [rows for part in value.values() for rows in lists_in(part)] if isinstance(value, dict) else []
