"""The frame around the stand-ins: faults as a caller meets them, limits, counting, life of the server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import httpx
import pytest

from engage_pipelines.sandbox.faults import FaultBook, Struck, read_fault
from engage_pipelines.sandbox.limits import SlidingWindows
from engage_pipelines.sandbox.server import (
    Sandbox,
    build_stand_ins,
    running_sandbox,
    start_sandbox_process,
)
from engage_pipelines.sandbox.shop_choice import Shop, fill_shop

SALE = {
    "visit": {
        "pos_id": "R1", "pos_user": "U1", "transaction_date": "2026-10-14 09:00:00 +0100", "transaction_total": 3.5,
        "location": "Shop 1", "visit_details_attributes": [{"sku": "A", "name": "Tea", "price": 3.5, "quantity": 1}],
    }
}  # fmt: skip
SEND_SALE = "/aiq/api/v1.1/createUpdateSale/1001"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path, vendors=("aiq", "crmcom", "voyado")) as running:
        yield running


@pytest.fixture
def caller(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.url, headers={"x-apikey": "sandbox-aiq-key"}, timeout=10) as client:
        yield client


def sales_held(caller: httpx.Client) -> int:
    return int(caller.get("/_sandbox/aiq").json()["sales"])


def strike(caller: httpx.Client, **rule: object) -> None:
    assert (
        caller.post("/_sandbox/aiq/faults", json={"times": 1, "route": "createUpdateSale", **rule}).status_code == 201
    )


def test_a_throttled_call_gets_the_vendors_429_with_the_pause_if_there_is_one(caller: httpx.Client) -> None:
    strike(caller, kind="throttle", retry_after=2)
    strike(caller, kind="throttle")
    first, second = caller.post(SEND_SALE, json=SALE), caller.post(SEND_SALE, json=SALE)
    assert (first.status_code, first.headers["retry-after"], first.json()["success"]) == (429, "2", False)
    assert second.status_code == 429
    assert "retry-after" not in second.headers
    assert sales_held(caller) == 0


def test_a_forbidden_throttle_is_a_403(caller: httpx.Client) -> None:
    strike(caller, kind="forbidden_throttle")
    assert caller.post(SEND_SALE, json=SALE).status_code == 403
    assert sales_held(caller) == 0


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize(("handled", "held"), [(False, 0), (True, 1)])
def test_a_server_error_comes_before_or_after_the_work(
    caller: httpx.Client, status: int, handled: bool, held: int
) -> None:
    strike(caller, kind="status", status=status, handled=handled)
    assert caller.post(SEND_SALE, json=SALE).status_code == status
    assert sales_held(caller) == held


def test_a_slow_answer_runs_into_the_callers_time_out_although_the_work_is_done(caller: httpx.Client) -> None:
    strike(caller, kind="slow", seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        caller.post(SEND_SALE, json=SALE, timeout=0.2)
    assert sales_held(caller) == 1


def test_a_patient_caller_gets_the_slow_answer(caller: httpx.Client) -> None:
    strike(caller, kind="slow", seconds=0.05)
    assert caller.post(SEND_SALE, json=SALE).json()["success"] is True


def test_a_reset_before_the_work_is_a_tcp_reset_and_nothing_was_done(caller: httpx.Client) -> None:
    strike(caller, kind="reset_before")
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        caller.post(SEND_SALE, json=SALE)
    assert sales_held(caller) == 0


def test_a_reset_after_the_work_closes_without_an_answer_and_it_was_done(caller: httpx.Client) -> None:
    strike(caller, kind="reset_after")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        caller.post(SEND_SALE, json=SALE)
    assert sales_held(caller) == 1


def test_half_a_body_is_noticed_by_the_caller(caller: httpx.Client) -> None:
    strike(caller, kind="half_body")
    with pytest.raises(httpx.RemoteProtocolError, match="complete message"):
        caller.post(SEND_SALE, json=SALE)
    assert sales_held(caller) == 1


def test_broken_json_is_a_complete_answer_that_cannot_be_read(caller: httpx.Client) -> None:
    strike(caller, kind="broken_json")
    answer = caller.post(SEND_SALE, json=SALE)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert sales_held(caller) == 1


def test_a_200_may_say_that_it_failed_in_the_vendors_own_words(caller: httpx.Client) -> None:
    strike(caller, kind="ok_with_failure", message="no")
    answer = caller.post(SEND_SALE, json=SALE)
    assert answer.status_code == 200
    assert (answer.json()["success"], answer.json()["errors"][0]["message"]) == (False, "no")
    assert sales_held(caller) == 0


def test_an_expired_credential_is_refused_in_the_vendors_own_form(caller: httpx.Client) -> None:
    strike(caller, kind="expired_token")
    assert caller.post(SEND_SALE, json=SALE).status_code == 401
    caller.post("/_sandbox/crmcom/faults", json={"kind": "expired_token"})
    answer = caller.post("/crmcom/crmapi/rest/v2/products/synchronise", json={})
    assert (answer.status_code, answer.json()["status"]["code"]) == (200, "INVALID_TOKEN")


def test_rows_can_be_refused_by_their_key(caller: httpx.Client) -> None:
    strike(caller, kind="row_errors", keys=["R2"], times=None)
    two = [SALE, {"visit": {**SALE["visit"], "pos_id": "R2"}}]
    answer = caller.post("/aiq/api/v1.1/createUpdateSales/1001", json=two)
    assert (answer.status_code, answer.json()["errors"][0]["message"][:9]) == (400, "element 1")
    assert caller.post("/aiq/api/v1.1/createUpdateSales/1001", json=two[:1]).status_code == 200


def test_rows_can_be_left_out_of_an_answer(caller: httpx.Client) -> None:
    caller.post("/aiq/api/v2/loyalty", json={"email": "a@example.org"})
    caller.post("/aiq/api/v2/loyalty", json={"email": "b@example.org"})
    strike(caller, kind="missing_rows", route="GET /api/v1.1/piis", times=1)
    assert len(caller.get("/aiq/api/v1.1/piis/1001").json()["data"]["results"]) == 1
    assert len(caller.get("/aiq/api/v1.1/piis/1001").json()["data"]["results"]) == 2


def test_a_rule_waits_strikes_so_often_and_is_forgotten_on_request(caller: httpx.Client) -> None:
    strike(caller, kind="status", after=1, times=2)
    assert [caller.post(SEND_SALE, json=SALE).status_code for _ in range(4)] == [200, 500, 500, 200]
    rules = caller.get("/_sandbox/aiq/faults").json()["faults"]
    assert (rules[0]["seen"], rules[0]["struck"]) == (3, 2)
    strike(caller, kind="status", times=None)
    assert caller.delete("/_sandbox/aiq/faults").json() == {"faults": []}
    assert caller.post(SEND_SALE, json=SALE).status_code == 200


def test_chance_is_the_same_for_the_same_seed() -> None:
    def struck() -> list[bool]:
        book = FaultBook()
        book.add(read_fault({"kind": "status", "probability": 0.5, "seed": 3}))
        return [book.strike(Struck("GET /x")) is not None for _ in range(40)]

    assert struck() == struck()
    assert 0 < sum(struck()) < 40


@pytest.mark.parametrize("rule", [{"kind": "unknown"}, {"kind": "slow", "colour": 1}, {"kind": "slow", "route": "("}])
def test_a_rule_that_makes_no_sense_is_refused(caller: httpx.Client, rule: dict[str, object]) -> None:
    assert caller.post("/_sandbox/aiq/faults", json=rule).status_code == 400


def test_windows_slide() -> None:
    now = [0.0]
    windows = SlidingWindows([(2, 1.0), (3, 10.0)], clock=lambda: now[0])

    def at(moment: float) -> bool:
        now[0] = moment
        return windows.admit()

    assert [at(0.0), at(0.5), at(0.9), at(1.0), at(2.0), at(10.0), at(10.1)] == [
        True, True, False, True, False, True, False,
    ]  # fmt: skip
    assert windows.exceeded == 3


def test_the_declared_rate_is_enforced_and_every_excess_counted(caller: httpx.Client) -> None:
    changed = caller.put("/_sandbox/aiq/limits", json={"rates": [[2, 3600]], "retry_after": 7}).json()
    assert changed["rates"] == [[2, 3600.0]]
    answers = [caller.post(SEND_SALE, json=SALE) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "7"
    standing = caller.get("/_sandbox/aiq/limits").json()
    assert (standing["times_exceeded"], standing["most_in_flight"]) == (2, 1)
    assert caller.put("/_sandbox/aiq/limits", json={"rates": [[0, 1]]}).status_code == 400


def test_calls_that_meet_a_fault_count_against_the_rate(caller: httpx.Client) -> None:
    caller.put("/_sandbox/aiq/limits", json={"rates": [[2, 3600]]})
    strike(caller, kind="status", times=None)
    assert [caller.post(SEND_SALE, json=SALE).status_code for _ in range(3)] == [500, 500, 429]


def test_calls_are_counted_by_route_and_status(caller: httpx.Client) -> None:
    strike(caller, kind="reset_before")
    with pytest.raises(httpx.TransportError):
        caller.post(SEND_SALE, json=SALE)
    caller.post(SEND_SALE, json=SALE)
    caller.get("/aiq/nowhere")
    calls = caller.get("/_sandbox/aiq/calls").json()
    assert calls == {
        "calls": 3,
        "routes": {
            "POST /api/v1.1/createUpdateSale/{uid}": {"200": 1, "no answer": 1},
            "GET (unknown route)": {"404": 1},
        },
    }
    overview = caller.get("/_sandbox/").json()["vendors"]
    assert (overview["aiq"]["calls"], overview["crmcom"]["calls"]) == (3, 0)
    assert overview["voyado"]["rates"] == [[200, 1.0]]


def test_an_unknown_kind_of_record_is_a_404(caller: httpx.Client) -> None:
    assert caller.get("/_sandbox/aiq/records/nothing").status_code == 404
    assert caller.get("/_sandbox/aiq/records/sales?limit=many").status_code == 400


def test_a_second_run_over_the_same_folder_meets_the_same_world(tmp_path: Path) -> None:
    for expected in (1, 1):
        with running_sandbox(tmp_path, vendors=("aiq",)) as sandbox:
            httpx.post(sandbox.url + SEND_SALE, json=SALE, headers={"x-apikey": "sandbox-aiq-key"})
            assert httpx.get(f"{sandbox.url}/_sandbox/aiq").json()["sales"] == expected
    with running_sandbox(tmp_path, vendors=("aiq",)) as sandbox:
        record = httpx.get(f"{sandbox.url}/_sandbox/aiq/records/sales").json()["records"][0]
    assert (record["key"], record["times_received"]) == ("R1", 2)


def test_an_empty_till_is_filled_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with running_sandbox(
        tmp_path, shop="made-up", receipts=60, progress=lambda n, total: seen.append((n, total))
    ) as sandbox:
        first = httpx.get(f"{sandbox.url}/_sandbox/square").json()
        assert httpx.get(f"{sandbox.url}/_sandbox/square/records/orders").status_code == 404
    assert first["all"]["receipts"] == 60
    assert seen[-1] == (60, 60)
    with running_sandbox(tmp_path, shop="made-up", receipts=90) as sandbox:
        assert httpx.get(f"{sandbox.url}/_sandbox/square").json() == first


def test_the_tills_answers_suffer_faults_without_a_form_of_their_own(tmp_path: Path) -> None:
    headers = {"authorization": "Bearer sandbox-square-token", "square-version": "2025-08-20"}
    with running_sandbox(tmp_path, vendors=("square",), shop="made-up", receipts=20) as sandbox:
        sandbox.add_fault("square", kind="missing_rows", count=2, times=1)
        sandbox.add_fault("square", kind="expired_token", times=1)
        sandbox.add_fault("square", kind="ok_with_failure", times=1)
        with httpx.Client(base_url=sandbox.url, headers=headers) as client:
            answers = [client.get("/square/v2/locations") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 200]
    assert len(answers[0].json()["locations"]) == len(answers[3].json()["locations"]) - 2
    assert answers[1].json()["errors"][0]["code"] == "ACCESS_TOKEN_EXPIRED"
    assert answers[2].json()["errors"][0]["category"] == "API_ERROR"


@pytest.mark.parametrize("shop", [Shop("castle"), Shop("online-retail")])
def test_a_shop_that_cannot_be_is_refused(tmp_path: Path, shop: Shop) -> None:
    with pytest.raises(ValueError, match="shop"):
        fill_shop([], shop, None)


def test_in_a_process_of_its_own_it_says_where_it_is_and_how_far_the_filling_is(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    told = io.StringIO()
    with redirect_stderr(told), start_sandbox_process(
        tmp_path, shop="made-up", receipts=30, progress=lambda n, total: seen.append((n, total))
    ) as process:  # fmt: skip
        report = httpx.get(f"{process.url}/_sandbox/square").json()
        assert process.sftp_port > 0
        assert process.sftp_host_key.startswith("ssh-ed25519 ")
    assert report["all"]["receipts"] == 30
    assert seen[-1] == (30, 30)
    assert told.getvalue() == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(process.url)


def test_a_process_that_cannot_start_is_reported_at_once(tmp_path: Path) -> None:
    told = io.StringIO()
    with redirect_stderr(told), pytest.raises(RuntimeError, match="ended before"):  # noqa: SIM117
        with start_sandbox_process(tmp_path, shop="castle"):
            pass
    assert "invalid choice" in told.getvalue()


def test_stand_ins_take_their_settings_by_vendor(tmp_path: Path) -> None:
    stand_ins = build_stand_ins(tmp_path, vendors=("aiq",), options={"aiq": {"rates": ((1, 60.0),)}})
    assert stand_ins[0].rates == ((1, 60.0),)
    stand_ins[0].close()
