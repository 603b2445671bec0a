"""One call, made well: retries, time-outs, connections, and what each answer becomes."""

from __future__ import annotations

import gc
import gzip
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Literal

import httpx
import msgspec
import pytest

from engage_pipelines.errors import (
    ContractError,
    CredentialsError,
    EngageError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Answer, Limits, Rate, RetryPolicy, VendorClient
from engage_pipelines.http_client.client import vendor_code
from engage_pipelines_tests.fake_clock import FakeClock
from engage_pipelines_tests.http_client.conftest import KEY, POLICY, Serve
from engage_pipelines_tests.scripted_vendor import HANG_UP, SAY_NOTHING, Script, scripted_vendor


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_an_answer_has_status_headers_and_body(serve: Serve) -> None:
    vendor = serve((200, {"a": 1}, {"X-Page": "2"}))
    answer = vendor.client.call("GET", "/v1/things", params={"limit": 5})
    assert (answer.status, answer.headers["x-page"], answer.json()) == (200, "2", {"a": 1})
    assert vendor.scripted.asked[0].path == "/v1/things?limit=5"


def test_every_call_says_who_calls_and_carries_the_accounts_headers(serve: Serve) -> None:
    vendor = serve((200, {}))
    vendor.client.call("POST", "x", json={"a": "é"}, headers={"Idempotency-Key": "k1"})
    asked = vendor.scripted.asked[0]
    assert asked.headers["user-agent"].startswith("EngagePipelines/")
    assert (asked.headers["apikey"], asked.headers["idempotency-key"]) == (KEY, "k1")
    assert (asked.headers["content-type"], asked.body) == ("application/json", '{"a":"é"}'.encode())


def test_bytes_are_sent_as_they_are(serve: Serve) -> None:
    vendor = serve((200, {}))
    vendor.client.call("POST", "x", content=b'[ {"a":1.10} ]')
    assert vendor.scripted.asked[0].body == b'[ {"a":1.10} ]'


def test_an_answer_is_let_go_of_with_its_last_user_and_not_when_the_collector_comes_by(serve: Serve) -> None:
    def held() -> int:
        return sum(isinstance(each, httpx.Response | httpx.Request) for each in gc.get_objects())

    vendor = serve((200, "7" * 1_000_000))
    gc.collect()
    gc.disable()
    try:
        before = held()
        for _ in range(3):
            vendor.client.call("POST", "orders", json={"page": 1})
        assert held() == before
    finally:
        gc.enable()


def test_many_calls_use_one_connection(serve: Serve) -> None:
    vendor = serve((200, {}))
    for _ in range(50):
        vendor.client.call("GET", "x")
    assert len(vendor.scripted.callers) == 1


def test_threads_use_no_more_connections_than_calls_in_flight(serve: Serve) -> None:
    vendor = serve((200, {}), limits=Limits(in_flight=3))
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: vendor.client.call("GET", "x"), range(120)))
    assert len(vendor.scripted.callers) <= 3
    assert vendor.client.calls == 120


def test_a_path_never_leaves_the_base_address(serve: Serve) -> None:
    with scripted_vendor((200, {})) as scripted, VendorClient("v", f"{scripted.url}/api/") as client:
        client.call("GET", "/v3/x")
        assert scripted.asked[0].path == "/api/v3/x"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_a_passing_trouble_is_tried_again(serve: Serve, status: int) -> None:
    vendor = serve((status, b""), (status, b""), (200, {"ok": True}))
    assert vendor.client.call("GET", "x").json() == {"ok": True}
    assert vendor.clock.naps == [1.0, 2.0]
    assert vendor.client.calls == 3


def test_a_lasting_trouble_ends_as_retryable_after_all_tries(serve: Serve) -> None:
    vendor = serve((503, b"down"))
    with pytest.raises(RetryableError, match=r"^acme: GET x: status 503 after 4 tries$") as raised:
        vendor.client.call("GET", "x")
    assert raised.value.retry_at is None
    assert vendor.client.calls == 4


def test_a_hang_up_is_tried_again(serve: Serve) -> None:
    vendor = serve(HANG_UP, (200, {}))
    assert vendor.client.call("GET", "x").status == 200


