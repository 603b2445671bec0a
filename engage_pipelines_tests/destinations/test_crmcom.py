"""CRM.COM: what a product looks like there, how its answers become outcomes, and how long a token lives."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.crmcom import CRMCOM, PRODUCTS, CrmComOptions, Session, connect
from engage_pipelines.errors import (
    ConfigError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Limits, RetryPolicy, VendorClient
from engage_pipelines_tests.destinations.core_rows import CoreRows, Row
from engage_pipelines_tests.destinations.scripted_vendor import ScriptedVendor, scripted_vendor

KEY = "EE73C0AE64524371B5DDEFF5F7BB2192"  # the vendor's own published example
START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def options(**changes: Any) -> CrmComOptions:
    return CrmComOptions(**{"base_url": "http://crm.example", **changes})


# --- products


def add_product(core: CoreRows, product_id: str = "sq:P1", **changes: Any) -> None:
    values: dict[str, Any] = {
        "product_id": product_id, "sku": "TEA-1", "name": "Green tea", "category": "Tea", "brand": "Leaf",
        "description": "Loose, \"first flush\"", "price_amount": "4.5", "is_active": True,
    }  # fmt: skip
    core.add("products", **(values | changes))


def rows(core: CoreRows, where: str = "true", **changes: Any) -> dict[str, Row]:
    return core.rows(CRMCOM, PRODUCTS, options(**changes), where)


def test_a_product_is_this_object_and_no_other() -> None:
    core = CoreRows()
    add_product(core)
    assert rows(core) == {
        "sq:P1": Row('{"code":"TEA-1","description":"Green tea","family_identifier":{"code":"Tea"}}', None, None)
    }


def test_brand_text_and_price_go_on_request() -> None:
    core = CoreRows()
    add_product(core)
    full = rows(core, send_brand=True, send_long_description=True, send_price=True, family_field="none")
    assert full["sq:P1"].payload == (
        '{"code":"TEA-1","description":"Green tea","long_description":"Loose, \\"first flush\\"",'
        '"brand_identifier":{"name":"Leaf"},'
        '"global_rate":{"rate_model":"QUANTITYBASED","global_base_amount":4.5000}}'
    )


def test_what_a_product_does_not_have_is_not_sent() -> None:
    core = CoreRows()
    add_product(core, category=" ", brand=None, description="", price_amount=None)
    payload = rows(core, send_brand=True, send_long_description=True, send_price=True)["sq:P1"].payload
    assert payload == '{"code":"TEA-1","description":"Green tea"}'


@pytest.mark.parametrize("sku", [None, "", "  "])
def test_a_product_without_a_sku_is_rejected(sku: str | None) -> None:
    core = CoreRows()
    add_product(core, sku=sku)
    assert rows(core)["sq:P1"].rejected_reason == "no sku"


def test_an_inactive_product_is_skipped_and_not_rejected_too() -> None:
    core = CoreRows()
    add_product(core, sku=None, is_active=False)
    row = rows(core)["sq:P1"]
    assert (row.skipped_reason, row.rejected_reason) == ("inactive", None)


def test_of_products_with_one_code_the_first_active_one_goes_whatever_is_selected() -> None:
    core = CoreRows()
    add_product(core, "sq:P0", is_active=False)
    add_product(core, "sq:P2", sku="tea-1")
    add_product(core, "sq:P3", sku=" TEA-1 ")
    add_product(core, "sq:P4", sku="OTHER")
    found = rows(core)
    assert {key: (row.skipped_reason, row.rejected_reason) for key, row in found.items()} == {
        "sq:P0": ("inactive", None),
        "sq:P2": (None, None),
        "sq:P3": (None, "duplicate code: same as sq:P2"),
        "sq:P4": (None, None),
    }
    assert rows(core, "product_id = 'sq:P3'") == {"sq:P3": found["sq:P3"]}


# --- the calls


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


# --- options


@pytest.mark.parametrize(
    "wrong",
    [{"base_url": ""}, {"family_field": "brand"}, {"timeout_seconds": 0}, {"definition": "x"},
     {"synchronisation_definition": ""}],
)  # fmt: skip
def test_a_wrong_option_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**wrong)


def test_the_address_of_the_installation_is_needed() -> None:
    with pytest.raises(ValidationError):
        CrmComOptions()
