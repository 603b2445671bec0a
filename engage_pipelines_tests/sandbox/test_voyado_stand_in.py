"""The stand-in for Voyado Engage keeps the contract of the API."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage_pipelines_tests.sandbox.voyado_world import (
    V2,
    V3,
    Clock,
    Tenant,
    receipt,
    returned,
    tenant,
)


@pytest.fixture
def voyado(tmp_path: Path) -> Iterator[Tenant]:
    with tenant(tmp_path) as served:
        yield served


def name_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errorCode"]


@pytest.mark.parametrize(
    "headers",
    [
        {"apikey": "sandbox-voyado-key", "User-Agent": "Tests/1.0"},
        {"apikey": "sandbox-voyado-key", "User-Agent": "Tests/1.0", "Content-Type": "text/plain"},
        {"apikey": "sandbox-voyado-key", "User-Agent": "Tests", "Content-Type": "application/json"},
        {"apikey": "sandbox-voyado-key", "User-Agent": "", "Content-Type": "application/json"},
    ],
)
def test_a_missing_header_is_a_500_that_explains_nothing(voyado: Tenant, headers: dict[str, str]) -> None:
    answer = httpx.get(voyado.sandbox.url + f"{V3}/stores", headers=headers)
    assert (answer.status_code, answer.text) == (500, "An error has occurred")


def test_a_wrong_key_is_a_401(voyado: Tenant) -> None:
    assert voyado.api.get(f"{V3}/stores", headers={"apikey": "no"}).status_code == 401


def test_the_limit_is_answered_with_429_and_no_pause(tmp_path: Path) -> None:
    with tenant(tmp_path, rates=((1, 3600.0),)) as voyado:
        assert voyado.api.get(f"{V3}/stores").status_code == 200
        refused = voyado.api.get(f"{V3}/stores")
    assert refused.status_code == 429
    assert "retry-after" not in refused.headers


def test_a_contact_is_found_by_each_of_its_keys(voyado: Tenant) -> None:
    contact = voyado.add_contact("c1", email="Ann@Example.org", mobilePhone="+46701234567", memberNumber="M1")
    for query in (
        {"email": "ann@example.org"}, {"mobilePhone": "+46701234567"}, {"customKey": "c1"}, {"customKey": "M1"},
        {"any": "ann@example.org"}, {"any": "c1"}, {"email": "ann@example.org", "contactType": "Member"},
    ):  # fmt: skip
        assert voyado.api.get(f"{V3}/contacts/id", params=query).json() == contact, query
    assert voyado.api.get(f"{V2}/contacts/id", params={"customKey": "c1"}).json() == contact


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ({"customKey": "x"}, (404, "ContactNotFound")), ({}, (400, "InvalidSearchQuery")),
        ({"email": "x"}, (400, "InvalidEmailAddress")), ({"mobilePhone": "0701"}, (400, "InvalidPhoneNumber")),
        ({"customKey": "c1", "contactType": "Guest"}, (400, "InvalidContactType")),
        ({"customKey": "c1", "contactType": "Contact"}, (404, "ContactNotFound")),
        ({"email": "ann@example.org"}, (409, "MultipleMatches")),
        # It looks like a phone number, so nobody looks among the custom keys.
        ({"any": "+46700000000"}, (404, "ContactNotFound")),
    ],
)  # fmt: skip
def test_a_search_says_why_it_found_nobody(voyado: Tenant, query: dict[str, str], answer: tuple[int, str]) -> None:
    voyado.add_contact("c1", email="ann@example.org")
    voyado.add_contact("+46700000000", email="ann@example.org")
    assert name_of(voyado.api.get(f"{V3}/contacts/id", params=query)) == answer


def test_creating_takes_source_store_and_approval_from_the_query(voyado: Tenant) -> None:
    voyado.add_store()
    answer = voyado.api.post(
        f"{V3}/contacts?source=POS&storeExternalId=s1&createAsUnapproved=true",
        json={"email": "ann@example.org", "shoeSize": "38", "preferences": {"acceptsEmail": True}},
    ).json()
    assert answer["meta"] == {"source": "POS", "approved": False}
    assert (answer["attributes"]["createdInStore"], answer["attributes"]["store"]) == ("s1", "s1")
    assert "shoeSize" not in answer["attributes"]
    assert answer["preferences"] == {"acceptsEmail": True}


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"firstName": "Ann"}, (400, "MissingKey")), ({"email": "x"}, (400, "InvalidEmailAddress")),
        ({"externalId": "c2", "mobilePhone": "070"}, (400, "InvalidPhoneNumber")),
        ({"externalId": "c2", "birthDay": "1/2/1990"}, (400, "InvalidField")),
        ({"externalId": "c2", "contactType": "Guest"}, (400, "InvalidContactType")),
        ({"externalId": "c1"}, (409, "ContactAlreadyExists")), ([], (400, "InvalidBody")),
    ],
)  # fmt: skip
def test_a_contact_that_cannot_be_created_is_refused(voyado: Tenant, body: Any, answer: tuple[int, str]) -> None:
    voyado.add_contact("c1")
    assert name_of(voyado.api.post(f"{V3}/contacts", json=body)) == answer
    assert voyado.report()["contacts"] == 1


def test_the_tenant_decides_what_tells_contacts_apart(tmp_path: Path) -> None:
    with tenant(tmp_path, contact_key="email") as voyado:
        voyado.add_contact("c1", email="ann@example.org")
        assert name_of(voyado.api.post(f"{V3}/contacts", json={"externalId": "c2"})) == (400, "MissingKey")
        same = {"externalId": "c2", "email": "ann@example.org"}
        assert voyado.api.post(f"{V3}/contacts", json=same).status_code == 409


def test_a_change_erases_what_is_empty_and_ignores_what_it_does_not_know(voyado: Tenant) -> None:
    voyado.add_store()
    contact = voyado.add_contact("c1", firstName="Ann", city="Lund", email="ann@example.org")
    body = {
        "firstName": "",
        "city": None,
        "lastName": "Berg",
        "frstName": "x",
        "createdInStore": "s1",
        "contactType": "Contact",
    }
    changed = voyado.api.patch(f"{V3}/contacts/{contact}", json=body)
    assert changed.status_code == 200
    attributes = changed.json()["attributes"]
    assert {"firstName", "city", "frstName", "createdInStore"}.isdisjoint(attributes)
    assert (attributes["lastName"], attributes["email"], attributes["contactType"]) == (
        "Berg", "ann@example.org", "Member",
    )  # fmt: skip
    assert name_of(voyado.api.patch(f"{V3}/contacts/none", json={})) == (404, "ContactNotFound")
    assert name_of(voyado.api.patch(f"{V3}/contacts/{contact}", json={"email": "x"})) == (400, "InvalidEmailAddress")


def test_the_overview_comes_by_id_or_by_type_and_key(voyado: Tenant) -> None:
    contact = voyado.add_contact("c1")
    by_id = voyado.api.get(f"{V2}/contactoverview", params={"contactId": contact}).json()
    by_key = voyado.api.get(f"{V2}/contactoverview", params={"contactType": "Member", "customKey": "c1"}).json()
    assert by_id == by_key == voyado.api.get(f"{V2}/contacts/{contact}").json()
    assert voyado.api.get(f"{V2}/contactoverview", params={"customKey": "c1"}).status_code == 400


def test_bulk_calls_are_worked_off_later_and_report_by_batch(tmp_path: Path) -> None:
    clock = Clock()
    with tenant(tmp_path, import_interval=900, clock=clock) as voyado:
        rows = [{"externalId": "b1", "firstName": "Ann"}, {"externalId": "b2", "email": "x"}, {"city": "Lund"}]
        batch = voyado.api.post(f"{V3}/contacts/bulk", json=rows).json()
        status = f"{V2}/contacts/bulk/status?batchId={batch}"
        assert voyado.api.get(status).json()["status"] == "Pending"
        clock.now += 900
        assert voyado.api.get(status).json() == {
            "batchId": batch, "status": "Completed", "succeeded": 1, "failed": 2,
        }  # fmt: skip
        voyado.api.patch(f"{V3}/contacts/bulk", json=[{"externalId": "b1", "firstName": ""}, {"externalId": "b9"}])
        clock.now += 900
        contacts = voyado.records("contacts")
        assert [contact["attributes"].get("firstName") for contact in contacts] == [None]
        assert contacts[0]["times_received"] == 2
        assert voyado.log().count(("contact_skipped", f"{batch}:1")) == 1


def test_bulk_calls_have_a_limit_and_an_unknown_batch_is_not_found(voyado: Tenant) -> None:
    rows = [{"externalId": str(number)} for number in range(4001)]
    assert voyado.api.post(f"{V3}/contacts/bulk", json=rows).status_code == 400
    assert voyado.api.post(f"{V3}/contacts/bulk", json=rows[:4000]).status_code == 202
    assert voyado.report()["contacts"] == 4000
    assert voyado.api.get(f"{V2}/contacts/bulk/status?batchId=x").status_code == 404


def test_bulk_rows_can_be_struck_by_the_fault_book(voyado: Tenant) -> None:
    voyado.sandbox.add_fault("voyado", kind="row_errors", keys=["b2"])
    batch = voyado.api.post(f"{V3}/contacts/bulk", json=[{"externalId": "b1"}, {"externalId": "b2"}]).json()
    status = voyado.api.get(f"{V2}/contacts/bulk/status?batchId={batch}").json()
    assert (status["succeeded"], status["failed"]) == (1, 1)


def test_stores_are_created_once_changed_and_listed(voyado: Tenant) -> None:
    voyado.add_store("s1")
    assert name_of(voyado.api.post(f"{V3}/stores", json={"externalId": "s1", "name": "Again"}))[0] == 400
    assert voyado.api.post(f"{V3}/stores", json={"externalId": "s2"}).status_code == 400
    assert voyado.api.post(f"{V3}/stores", json={"externalId": "s2", "name": "X", "type": "tent"}).status_code == 400
    changed = voyado.api.post(f"{V2}/stores/s1", json={"active": False, "city": "Lund"}).json()
    assert changed == {"active": False, "externalId": "s1", "name": "Shop", "city": "Lund"}
    assert voyado.api.get(f"{V2}/stores").json() == []
    assert voyado.api.get(f"{V3}/stores?includeInactive=true").json() == [changed]
    assert voyado.api.get(f"{V2}/stores/s1").json() == changed
    assert voyado.api.get(f"{V3}/stores/none").status_code == 404


def test_a_receipt_is_queued_and_imported_after_the_interval(tmp_path: Path) -> None:
    clock = Clock()
    with tenant(tmp_path, import_interval=900, clock=clock) as voyado:
        voyado.add_store()
        contact = voyado.add_contact()
        answer = voyado.api.post(f"{V3}/receipts", json=receipt(receiptNumber="42"))
        assert (answer.status_code, answer.content) == (202, b"")
        transactions = f"{V2}/contacts/{contact}/transactions"
        assert voyado.api.get(transactions).json()["totalCount"] == 0
        assert voyado.report()["receipts_queued"] == 1
        clock.now += 900
        page = voyado.api.get(transactions).json()
    assert page["totalCount"] == 1
    found = page["items"][0]
    assert (found["externalId"], found["transactionNumber"], found["storeName"]) == ("r1", "42", "Shop")
    assert (found["localNetPriceSum"], found["lineItems"][0]["sku"]) == (8.08, "A")


def test_a_page_of_a_contact_s_transactions_has_at_most_a_hundred(tmp_path: Path) -> None:
    with tenant(tmp_path, rates=((10_000, 1.0),)) as voyado:
        voyado.add_store()
        contact = voyado.add_contact()
        for number in range(103):
            voyado.api.post(f"{V3}/receipts", json=receipt(f"r{number:03}"))
        path = f"{V2}/contacts/{contact}/transactions"
        pages = [voyado.api.get(path, params={"count": 5000, "offset": offset}).json() for offset in (0, 100, 200)]
        assert [(page["count"], page["totalCount"]) for page in pages] == [(100, 103), (3, 103), (0, 103)]
        found = [item for page in pages for item in page["items"]]
        assert {item["externalId"] for item in found} == {f"r{number:03}" for number in range(103)}
        assert not {item["id"] for item in found} & {item["externalId"] for item in found}
        assert len(voyado.api.get(path).json()["items"]) == 100
        assert voyado.api.get(path, params={"count": "x"}).status_code == 400


def test_the_transactions_of_nobody_and_those_asked_for_without_the_headers(voyado: Tenant) -> None:
    assert name_of(voyado.api.get(f"{V2}/contacts/none/transactions")) == (404, "ContactNotFound")
    bare = {"apikey": "sandbox-voyado-key", "User-Agent": "Tests/1.0"}
    answer = httpx.get(f"{voyado.sandbox.url}{V2}/contacts/none/transactions", headers=bare)
    assert (answer.status_code, answer.text) == (500, "An error has occurred")


def test_taxes_of_adjustments_keep_their_sign_in_what_a_contact_bought(voyado: Tenant) -> None:
    voyado.add_store()
    contact = voyado.add_contact()
    body = receipt(totalGrossPrice=8.10, paymentMethods=[{"type": "card", "value": 8.10}])
    off = {"type": "ADJUSTMENT", "quantity": 1, "grossPaidPrice": -2, "taxAmount": -0.4, "taxPercent": 25.0}
    body["items"].append({**body["items"][0], **off})
    assert voyado.api.post(f"{V3}/receipts", json=body).status_code == 202
    assert voyado.api.get(f"{V2}/contacts/{contact}/transactions").json()["items"][0]["netPriceSum"] == 6.48


def test_a_tenant_that_does_not_import_takes_everything_and_keeps_it_waiting(tmp_path: Path) -> None:
    clock = Clock()
    with tenant(tmp_path, importing=False, clock=clock) as voyado:
        voyado.add_store()
        contact = voyado.add_contact()
        assert voyado.api.post(f"{V3}/receipts", json=receipt()).status_code == 202
        assert voyado.api.post(f"{V3}/contacts/bulk", json=[{"externalId": "b1"}]).status_code == 202
        clock.now += 365 * 86_400
        assert voyado.api.post("/_sandbox/voyado/import").json() == {"files": 0}
        assert voyado.api.get(f"{V2}/contacts/{contact}/transactions").json()["totalCount"] == 0
        report = voyado.report()
        assert (report["importing"], report["receipts"], report["receipts_queued"]) == (False, 0, 1)
        assert report["contacts"] == 1
        switch = "/_sandbox/voyado/importing"
        assert voyado.api.put(switch, content="perhaps").status_code == 400
        assert voyado.api.put(switch, content="true").json() == {"importing": True}
        report = voyado.report()
        assert (report["receipts"], report["receipts_queued"], report["contacts"]) == (1, 0, 2)


def test_a_duplicate_is_ignored_even_if_it_differs_and_its_arrivals_are_counted(voyado: Tenant) -> None:
    voyado.add_store()
    voyado.add_contact()
    changed = receipt(totalGrossPrice=5, paymentMethods=[{"type": "card", "value": 5}])
    changed["items"][0]["grossPaidPrice"] = 5
    for body in (receipt(), receipt(), changed):
        assert voyado.api.post(f"{V3}/receipts", json=body).status_code == 202
    report = voyado.report()
    assert (report["receipts"], report["totals"], report["duplicates_ignored"]) == (1, {"GBP": "10.1"}, 2)
    assert voyado.log() == [("duplicate_receipt_ignored", "r1"), ("receipt_part_lost", "r1")]
    record = voyado.records("receipts")[0]
    assert (record["times_received"], record["received_by_file"], record["channel"]) == (3, 0, "api")


def test_a_receipt_of_an_unknown_contact_is_taken_and_lost(voyado: Tenant) -> None:
    voyado.add_store()
    assert voyado.api.post(f"{V3}/receipts", json=receipt()).status_code == 202
    report = voyado.report()
    assert (report["receipts"], report["receipts_dropped"], report["receipts_received"]) == (0, 1, 1)
    assert voyado.log() == [("receipt_dropped", "r1")]
    voyado.add_contact()
    voyado.api.post(f"{V3}/receipts", json=receipt())
    assert voyado.report()["receipts"] == 1
    assert voyado.records("receipts_received") == [
        {"key": "r1", "times_received": 2, "received_by_api": 2, "received_by_file": 0}
    ]


def test_an_unknown_store_becomes_a_ghost(voyado: Tenant) -> None:
    voyado.add_contact()
    voyado.api.post(f"{V3}/receipts", json=receipt(storeExternalId="typo"))
    report = voyado.report()
    assert (report["ghost_stores"], report["stores"], report["receipts"]) == (1, 0, 1)
    assert ("ghost_store_created", "typo") in voyado.log()
    assert voyado.records("stores")[0]["ghost"] is True


def test_returns_count_against_the_total_and_sums_are_exact(voyado: Tenant) -> None:
    voyado.add_store()
    voyado.add_contact()
    voyado.api.post(f"{V3}/receipts", json=receipt("r1"))
    voyado.api.post(f"{V3}/receipts", json=returned("r2", 0.20))
    euro = receipt("r3", currency="EUR", createdDate="2026-10-14T08:00:00Z")
    voyado.api.post(f"{V3}/receipts", json=euro)
    report = voyado.report()
    assert report["totals"] == {"EUR": "10.1", "GBP": "9.9"}
    assert (report["lines"], report["receipts_in_utc"], report["receipts_by_channel"]) == (3, 1, {"api": 3})


@pytest.mark.parametrize("kind", ["externalId", "ExternalId", "email", "MobilePhone", "memberNumber", "contactId"])
def test_match_key_types_do_not_know_capitals(voyado: Tenant, kind: str) -> None:
    voyado.add_store()
    contact = voyado.add_contact("c1", email="ann@example.org", mobilePhone="+46701234567", memberNumber="M1")
    keys = {"externalid": "c1", "email": "Ann@example.org", "mobilephone": "+46701234567", "membernumber": "M1"}
    who = {"matchKey": keys.get(kind.lower(), contact), "matchKeyType": kind}
    voyado.api.post(f"{V3}/receipts", json=receipt(contact=who))
    assert voyado.report()["receipts"] == 1


def test_a_receipt_meets_only_contacts_of_its_type(voyado: Tenant) -> None:
    voyado.add_store()
    voyado.add_contact("c1", contactType="Contact")
    voyado.api.post(f"{V3}/receipts", json=receipt())
    assert voyado.report()["receipts_dropped"] == 1


ROOT_FAULTS: list[dict[str, Any]] = [
    {name: None} for name in (
        "contact", "uniqueReceiptId", "createdDate", "storeExternalId", "currency", "totalGrossPrice", "items",
        "paymentMethods",
    )
] + [
    {"uniqueReceiptId": ""}, {"createdDate": "2026-10-14T09:00:00"}, {"createdDate": "2026-10-14 09:00:00+01:00"},
    {"createdDate": "2026-13-14T09:00:00Z"}, {"currency": "pounds"}, {"totalGrossPrice": "10.10"},
    {"totalGrossPrice": 10.11}, {"items": []}, {"items": ["tea"]}, {"paymentMethods": [{"type": "card", "value": 10}]},
    {"paymentMethods": [{"value": 10.10}]}, {"exchangeRateToGroupCurrency": -1},
    {"contact": {"matchKey": "c1", "matchKeyType": "cardNumber"}},
    {"contact": {"matchKey": "c1", "matchKeyType": "email", "contactType": "Guest"}},
]  # fmt: skip


@pytest.mark.parametrize("change", ROOT_FAULTS)
def test_a_receipt_that_breaks_the_contract_is_a_400(voyado: Tenant, change: dict[str, Any]) -> None:
    assert name_of(voyado.api.post(f"{V3}/receipts", json=receipt(**change))) == (400, "ValidationError")
    assert voyado.report()["receipts_received"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"type": "SALE"}, {"sku": ""}, {"articleNumber": None}, {"articleName": None}, {"quantity": "2"},
        {"taxAmount": None}, {"taxPercent": None}, {"grossPaidPrice": -10.10}, {"quantity": -2},
        {"type": "RETURN"}, {"discounts": [{"type": "325"}]},
    ],
)  # fmt: skip
def test_a_line_that_breaks_the_contract_is_a_400(voyado: Tenant, change: dict[str, Any]) -> None:
    body = deepcopy(receipt())
    body["items"][0].update(change)
    assert voyado.api.post(f"{V3}/receipts", json=body).status_code == 400


def test_one_call_takes_one_receipt(voyado: Tenant) -> None:
    assert voyado.api.post(f"{V3}/receipts", json=[receipt()]).status_code == 400


def test_a_receipt_can_be_struck_by_the_fault_book(voyado: Tenant) -> None:
    voyado.sandbox.add_fault("voyado", kind="row_errors", keys=["r1"])
    assert voyado.api.post(f"{V3}/receipts", json=receipt("r1")).status_code == 400
    voyado.sandbox.clear_faults("voyado")
    voyado.sandbox.add_fault("voyado", kind="ok_with_failure", times=1)
    answer = voyado.api.post(f"{V3}/receipts", json=receipt("r1"))
    assert name_of(answer) == (200, "InternalError")
    voyado.sandbox.add_fault("voyado", kind="expired_token", times=1)
    assert voyado.api.post(f"{V3}/receipts", json=receipt("r1")).status_code == 401
    assert voyado.report()["receipts_received"] == 0


def test_the_tenant_survives_a_restart(tmp_path: Path) -> None:
    with tenant(tmp_path) as voyado:
        voyado.add_store()
        voyado.add_contact()
        voyado.api.post(f"{V3}/receipts", json=receipt())
    with tenant(tmp_path) as voyado:
        voyado.api.post(f"{V3}/receipts", json=receipt())
        assert voyado.report()["receipts"] == 1
        assert voyado.records("receipts")[0]["times_received"] == 2