def test_a_vendor_that_never_answers_times_out(serve: Serve) -> None:
    vendor = serve(SAY_NOTHING, timeout=0.05, retry=RetryPolicy(attempts=2))
    with pytest.raises(RetryableError, match=r"ReadTimeout after 2 tries"):
        vendor.client.call("GET", "x")


def test_one_call_may_have_a_time_out_of_its_own(serve: Serve) -> None:
    vendor = serve(SAY_NOTHING, timeout=3600, retry=RetryPolicy(attempts=1))
    with pytest.raises(RetryableError, match="ReadTimeout after 1 try"):
        vendor.client.call("GET", "x", timeout=0.05)


def test_an_answer_that_cannot_be_unpacked_is_no_answer(serve: Serve) -> None:
    broken = (200, gzip.compress(b"{}")[:-9] + b"xxxxxxxxx", {"content-encoding": "gzip"})
    vendor = serve(broken, (200, {}))
    assert vendor.client.call("GET", "x").status == 200
    with pytest.raises(UnknownOutcomeError):
        serve(broken).client.call("POST", "x", repeatable=False)


@pytest.mark.parametrize("wish", ["20", "Fri, 20 Nov 2026 02:00:20 GMT"])
def test_the_vendors_wish_to_wait_is_obeyed_in_full_by_everybody(serve: Serve, wish: str) -> None:
    vendor = serve((429, b"", {"Retry-After": wish}), (200, {}), limits=Limits(rates=(Rate(100, 1.0),)))
    vendor.client.call("GET", "x")
    assert vendor.clock.seconds == 20.0
    vendor.client.pacer.pause(5)
    vendor.client.call("GET", "y")
    assert vendor.clock.seconds == 25.0


def test_an_unreadable_wish_falls_back_to_the_usual_wait(serve: Serve) -> None:
    vendor = serve((429, b"", {"Retry-After": "in a while"}), (200, {}))
    vendor.client.call("GET", "x")
    assert vendor.clock.naps == [1.0]


def test_a_wish_of_twenty_minutes_is_not_waited_for_but_handed_on_and_kept(serve: Serve) -> None:
    vendor = serve((429, b"", {"Retry-After": "1200"}), (200, {}))
    with pytest.raises(RetryableError, match=r"after 1 try; the vendor asks to come back at 2026") as raised:
        vendor.client.call("GET", "x")
    assert raised.value.retry_at == vendor.clock.now() + timedelta(minutes=20)
    vendor.clock.seconds += 500
    with pytest.raises(RetryableError, match="asked to be left alone until"):
        vendor.client.call("GET", "x")
    assert (vendor.clock.naps, vendor.client.calls) == ([], 1)
    vendor.clock.seconds += 300
    assert vendor.client.call("GET", "x").status == 200
    assert vendor.clock.naps == [400.0]


def test_an_absurd_wish_does_no_harm(serve: Serve) -> None:
    with pytest.raises(RetryableError, match="come back at 2027"):
        serve((429, b"", {"Retry-After": "9" * 30})).client.call("GET", "x")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RejectedError), (404, RejectedError), (409, RejectedError), (413, RejectedError), (422, RejectedError),
        (401, CredentialsError), (403, CredentialsError), (301, ContractError), (304, ContractError),
        (501, ContractError), (505, ContractError),
    ],
)  # fmt: skip
def test_a_status_becomes_the_error_that_says_what_to_do_and_is_not_tried_again(
    serve: Serve, status: int, error: type[EngageError]
) -> None:
    vendor = serve((status, b"", {"Location": "/elsewhere"}))
    with pytest.raises(error, match=str(status)):
        vendor.client.call("GET", "x")
    assert vendor.client.calls == 1


def test_an_expected_status_is_an_answer(serve: Serve) -> None:
    vendor = serve((404, {"code": "NotThere"}), (503, b""), (200, {}))
    assert vendor.client.call("GET", "x", expect={404}).status == 404
    assert vendor.client.call("GET", "x", expect={503}).status == 503


