"""Looking up at AIQ what may or may not have arrived, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from engage_pipelines.connector import Batch, Verdict
from engage_pipelines.destinations.aiq import INVENTORY, PERSONAS, SALES, Session
from engage_pipelines.errors import (
    ConfigError,
    ContractError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import RetryPolicy, VendorClient
from engage_pipelines.sandbox.aiq import AiqStandIn
from engage_pipelines.sandbox.server import Sandbox, running_app
from engage_pipelines_tests.destinations.test_aiq_calls import options, session
from engage_pipelines_tests.scripted_vendor import ScriptedVendor, scripted_vendor

PERSON = {
    "srcID": "sq:C1", "firstName": "Ada", "lastName": "Byron", "mobilePhone": "8881110000",
    "email": "Ada@example.com",
}  # fmt: skip


def sale(pos_id: str = "sq:T1", **changes: Any) -> dict[str, Any]:
    lines = [{"sku": "TEA", "name": "Tea", "price": 5.05, "discount": 0, "quantity": 2}]
    return {
        "pos_id": pos_id, "pos_user": "sq:C1", "sendNotification": 0,
        "transaction_date": "2026-10-14 09:00:00 +0100", "transaction_total": 10.10, "location": "Shop 1",
        "visit_details_attributes": lines, **changes,
    }  # fmt: skip


def batch(kind: str, *values: dict[str, Any]) -> Batch:
    return Batch("b1", tuple("k" * len(values)), tuple(json.dumps({kind: value}).encode() for value in values))


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Account:
    """The stand-in behind a real port, and a session at it."""

    def __init__(self, opened: Session, sandbox: Sandbox, clock: Clock) -> None:
        self.opened, self.sandbox, self.clock = opened, sandbox, clock

    def take(self, *people: dict[str, Any], sales: Sequence[dict[str, Any]] = ()) -> None:
        if people:
            PERSONAS.send(self.opened, batch("member", *people))
        for start in range(0, len(sales), 100):
            SALES.send(self.opened, batch("visit", *sales[start : start + 100]))
        self.clock.now += 100

    def personas(self, *people: dict[str, Any]) -> Sequence[Verdict]:
        assert PERSONAS.in_doubt.verify is not None
        return PERSONAS.in_doubt.verify(self.opened, batch("member", *people))

    def sales(self, *sales: dict[str, Any]) -> Sequence[Verdict]:
        assert SALES.in_doubt.verify is not None
        return SALES.in_doubt.verify(self.opened, batch("visit", *sales))


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    clock = Clock()
    stand_in = AiqStandIn(tmp_path, api_key="k-123", uid="1234", ingestion_delay=60, clock=clock)
    with running_app([stand_in], tmp_path) as sandbox:
        url, retry = f"{sandbox.url}/aiq", RetryPolicy(attempts=2, first_wait=0.0)
        with VendorClient("AIQ", url, headers={"x-apikey": "k-123"}, retry=retry) as client:
            yield Account(Session(client, options(base_url=url)), sandbox, clock)


# --- against the stand-in


def test_a_sale_is_there_once_aiq_shows_it_and_absent_before(account: Account) -> None:
    account.take(PERSON)
    assert account.sales(sale()) == ["absent"]
    account.take(sales=[sale()])
    assert account.sales(sale(), sale("sq:T2")) == ["there", "absent"]


def test_a_sale_that_is_queued_still_counts_as_absent_because_sending_it_again_replaces_it(account: Account) -> None:
    account.take(PERSON)
    SALES.send(account.opened, batch("visit", sale()))
    assert account.sales(sale()) == ["absent"]


def test_an_older_version_of_a_sale_is_not_what_was_sent(account: Account) -> None:
    account.take(PERSON, sales=[sale()])
    fewer = [{"sku": "TEA", "name": "Tea", "price": 5.05, "discount": 0, "quantity": 1}]
    assert account.sales(sale(transaction_total=10.11)) == ["absent"]
    assert account.sales(sale(visit_details_attributes=fewer)) == ["absent"]
    assert account.sales(sale(transaction_total=10.1)) == ["there"]


def test_a_sale_of_nobody_or_of_somebody_aiq_does_not_show_is_unknown(account: Account) -> None:
    account.take(sales=[sale(pos_user="anonymous"), sale("sq:T2")])
    calls = account.opened.client.calls
    assert account.sales(sale(pos_user="anonymous")) == ["unknown"]
    assert account.opened.client.calls == calls
    assert account.sales(sale("sq:T2")) == ["unknown"]


def test_a_customer_s_orders_are_read_once_for_all_sales(account: Account) -> None:
    sales = [sale(f"sq:T{number:04}") for number in range(150)]
    account.take(PERSON, sales=sales)
    calls = account.opened.client.calls
    assert account.sales(*sales) == ["there"] * 150
    assert account.opened.client.calls - calls == 2


def test_a_sale_is_found_at_a_persona_that_goes_by_another_till_s_key(account: Account) -> None:
    account.take(PERSON, PERSON | {"srcID": "sq:C2"}, sales=[sale(pos_user="sq:C2")])
    assert account.sales(sale(pos_user="sq:C2"), sale("sq:T2", pos_user="sq:C2")) == ["there", "unknown"]


def test_a_persona_is_there_only_with_everything_that_was_sent(account: Account) -> None:
    assert account.personas(PERSON) == ["absent"]
    account.take(PERSON | {"address": "1 Mill Lane"})
    assert account.personas(PERSON, PERSON | {"address": "1 Mill Lane"}) == ["there", "there"]
    changed: list[dict[str, Any]] = [
        {"lastName": "King"},
        {"address": "2 Mill Lane"},
        {"birthdate": "1990-02-03"},
        {"emailOptIn": False},
    ]
    assert account.personas(*(PERSON | change for change in changed)) == ["absent"] * 4


def test_a_persona_without_e_mail_is_found_by_phone(account: Account) -> None:
    by_phone = {"srcID": "sq:C3", "mobilePhone": "+35722123456"}
    account.take(by_phone)
    assert account.personas(by_phone, by_phone | {"mobilePhone": "+35722123457"}) == ["there", "absent"]


def test_a_persona_that_was_merged_with_another_cannot_be_told(account: Account) -> None:
    account.take(PERSON, PERSON | {"srcID": "sq:C2"})
    assert account.personas(PERSON | {"srcID": "sq:C2"}) == ["unknown"]


def test_faults_strike_look_ups_as_any_other_call(account: Account) -> None:
    account.take(PERSON, sales=[sale()])
    account.sandbox.add_fault("aiq", kind="throttle", route="GET .*piis", times=1)
    account.sandbox.add_fault("aiq", kind="reset_before", route="GET .*orders", times=1)
    assert account.sales(sale()) == ["there"]
    for kind, error in (("ok_with_failure", RetryableError), ("expired_token", CredentialsError),
                        ("broken_json", UnknownOutcomeError)):  # fmt: skip
        account.sandbox.clear_faults("aiq")
        account.sandbox.add_fault("aiq", kind=kind, route="GET ")
        with pytest.raises(error):
            account.sales(sale())


def test_stock_cannot_be_looked_up() -> None:
    assert INVENTORY.in_doubt.verify is None


# --- against answers prepared by hand


def page(*rows: Any, **more: Any) -> tuple[int, Any]:
    return 200, {"data": {"results": list(rows) or None, **more}, "errors": [], "success": True}


@contextmanager
def asked(stream: Any, sent: Batch, *answers: tuple[int, Any], **changes: Any) -> Iterator[tuple[ScriptedVendor, Any]]:
    with scripted_vendor(*answers) as vendor, session(vendor, **changes) as opened:
        yield vendor, stream.in_doubt.verify(opened, sent)


def query(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def test_the_calls_are_the_documented_ones() -> None:
    known = page({"contactID": "a/b", "srcID": "sq:C1"}, total=1)
    orders = page({"pos_id": "sq:T1", "transaction_total": 10.1}, total=1)
    with asked(SALES, batch("visit", sale()), known, orders) as (vendor, verdicts):
        assert verdicts == ["there"]
    assert [(call.method, urlsplit(call.path).path) for call in vendor.asked] == [
        ("GET", "/api/v1.1/piis/1234"), ("GET", "/api/v1.1/contact/orders/1234/a%2Fb"),
    ]  # fmt: skip
    assert query(vendor.asked[0].path) == {"start": "0", "limit": "100", "search": "srcID:sq:C1"}
    assert query(vendor.asked[1].path) == {"start": "0", "limit": "2000"}


@pytest.mark.parametrize("total", [{"total": 3}, {}])
def test_orders_are_read_page_by_page_to_the_end(total: dict[str, int]) -> None:
    known = page({"contactID": 7, "srcID": "sq:C1"})
    rows = [{"pos_id": str(number)} for number in range(2000)]
    pages = [page(*rows, **({"total": 2001} if total else {})), page({"visit": sale()}, **total)]
    with asked(SALES, batch("visit", sale()), known, *pages) as (vendor, verdicts):
        assert verdicts == ["there"]
    assert [query(call.path)["start"] for call in vendor.asked] == ["0", "0", "2000"]


def test_an_order_without_its_total_is_sent_again() -> None:
    known = page({"contactID": "p", "srcID": "sq:C1"}, total=1)
    with asked(SALES, batch("visit", sale()), known, page({"pos_id": "sq:T1"}, total=1)) as (_, verdicts):
        assert verdicts == ["absent"]


def test_totals_are_compared_to_the_last_digit() -> None:
    exact = b'{"visit":{"pos_id":"sq:T1","pos_user":"sq:C1","transaction_total":12345678901234.5678}}'
    known = page({"contactID": "p", "srcID": "sq:C1"}, total=1)
    for held, verdict in ((b"12345678901234.5678", "there"), (b"12345678901234.5679", "absent")):
        row = b'{"data":{"results":[{"pos_id":"sq:T1","transaction_total":%s}],"total":1}}' % held
        with asked(SALES, Batch("b", ("k",), (exact,)), known, (200, row)) as (_, verdicts):
            assert verdicts == [verdict]


def test_an_account_that_ignores_the_search_proves_nothing() -> None:
    others = [{"contactID": str(number), "srcID": f"sq:X{number}"} for number in range(3)]
    with asked(SALES, batch("visit", sale()), page(*others, total=3)) as (vendor, verdicts):
        assert verdicts == ["unknown"]
    assert len(vendor.asked) == 1
    own = {name: value for name, value in PERSON.items() if name != "email"}
    for found, verdict in (([*others, own], "absent"), ([own], "there"), (others, "unknown")):
        with asked(PERSONAS, batch("member", PERSON), page(*found)) as (_, verdicts):
            assert verdicts == [verdict]


def test_how_a_search_is_written_can_be_set() -> None:
    with asked(SALES, batch("visit", sale()), page(), source_id_search="") as (vendor, _):
        assert query(vendor.asked[0].path)["search"] == "sq:C1"
    by_phone = batch("member", {"srcID": "sq:C1", "mobilePhone": "+35722123456"})
    with asked(PERSONAS, by_phone, page(), phone_search="phone:") as (vendor, _):
        assert query(vendor.asked[0].path)["search"] == "phone:+35722123456"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, {}), ConfigError), ((200, b"{half"), UnknownOutcomeError),
        ((200, {"data": {"results": 7}}), ContractError),
        ((400, {"errors": [{"message": "ada@example.com Ada@example.com cannot be read"}]}), RejectedError),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_list_is_an_error_without_a_person_in_it(
    answer: tuple[int, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught, asked(PERSONAS, batch("member", PERSON), answer):
        pass
    assert "da@example" not in str(caught.value)
