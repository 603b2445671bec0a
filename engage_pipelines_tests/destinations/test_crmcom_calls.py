"""CRM.COM: which calls are made, how their answers become outcomes, and how long a token lives."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.crmcom import PRODUCTS, CrmComOptions, Session, connect
from engage_pipelines.errors import (
    ConfigError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Limits, RetryPolicy, VendorClient
from engage_pipelines_tests.scripted_vendor import ScriptedVendor, scripted_vendor

KEY = "EE73C0AE64524371B5DDEFF5F7BB2192"  # the vendor's own published example
START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)

KEY = "EE73C0AE64524371B5DDEFF5F7BB2192"  # the vendor's own published example
START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def options(**changes: Any) -> CrmComOptions:
    return CrmComOptions(**{"base_url": "http://crm.example", **changes})


def jwt(claims: dict[str, Any]) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{part}.c2lnbmF0dXJl"


def ok(data: Any = None) -> tuple[int, Any]:
    return 200, {"status": {"code": "OK", "message": None, "description": ""}, "data": data}


def no(code: Any, message: str = "", status: int = 200) -> tuple[int, Any]:
    return status, {"status": {"code": code, "message": message, "description": None}}


def token(value: str = "opaque-1") -> tuple[int, Any]:
    return ok({"token": value})


def both(processed: list[Any], unprocessed: list[Any]) -> tuple[int, Any]:
    return ok({"processed_products_set": processed, "unprocessed_products_set": unprocessed})


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@contextmanager
def session(vendor: ScriptedVendor, clock: Clock | None = None, **changes: Any) -> Iterator[Session]:
    with VendorClient("CRM.COM", vendor.url, retry=RetryPolicy(attempts=1)) as client:
        yield Session(client, options(**changes), KEY, now=clock or Clock())


def batch(*codes: str) -> Batch:
    return Batch("b1", codes, tuple(json.dumps({"code": code}).encode() for code in codes))


def send(codes: list[str], *answers: tuple[int, Any], **changes: Any) -> list[Outcome]:
    with scripted_vendor(token(), *answers) as vendor, session(vendor, **changes) as opened:
        return list(PRODUCTS.send(opened, batch(*codes)))


def methods(vendor: ScriptedVendor) -> list[str]:
    return [call.path.rpartition("/")[2] for call in vendor.asked]


def test_the_first_batch_fetches_a_token_and_sends_it_in_the_body() -> None:
    with scripted_vendor(token(), both([{"request_code": "A"}, {"request_code": "B"}], [])) as vendor:
        opened = connect(options(base_url=vendor.url), {"CRMCOM_WEB_API_KEY": KEY}, Limits())
        with opened.client:
            outcomes = PRODUCTS.send(opened, batch("A", "B"))
    login, sync = vendor.asked
    assert login.path == "/crmapi/rest/v2/authentication/web_api_key/token"
    assert login.headers["authorization"] == "Basic RUU3M0MwQUU2NDUyNDM3MUI1RERFRkY1RjdCQjIxOTI6"
    assert login.json() == {}
    assert sync.path == "/crmapi/rest/v2/products/synchronise"
    assert "authorization" not in sync.headers
    assert sync.json() == {
        "token": "opaque-1",
        "synchronisation_definition_identifier": {"alternative_code": "Product_Sync"},
        "fields_set": "processed_products_set,unprocessed_products_set",
        "products_set": [{"code": "A"}, {"code": "B"}],
    }
    assert outcomes == [Outcome("delivered"), Outcome("delivered")]


def test_the_unit_to_log_in_to_is_sent_where_it_is_set() -> None:
    with scripted_vendor(token(), both([], [])) as vendor, session(vendor, unit="U1") as opened:
        PRODUCTS.send(opened, batch("A"))
    assert vendor.asked[0].json() == {"unit": "U1"}


def test_every_product_gets_the_outcome_of_its_own_row() -> None:
    answer = both(
        [{"request_code": "A", "id": "9F", "message": ""}, {"request_code": "b", "message": "brand not updated"}],
        [{"request_code": "C", "error_code": "E7", "error_description": "unknown family"}],
    )
    assert send(["C", "A", "B", "D"], answer) == [
        Outcome("rejected", "unknown family", vendor_code="E7"),
        Outcome("delivered", vendor_id="9F"),
        Outcome("delivered", "brand not updated"),
        Outcome("pending", "missing from the answer"),
    ]


def test_a_code_is_compared_as_it_is_before_its_case_is_ignored() -> None:
    answer = both([{"request_code": "a"}], [{"request_code": "A", "error_code": 7}])
    assert send(["a", "A"], answer) == [
        Outcome("delivered"), Outcome("rejected", "no reason given", vendor_code="7"),
    ]  # fmt: skip


def test_a_product_in_both_sets_counts_as_refused() -> None:
    answer = both([{"request_code": "A"}], [{"request_code": "A", "error_code": "E1", "error_description": "no"}])
    assert [outcome.state for outcome in send(["A"], answer)] == ["rejected"]


def test_a_product_that_is_there_already_is_delivered_where_that_code_is_set() -> None:
    answer = both([], [{"request_code": "A", "error_code": "EXISTS", "error_description": "exists already"}])
    assert send(["A"], answer)[0].state == "rejected"
    assert send(["A"], answer, already_exists_codes=("EXISTS",)) == [
        Outcome("delivered", "exists already", vendor_code="EXISTS")
    ]


def test_before_release_17_a_message_is_not_read() -> None:
    answer = both([{"request_code": "A", "message": "whatever"}], [])
    assert send(["A"], answer, release_17=False) == [Outcome("delivered")]


def test_a_reason_is_short_and_shows_no_address_or_token() -> None:
    words = "Bearer abcdefghijk of ada@example.com " + "x" * 300
    answer = both([], [{"request_code": "A", "error_code": "E", "error_description": words}])
    reason = send(["A"], answer)[0].reason or ""
    assert "ada@" not in reason
    assert "abcdefghijk" not in reason
    assert len(reason) == 200


@pytest.mark.parametrize(
    "data",
    [None, {}, {"processed_products_set": None, "unprocessed_products_set": None}],
)
def test_an_ok_without_results_leaves_the_products_for_later(data: Any) -> None:
    assert send(["A"], ok(data)) == [Outcome("pending", "missing from the answer")]


def test_ok_is_ok_in_any_case_of_letters_and_with_a_message() -> None:
    taken = (200, {"status": {"code": "Ok", "message": "done"}, "data": {"processed_products_set": [
        {"request_code": "A"}]}})  # fmt: skip
    assert send(["A"], taken) == [Outcome("delivered")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (no("ERROR", "too many products"), RejectedError),
        (no("ERROR", "bad product list", status=400), RejectedError),
        ((400, b"<html>"), RejectedError),
        (no("NOT_FOUND", "no such synchronisation definition"), ConfigError),
        ((404, b"<html>"), ConfigError),
        ((403, {}), CredentialsError),
        ((503, {}), RetryableError),
        ((200, b"{half"), UnknownOutcomeError),
        ((200, {"data": {}}), UnknownOutcomeError),
        (both([17], []), UnknownOutcomeError),
    ],
)
def test_an_answer_that_is_no_yes_becomes_the_error_that_says_what_to_do(
    answer: tuple[int, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        send(["A"], answer)


def test_a_refused_call_names_the_code_and_hides_the_token() -> None:
    with pytest.raises(RejectedError, match="code E5: too many") as caught:
        send(["A"], no("E5", "too many products for opaque-1"))
    assert caught.value.vendor_code == "E5"
    assert "opaque-1" not in str(caught.value)


# --- the life of a token


@pytest.mark.parametrize(
    ("value", "life"),
    [
        ("opaque", timedelta(hours=2)),
        (jwt({"exp": str(int(START.timestamp()) + 3600)}), timedelta(hours=1)),
        (jwt({"exp": int(START.timestamp()) + 3600}), timedelta(hours=1)),
        (jwt({"exp": "soon"}), timedelta(hours=2)),
        (jwt({"iat": 1}), timedelta(hours=2)),
        ("not.base64!.x", timedelta(hours=2)),
        ("a.b.c.d", timedelta(hours=2)),
    ],
)
def test_a_token_is_renewed_five_minutes_before_its_end_and_not_earlier(value: str, life: timedelta) -> None:
    clock = Clock()
    done = both([], [])
    with scripted_vendor(token(value), done, done, token("next"), done) as vendor, session(vendor, clock) as opened:
        PRODUCTS.send(opened, batch("A"))
        clock.time = START + life - timedelta(minutes=5, seconds=1)
        PRODUCTS.send(opened, batch("A"))
        clock.time += timedelta(seconds=1)
        PRODUCTS.send(opened, batch("A"))
    assert methods(vendor) == ["token", "synchronise", "synchronise", "token", "synchronise"]
    assert vendor.asked[-1].json()["token"] == "next"


@pytest.mark.parametrize(
    "refusal",
    [
        no("INVALID_TOKEN"),
        no("E1", "The token has expired"),
        no("E1", "Session not found", status=400),
        no("E1", status=401),
        (401, b""),
    ],
)
def test_a_refused_token_is_renewed_once_and_the_call_repeated_once(refusal: tuple[int, Any]) -> None:
    script = (token("old"), refusal, token("new"), both([{"request_code": "A"}], []))
    with scripted_vendor(*script) as vendor, session(vendor) as opened:
        outcomes = PRODUCTS.send(opened, batch("A"))
    assert methods(vendor) == ["token", "synchronise", "token", "synchronise"]
    assert [call.json().get("token") for call in vendor.asked] == [None, "old", None, "new"]
    assert outcomes == [Outcome("delivered")]


def test_a_token_refused_twice_is_a_matter_for_a_person() -> None:
    refused = no("INVALID_TOKEN", "token opaque-1 is unknown")
    script = (token(), refused, token("opaque-2"), refused)
    with scripted_vendor(*script) as vendor, session(vendor) as opened, pytest.raises(CredentialsError) as caught:
        PRODUCTS.send(opened, batch("A"))
    assert methods(vendor) == ["token", "synchronise"] * 2
    assert "opaque" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (no("E1", f"key {KEY} is blocked"), CredentialsError),
        (no("E1", status=401), CredentialsError),
        ((403, {}), CredentialsError),
        ((400, b"what"), CredentialsError),
        (ok({}), CredentialsError),
        ((404, b""), ConfigError),
        ((200, b"<html>"), RetryableError),
        ((502, b""), RetryableError),
    ],
)
def test_without_a_token_no_product_is_sent_and_the_key_is_not_shown(
    answer: tuple[int, Any], error: type[Exception]
) -> None:
    with scripted_vendor(answer) as vendor, session(vendor) as opened, pytest.raises(error) as caught:
        PRODUCTS.send(opened, batch("A"))
    assert methods(vendor) == ["token"]
    assert KEY not in str(caught.value)


def test_threads_that_start_together_share_one_token() -> None:
    with scripted_vendor(token(), both([{"request_code": "A"}], [])) as vendor, session(vendor) as opened:
        threads = [threading.Thread(target=PRODUCTS.send, args=(opened, batch("A"))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(methods(vendor)) == ["synchronise"] * 6 + ["token"]
