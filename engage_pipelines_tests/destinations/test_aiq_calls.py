"""AIQ: which calls are made, and how their answers are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.aiq import (
    AIQ,
    INVENTORY,
    PERSONAS,
    SALES,
    AiqOptions,
    Session,
    connect,
)
from engage_pipelines.errors import (
    ConfigError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Limits, RetryPolicy, VendorClient
from engage_pipelines_tests.scripted_vendor import ScriptedVendor, scripted_vendor

OK: tuple[int, Any] = (200, {"data": None, "errors": [], "code": 200, "success": True})


def options(**changes: Any) -> AiqOptions:
    return AiqOptions(**{"uid": "1234", **changes})


@contextmanager
def session(vendor: ScriptedVendor, **changes: Any) -> Iterator[Session]:
    client = VendorClient("AIQ", vendor.url, headers={"x-apikey": "k-123"}, retry=RetryPolicy(attempts=1))
    with client:
        yield Session(client, options(base_url=vendor.url, **changes))


def batch(*payloads: bytes) -> Batch:
    return Batch("b1", tuple(f"key{number}" for number in range(len(payloads))), payloads)


SALE = b'{"visit":{"pos_id":"1"}}'
PERSONA = b'{"member":{"srcID":"c1","firstName":"Ada","email":"ada@example.com","mobilePhone":"8881110000"}}'


def send(
    stream: Any, payloads: Sequence[bytes], *answers: tuple[int, Any], **changes: Any
) -> tuple[ScriptedVendor, Sequence[Outcome]]:
    with scripted_vendor(*answers) as vendor, session(vendor, **changes) as opened:
        return vendor, stream.send(opened, batch(*payloads))


def test_a_session_sends_the_key_and_shows_it_nowhere() -> None:
    with scripted_vendor(OK, (401, {})) as vendor:
        opened = connect(options(base_url=vendor.url), {"AIQ_API_KEY": "k-123"}, Limits())
        with opened.client:
            SALES.send(opened, batch(SALE))
            with pytest.raises(CredentialsError) as caught:
                SALES.send(opened, batch(SALE))
    assert [call.headers["x-apikey"] for call in vendor.asked] == ["k-123", "k-123"]
    assert "k-123" not in f"{caught.value} {opened!r}"


def test_one_sale_goes_by_the_single_call() -> None:
    vendor, outcomes = send(SALES, [SALE], OK)
    assert [(call.path, call.body) for call in vendor.asked] == [("/api/v1.1/createUpdateSale/1234", SALE)]
    assert outcomes == [Outcome("accepted")]


def test_several_sales_go_by_the_bulk_call_each_as_a_whole_body() -> None:
    vendor, outcomes = send(SALES, [SALE, SALE], OK)
    assert vendor.asked[0].path == "/api/v1.1/createUpdateSales/1234"
    assert vendor.asked[0].json() == [{"visit": {"pos_id": "1"}}] * 2
    assert outcomes == [Outcome("accepted")] * 2


def test_the_elements_of_a_bulk_call_can_be_bare() -> None:
    sales, _ = send(SALES, [SALE, SALE], OK, bulk_envelope=False)
    personas, _ = send(PERSONAS, [PERSONA], OK, bulk_envelope=False)
    assert sales.asked[0].json() == [{"pos_id": "1"}] * 2
    assert personas.asked[0].json()[0]["srcID"] == "c1"


def test_personas_and_stock_go_as_arrays() -> None:
    personas, accepted = send(PERSONAS, [PERSONA], OK)
    stock, _ = send(INVENTORY, [b'{"sku":"a"}', b'{"sku":"b"}'], OK)
    assert (personas.asked[0].path, personas.asked[0].json()) == (
        "/api/v1.1/createUpdateMembers/1234", [json.loads(PERSONA)],
    )  # fmt: skip
    assert (stock.asked[0].path, stock.asked[0].json()) == (
        "/api/v1.1/createUpdateInventory/1234", [{"sku": "a"}, {"sku": "b"}],
    )  # fmt: skip
    assert accepted == [Outcome("accepted")]


def test_the_account_id_cannot_leave_its_place_in_the_path() -> None:
    vendor, _ = send(SALES, [SALE], OK, uid="12/34?x", api_path="api")
    assert vendor.asked[0].path == "/api/createUpdateSale/12%2F34%3Fx"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"success": False, "errors": []}), RejectedError),
        ((200, {"success": True, "errors": [{"message": "no", "code": 17}]}), RejectedError),
        ((200, {"errors": ["no"]}), RejectedError),
        ((400, {"errors": [{"message": "bad date"}], "success": False}), RejectedError),
        ((422, b"<html>"), RejectedError),
        ((200, {"success": False, "errors": [{"message": "busy", "code": 503}]}), RetryableError),
        ((200, {"success": False, "code": 429}), RetryableError),
        ((200, {"success": False, "errors": [{"code": 401}]}), CredentialsError),
        ((403, {}), CredentialsError),
        ((404, {"errors": [{"message": "not found"}]}), ConfigError),
        ((200, b"{half"), UnknownOutcomeError),
        ((200, []), UnknownOutcomeError),
        ((503, {}), RetryableError),
    ],
)
def test_an_answer_that_is_no_yes_becomes_the_error_that_says_what_to_do(
    answer: tuple[int, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        send(SALES, [SALE, SALE], answer)


@pytest.mark.parametrize("body", [{}, {"data": 1}, {"success": True, "errors": None}, {"errors": []}])
def test_a_2xx_without_errors_is_a_yes(body: Any) -> None:
    assert send(SALES, [SALE], (202, body))[1] == [Outcome("accepted")]


def test_a_refusal_carries_the_vendor_s_code_and_words() -> None:
    refused = (200, {"success": False, "errors": [{"message": "date unreadable", "code": "E17"}]})
    with pytest.raises(RejectedError, match="code E17: date unreadable") as caught:
        send(SALES, [SALE], refused)
    assert caught.value.vendor_code == "E17"


def test_a_refusal_never_repeats_who_the_customer_is() -> None:
    words = "Ada <ada@example.com> (888) 111-0000 8881110000 cannot be read " + "x" * 300
    with pytest.raises(RejectedError) as caught:
        send(PERSONAS, [PERSONA], (400, {"errors": [{"message": words}], "success": False}))
    told = str(caught.value)
    assert "cannot be read" in told
    assert not [part for part in ("Ada", "ada@", "888") if part in told]
    assert len(told) < 300


# --- the declaration


def test_the_streams_run_customers_first_and_stock_last() -> None:
    assert [(stream.name, stream.after) for stream in AIQ.streams] == [
        ("personas", ()), ("sales", ("personas",)), ("inventory", ("sales",)),
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"uid": ""}, {"pos_type": "shop"}, {"tips": True}])
def test_a_wrong_option_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**wrong)
