"""Looking up at Voyado what may or may not have arrived, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage_pipelines.connector import Batch, Verdict
from engage_pipelines.destinations.voyado import VOYADO, connect
from engage_pipelines.errors import ConfigError, ContractError, RetryableError
from engage_pipelines.http_client import Limits
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines_tests.destinations.test_voyado_payloads import CUSTOMER, Shop, open_shop
from engage_pipelines_tests.destinations.test_voyado_sending import CONTACT, STORE, Tenant, open_session, tenant
from engage_pipelines_tests.destinations.test_voyado_stand_in import SECRETS, Vendor, fill

__all__ = ["tenant"]

FIND, OVERVIEW = "GET /api/v3/contacts/id", "GET /api/v2/contactoverview"
BOUGHT = "GET /api/v2/contacts/guid-1/transactions"
RECEIPT = {
    "contact": {"matchKey": "square:C1", "matchKeyType": "externalId", "contactType": "Member"},
    "uniqueReceiptId": "square:T1", "receiptNumber": "A-17", "createdDate": "2026-11-12T10:14:00+01:00",
}  # fmt: skip


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as made:
        yield made


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path / "sandbox", vendors=("voyado",)) as running:
        yield running


def verify_of(stream_name: str) -> Any:
    return next(s for s in VOYADO.streams if s.name == stream_name).in_doubt.verify


def ask(tenant: Tenant, stream: str, *payloads: dict[str, Any], **more: Any) -> Sequence[Verdict]:
    session = open_session(tenant, **more)
    with session.client:
        batch = Batch("b1", tuple("k" * len(payloads)), tuple(json.dumps(one).encode() for one in payloads))
        found: Sequence[Verdict] = verify_of(stream)(session, batch)
    return found


def look_up(vendor: Vendor, shop: Shop, stream: str) -> Sequence[Verdict]:
    """Look up every record that the stream would send."""
    rows = [r for r in shop.stream(stream, vendor.options) if not (r["skipped_reason"] or r["rejected_reason"])]
    session = connect(vendor.options, SECRETS, Limits())
    with session.client:
        batch = Batch("b", tuple(r["record_key"] for r in rows), tuple(r["text"].encode() for r in rows))
        found: Sequence[Verdict] = verify_of(stream)(session, batch)
    return found


def holds_page(*items: dict[str, Any], total: int | None = None) -> dict[str, Any]:
    return {"items": list(items), "totalCount": len(items) if total is None else total, "offset": 0, "count": 100}


# --- against the stand-in


def test_what_was_sent_is_there_and_what_was_not_is_absent(shop: Shop, sandbox: Sandbox) -> None:
    fill(shop)
    vendor = Vendor(sandbox)
    for name, count in (("stores", 1), ("contacts", 2), ("receipts", 3)):
        assert look_up(vendor, shop, name) == ["absent"] * count
        vendor.take(shop, name)
        assert look_up(vendor, shop, name) == ["there"] * count


def test_an_older_version_of_a_contact_or_store_is_not_what_was_sent(shop: Shop, sandbox: Sandbox) -> None:
    fill(shop)
    vendor = Vendor(sandbox)
    vendor.take(shop, "stores")
    vendor.take(shop, "contacts")
    shop.connection.execute("update core.customers set city = 'Leeds' where customer_id = 'square:C2'")
    shop.connection.execute("update core.stores set name = 'Low Street'")
    assert look_up(vendor, shop, "contacts") == ["there", "absent"]
    assert look_up(vendor, shop, "stores") == ["absent"]


def test_what_went_by_file_is_there_once_the_file_is_imported(shop: Shop, sandbox: Sandbox, tmp_path: Path) -> None:
    fill(shop)
    vendor = Vendor(sandbox)
    vendor.take(shop, "stores")
    for name, count in (("contact_history", 2), ("receipt_history", 3)):
        vendor.take_file(shop, name, tmp_path)
        assert look_up(vendor, shop, name) == ["absent"] * count
        vendor.holds()
        assert look_up(vendor, shop, name) == ["there"] * count


def test_a_tenant_that_accepts_and_never_imports_leaves_all_absent_and_loses_nothing_in_the_end(
    shop: Shop, sandbox: Sandbox, tmp_path: Path
) -> None:
    fill(shop)
    vendor = Vendor(sandbox)
    vendor.take(shop, "stores")
    vendor.take(shop, "contacts")
    switch = f"{sandbox.url}/_sandbox/voyado/importing"
    assert httpx.put(switch, content="false").json() == {"importing": False}
    for _ in range(2):
        assert {outcome.state for outcome in vendor.take(shop, "receipts")} == {"accepted"}
        assert {outcome.state for outcome in vendor.take_file(shop, "receipt_history", tmp_path)} == {"accepted"}
        assert {*look_up(vendor, shop, "receipts"), *look_up(vendor, shop, "receipt_history")} == {"absent"}
    holds = vendor.holds()
    assert (holds["receipts"], holds["receipts_queued"], len(holds["files_waiting"])) == (0, 6, 1)
    httpx.put(switch, content="true")
    holds = vendor.holds()
    assert (holds["receipts"], holds["receipts_queued"], holds["files_waiting"]) == (6, 0, [])
    assert {*look_up(vendor, shop, "receipts"), *look_up(vendor, shop, "receipt_history")} == {"there"}


def test_receipts_are_found_on_every_page_and_their_contact_is_asked_for_once(shop: Shop, tmp_path: Path) -> None:
    shop.add("customers", {**CUSTOMER, "customer_id": "square:C2", "source_customer_id": "C2"})
    fast = {"voyado": {"rates": ((10_000, 1.0),)}}
    with running_sandbox(tmp_path / "sandbox", vendors=("voyado",), options=fast) as sandbox:
        vendor = Vendor(sandbox)
        vendor.take(shop, "stores")
        vendor.take(shop, "contacts")
        for number in range(205):
            shop.sale([{"total_amount": "1"}], [], transaction_id=f"square:T{number:03}", total_amount="1")
        vendor.take(shop, "receipts")
        shop.sale([{"total_amount": "1"}], [], transaction_id="square:T999", total_amount="1")
        calls = sum(sandbox.frames["voyado"].calls.values())
        assert look_up(vendor, shop, "receipts") == ["there"] * 205 + ["absent"]
        assert sum(sandbox.frames["voyado"].calls.values()) - calls == 1 + 3


def test_a_look_up_writes_nothing(shop: Shop, sandbox: Sandbox) -> None:
    fill(shop)
    vendor = Vendor(sandbox)
    vendor.take(shop, "contacts")
    shop.connection.execute("update core.customers set city = 'Leeds'")
    before = vendor.holds()
    for stream in VOYADO.streams:
        look_up(vendor, shop, stream.name)
    assert vendor.holds() == before
    written = [route for route, _ in sandbox.frames["voyado"].calls if not route.startswith("GET")]
    assert set(written) == {"POST /api/v3/contacts"}


def test_faults_strike_look_ups_as_any_other_call(shop: Shop, sandbox: Sandbox) -> None:
    fill(shop)
    vendor = Vendor(sandbox)
    vendor.take(shop, "stores")
    vendor.take(shop, "contacts")
    vendor.take(shop, "receipts")
    sandbox.add_fault("voyado", kind="reset_before", route="GET .*/transactions", times=1)
    sandbox.add_fault("voyado", kind="throttle", route="GET .*/contacts/id", times=1)
    assert look_up(vendor, shop, "receipts") == ["there"] * 3
    sandbox.add_fault("voyado", kind="status", status=503, route="GET .*/transactions")
    with pytest.raises(RetryableError):
        look_up(vendor, shop, "receipts")
    sandbox.clear_faults("voyado")
    sandbox.add_fault("voyado", kind="broken_json", route="GET .*/transactions")
    with pytest.raises(ContractError):
        look_up(vendor, shop, "receipts")


# --- against answers prepared by hand


def test_a_contact_is_there_only_if_nothing_would_have_to_change(tenant: Tenant) -> None:
    tenant.says(FIND, 200, "guid-1")
    held = {"attributes": CONTACT | {"birthDay": "1990-02-03T00:00:00"}, "preferences": {"acceptsEmail": False}}
    tenant.says(OVERVIEW, 200, held)
    tenant.says(OVERVIEW, 200, held | {"preferences": {"acceptsEmail": True}})
    assert ask(tenant, "contacts", CONTACT, CONTACT) == ["there", "absent"]
    assert {call.split()[0] for call in tenant.calls} == {"GET"}


@pytest.mark.parametrize(
    ("status", "name", "verdict"),
    [
        (404, "ContactNotFound", "absent"),
        # Nobody can carry a value that is refused as such.
        (400, "InvalidEmailAddress", "absent"),
        (409, "MultipleMatches", "unknown"),
    ],
)
def test_a_search_that_finds_nobody_or_several(tenant: Tenant, status: int, name: str, verdict: str) -> None:
    tenant.says(FIND, status, {"errorCode": name})
    assert ask(tenant, "contacts", CONTACT) == [verdict]
    assert ask(tenant, "receipts", RECEIPT) == [verdict]


def test_a_contact_sent_under_another_kind_of_key_cannot_be_looked_up(tenant: Tenant) -> None:
    assert ask(tenant, "contacts", CONTACT, match_key_type="memberNumber") == ["unknown"]
    assert tenant.calls == []


def test_a_store_is_compared_as_when_it_is_sent(tenant: Tenant) -> None:
    path = "GET /api/v3/stores/london%20%2F%201"
    tenant.says(path, 404, {"errorCode": "StoreNotFound"})
    tenant.says(path, 200, {**STORE, "type": "RETAIL"})
    assert ask(tenant, "stores", STORE, STORE) == ["absent", "there"]


def test_names_that_a_file_could_not_carry_are_compared_as_they_went(tenant: Tenant) -> None:
    tenant.says(FIND, 200, "guid-1")
    tenant.says(OVERVIEW, 200, {"attributes": {"externalId": "square:C1", "firstName": "Bo  B  O"}})
    sent = {"contactType": "Member", "externalId": "square:C1", "firstName": 'Bo "B"; O', "city": ";;"}
    assert ask(tenant, "contact_history", sent) == ["there"]
    assert ask(tenant, "contacts", sent) == ["absent"]


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ({"externalId": "square:T1"}, "there"),
        ({"externalId": "square:T2", "transactionNumber": "A-17", "createdDate": RECEIPT["createdDate"]}, "absent"),
        ({"externalId": None, "transactionNumber": "square:T1"}, "there"),
        ({"transactionNumber": "A-17", "createdDate": "2026-11-12T09:14:00Z"}, "there"),
        ({"transactionNumber": "A-17", "createdDate": "2026-11-12T10:14:00"}, "there"),
        # A printed number comes back.
        ({"transactionNumber": "A-17", "createdDate": "2026-11-13T10:14:00"}, "absent"),
        ({"transactionNumber": "A-17"}, "absent"),
        ({"id": "square:T1"}, "absent"),
    ],
)
def test_a_receipt_is_known_by_its_id_else_by_number_and_moment(
    tenant: Tenant, held: dict[str, Any], verdict: str
) -> None:
    tenant.says(FIND, 200, "guid-1")
    tenant.says(BOUGHT, 200, holds_page(held))
    assert ask(tenant, "receipts", RECEIPT) == [verdict]
    assert tenant.asked[0]["query"] == {"customKey": "square:C1", "contactType": "Member"}
    assert tenant.asked[1]["query"] == {"offset": "0", "count": "100"}


def test_pages_are_read_to_the_end_even_if_they_are_shorter_than_asked_for(tenant: Tenant) -> None:
    tenant.says(FIND, 200, "guid-1")
    tenant.says(BOUGHT, 200, holds_page({"externalId": "a"}, {"externalId": "b"}, total=3))
    tenant.says(BOUGHT, 200, holds_page({"externalId": "square:T1"}, total=3))
    assert ask(tenant, "receipts", RECEIPT) == ["there"]
    assert [asked["query"].get("offset") for asked in tenant.asked] == [None, "0", "2"]


def test_a_list_that_ends_before_its_count_ends_the_search(tenant: Tenant) -> None:
    tenant.says(FIND, 200, "guid-1")
    tenant.says(BOUGHT, 200, holds_page(total=3))
    assert ask(tenant, "receipts", RECEIPT) == ["absent"]


def test_a_receipt_that_is_in_a_file_is_looked_up_by_the_key_that_it_names(tenant: Tenant) -> None:
    tenant.says(FIND, 404, {"errorCode": "ContactNotFound"})
    sent = RECEIPT | {"contact": {"matchKey": "ada@example.com", "matchKeyType": "email"}}
    assert ask(tenant, "receipt_history", sent, match_key_type="mobilePhone") == ["absent"]
    assert tenant.asked[0]["query"] == {"email": "ada@example.com"}


def test_an_unknown_route_or_another_answer_is_no_verdict(tenant: Tenant) -> None:
    tenant.says(FIND, 200, "guid-1")
    tenant.says(BOUGHT, 404, "no such page")
    with pytest.raises(ConfigError, match="base_url"):
        ask(tenant, "receipts", RECEIPT)
    tenant.answers.pop(BOUGHT)
    tenant.says(BOUGHT, 200, [])
    with pytest.raises(ContractError):
        ask(tenant, "receipts", RECEIPT)