@pytest.mark.parametrize("script", [HANG_UP, (500, b""), (502, b""), (504, b"")])
def test_a_call_that_must_not_happen_twice_is_not_repeated_when_it_may_have_happened(
    serve: Serve, script: Script
) -> None:
    vendor = serve(script, (200, {}))
    with pytest.raises(UnknownOutcomeError, match=r"^acme: POST x: "):
        vendor.client.call("POST", "x", repeatable=False)
    assert vendor.client.calls == 1


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_a_call_that_must_not_happen_twice_is_repeated_when_it_surely_did_not_happen(serve: Serve, status: int) -> None:
    assert serve((status, b""), (200, {})).client.call("POST", "x", repeatable=False).status == 200


def test_a_vendor_that_cannot_be_reached_leaves_no_doubt() -> None:
    clock = FakeClock()
    with (
        VendorClient("acme", f"http://127.0.0.1:{unused_port()}", retry=POLICY, sleep=clock.sleep) as client,
        pytest.raises(RetryableError, match="ConnectError after 4 tries"),
    ):
        client.call("POST", "x", repeatable=False)


def test_a_body_that_is_no_json_breaks_the_contract(serve: Serve) -> None:
    vendor = serve((200, b"<html>jane@example.com</html>"))
    with pytest.raises(ContractError, match="status 200 is not the documented JSON") as raised:
        vendor.client.call("GET", "x").json()
    assert "jane" not in str(raised.value)


class Shape(msgspec.Struct):
    state: Literal["open", "closed"]
    count: int = 0


@pytest.mark.parametrize(
    "body", [b'{"state":"Jane Doe"}', b'{"state":"it is \'Jane\'"}', b'{"state":"open","count":"Jane"}', b"\xff\xfe"]
)
def test_a_body_of_another_shape_breaks_the_contract_and_is_not_quoted(body: bytes) -> None:
    with pytest.raises(ContractError) as raised:
        Answer(200, {}, body).json(Shape)
    assert "Jane" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"code": "E1"}, "E1"), ({"errorCode": 17}, "17"), ({"error_code": "X_Y"}, "X_Y"),
        ({"status": {"code": "NOK"}}, "NOK"), ({"error": {"code": "E2"}}, "E2"),
        ({"errors": [{"field": "a"}, {"code": "E3"}]}, "E3"), ({"errors": {"code": "E4"}}, "E4"),
        ({"errors": {"email": ["taken"]}}, None), ({"errors": ["bad", "worse"]}, None), ({"errors": "bad"}, None),
        ({"errors": 5}, None), ({"errors": True}, None), ({"code": True}, None), ({"code": None}, None),
        ({"code": "the customer Jane Doe is unknown"}, None), ({"code": "jane@example.com"}, None),
        ({"code": "x" * 61}, None),
        ([1, 2], None), ("text", None), (None, None),
    ],
)  # fmt: skip
def test_the_vendors_code_is_found_in_the_usual_envelopes_and_free_text_is_left(body: Any, code: str | None) -> None:
    assert vendor_code(msgspec.json.encode(body)) == code


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b'{"code":'])
def test_a_refusal_without_json_has_no_code(content: bytes) -> None:
    assert vendor_code(content) is None


def test_a_refusal_carries_the_code_and_never_the_body(serve: Serve) -> None:
    vendor = serve((422, {"errors": [{"code": "BadPhone", "detail": "Jane Doe has no phone +447700900123"}]}))
    with pytest.raises(RejectedError, match=r"^acme: POST x: refused with 422 BadPhone$") as raised:
        vendor.client.call("POST", "x", content=b'{"name":"Jane"}')
    assert raised.value.vendor_code == "BadPhone"


def test_errors_and_log_lines_carry_no_key_and_no_person(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    vendor = serve((500, b"Jane"))
    path = f"contacts/jane@example.com/%2B447700900123/{KEY}"
    with pytest.raises(RetryableError) as raised:
        vendor.client.call("POST", path, params={"email": "jane@example.com", "apikey": KEY}, json={"name": "Jane"})
    told = f"{raised.value}\n{caplog.text}"
    assert "acme: POST contacts/" in told
    assert "try 2 in 1.0 s" in caplog.text
    for secret in ("jane", "Jane", "447700900123", KEY):
        assert secret not in told
