"""Who listens to a client learns what a batch caused, and nothing about whom it was."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, astuple

import pytest

from engage_pipelines.errors import EngageError, RejectedError
from engage_pipelines.http_client import Exchange, Limits
from engage_pipelines_tests.http_client.conftest import KEY, Serve
from engage_pipelines_tests.scripted_vendor import HANG_UP


def test_every_try_is_heard_in_order(serve: Serve) -> None:
    vendor = serve((503, b"", {"X-Request-Id": "a-1"}), HANG_UP, (200, {}, {"x-correlation-id": "a-3"}))
    with vendor.client.listening() as heard:
        vendor.client.call("POST", "v1/things", params={"page": 2}, json={"name": "Jane"})
    assert heard == [
        Exchange("POST", "v1/things", 503, None, "a-1", 0.0),
        Exchange("POST", "v1/things", None, "RemoteProtocolError", None, 0.0),
        Exchange("POST", "v1/things", 200, None, "a-3", 0.0),
    ]
    with pytest.raises(FrozenInstanceError):
        heard[0].status = 200  # type: ignore[misc]


def test_it_is_heard_too_when_the_call_fails(serve: Serve) -> None:
    vendor = serve((422, {"code": "E1"}, {"request-id": "r"}))
    with vendor.client.listening() as heard, pytest.raises(RejectedError):
        vendor.client.call("PUT", "x")
    assert [(each.method, each.status, each.request_id) for each in heard] == [("PUT", 422, "r")]


def test_what_comes_before_and_after_is_not_heard(serve: Serve) -> None:
    vendor = serve((200, {}))
    vendor.client.call("GET", "before")
    with vendor.client.listening() as heard:
        vendor.client.call("GET", "now")
    vendor.client.call("GET", "after")
    assert [each.path for each in heard] == ["now"]


def test_each_thread_hears_its_own_calls_only(serve: Serve) -> None:
    vendor = serve((200, {}), limits=Limits(in_flight=4))
    gate = threading.Barrier(4, timeout=10)

    def batch(name: int) -> list[str]:
        with vendor.client.listening() as heard:
            for number in range(5):
                gate.wait()
                vendor.client.call("GET", f"{name}/{number}")
        return [each.path for each in heard]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(batch, range(4))) == [[f"{name}/{number}" for number in range(5)] for name in range(4)]


def test_another_client_in_the_same_thread_is_not_heard(serve: Serve) -> None:
    till, platform = serve((200, {})), serve((200, {}))
    with till.client.listening() as from_till, platform.client.listening() as from_platform:
        till.client.call("GET", "till")
        platform.client.call("GET", "platform")
    assert [[each.path for each in heard] for heard in (from_till, from_platform)] == [["till"], ["platform"]]


def test_who_listens_around_a_listener_hears_everything(serve: Serve) -> None:
    vendor = serve((200, {}))
    with vendor.client.listening() as outer:
        vendor.client.call("GET", "first")
        with vendor.client.listening() as inner:
            vendor.client.call("GET", "second")
    assert ([each.path for each in outer], [each.path for each in inner]) == (["first", "second"], ["second"])


@pytest.mark.parametrize("request_id", ["jane@example.com", f"id {KEY}", "+447700900123", "x" * 500, "Bearer abcdefgh"])
def test_nothing_that_is_heard_names_a_person_or_a_key(serve: Serve, request_id: str) -> None:
    vendor = serve((200, {"name": "Jane"}, {"X-Request-Id": request_id}))
    path = f"contacts/jane@example.com/%2B447700900123/{KEY}?email=jane@example.com&apikey={KEY}"
    with vendor.client.listening() as heard:
        vendor.client.call("POST", path, params={"email": "jane@example.com"}, json={"name": "Jane"})
    told = str([astuple(each) for each in heard])
    for secret in ("jane", "Jane", "447700900123", KEY, "?", "abcdefgh"):
        assert secret not in told
    assert len(heard[0].request_id or "") <= 64


def test_a_call_that_was_not_tried_is_not_heard(serve: Serve) -> None:
    vendor = serve((200, {}))
    vendor.client.pacer.pause(80_000)
    with vendor.client.listening() as heard, pytest.raises(EngageError):
        vendor.client.call("GET", "x")
    assert heard == []
