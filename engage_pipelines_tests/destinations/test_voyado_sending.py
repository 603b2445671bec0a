"""What is said to Voyado and what is made of its answers, over real sockets."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.voyado import VOYADO, Session, VoyadoOptions, connect
from engage_pipelines.destinations.voyado.files import file_name
from engage_pipelines.destinations.voyado.validation import CONTACT_COLUMNS, RECEIPT_COLUMNS
from engage_pipelines.errors import (
    ConfigError,
    ContractError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Limits

KEY = "key-0123456789"
CONTACT = {
    "contactType": "Member", "externalId": "square:C1", "email": "ada@example.com", "mobilePhone": "+441234567890",
    "firstName": "Ada", "birthDay": "1990-02-03", "createdOn": "2025-01-02T03:04:05+00:00",
    "preferences": {"acceptsEmail": False},
}  # fmt: skip
STORE = {"externalId": "london / 1", "name": "High Street", "type": "retail", "active": True}


@dataclass
class Tenant:
    """A real server that answers as a test tells it and keeps what it was asked."""

    url: str = ""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def says(self, call: str, status: int, body: Any = None) -> None:
        """Queue an answer to `METHOD path`; the last one is repeated."""
        self.answers.setdefault(call, []).append((status, body))

    def answer(self, call: str) -> tuple[int, Any]:
        left = self.answers.get(call, [(501, {"errorCode": "NoAnswerPrepared"})])
        return left.pop(0) if len(left) > 1 else left[0]

    @property
    def calls(self) -> list[str]:
        return [asked["call"] for asked in self.asked]


@pytest.fixture
def tenant() -> Iterator[Tenant]:
    made = Tenant()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            call = f"{self.command} {parts.path}"
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            made.asked.append({"call": call, "query": query, "body": body, "headers": dict(self.headers)})
            status, value = made.answer(call)
            content = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def options(tenant: Tenant, **more: Any) -> VoyadoOptions:
    known: dict[str, Any] = {"group_currency": "GBP", "go_live_on": date(2026, 11, 1), "retry_first_wait": 0}
    return VoyadoOptions(base_url=tenant.url, **{**known, **more})


def open_session(tenant: Tenant, **more: Any) -> Session:
    return connect(options(tenant, **more), {"VOYADO_API_KEY": KEY}, Limits())


def send(tenant: Tenant, stream: str, payload: dict[str, Any], **more: Any) -> Outcome:
    session = open_session(tenant, **more)
    with session.client:
        batch = Batch("b1", ("k1",), (json.dumps(payload).encode(),))
        (outcome,) = next(s for s in VOYADO.streams if s.name == stream).send(session, batch)
    return outcome


def test_every_call_carries_the_three_mandatory_headers_a_get_too(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 409, {"errorCode": "MultipleMatches"})
    send(tenant, "contacts", CONTACT)
    headers = {name.lower(): value for name, value in tenant.asked[0]["headers"].items()}
    assert headers["apikey"] == KEY
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("EngagePipelines/")


def test_an_unknown_contact_is_looked_up_first_and_then_created(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 404, {"errorCode": "ContactNotFound"})
    tenant.says("POST /api/v3/contacts", 201, {"id": "guid-1", "attributes": {}})
    outcome = send(tenant, "contacts", CONTACT, contact_store="london")
    assert outcome == Outcome("delivered", vendor_id="guid-1")
    look, create = tenant.asked
    assert look["query"] == {"customKey": "square:C1", "contactType": "Member"}
    assert create["query"] == {"source": "POS", "createAsUnapproved": "false", "storeExternalId": "london"}
    assert json.loads(create["body"]) == {name: value for name, value in CONTACT.items() if name != "createdOn"}


def test_a_phone_number_is_looked_up_with_its_plus(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 400, {"errorCode": "InvalidPhoneNumber"})
    outcome = send(tenant, "contacts", CONTACT, match_key_type="mobilePhone")
    assert tenant.asked[0]["query"]["mobilePhone"] == "+441234567890"
    assert (outcome.state, outcome.vendor_code) == ("rejected", "InvalidPhoneNumber")
    assert "+44" not in str(outcome.reason)


def test_only_what_differs_is_changed(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 200, "guid-1")
    held = {"externalId": "square:C1", "email": "old@example.com", "mobilePhone": "+441234567890",
            "firstName": "Ada", "birthDay": "1990-02-03T00:00:00", "lastName": "Kept"}  # fmt: skip
    overview = {"id": "guid-1", "attributes": held, "preferences": {"acceptsEmail": True}}
    tenant.says("GET /api/v2/contactoverview", 200, overview)
    tenant.says("PATCH /api/v3/contacts/guid-1", 200, overview)
    assert send(tenant, "contacts", CONTACT) == Outcome("delivered", vendor_id="guid-1")
    assert tenant.asked[1]["query"] == {"contactId": "guid-1"}
    changes = {"email": "ada@example.com", "preferences": {"acceptsEmail": False}}
    assert json.loads(tenant.asked[2]["body"]) == changes


def test_a_contact_that_is_the_same_already_is_not_written(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 200, "guid-1")
    overview = {"attributes": CONTACT, "preferences": {"acceptsEmail": False, "acceptsSms": True}}
    tenant.says("GET /api/v2/contactoverview", 200, overview)
    assert send(tenant, "contacts", CONTACT).state == "delivered"
    assert tenant.calls == ["GET /api/v3/contacts/id", "GET /api/v2/contactoverview"]


def test_a_refused_change_rejects_the_contact_with_the_vendors_word(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 200, "guid-1")
    tenant.says("GET /api/v2/contactoverview", 200, {"attributes": {}})
    tenant.says("PATCH /api/v3/contacts/guid-1", 400, {"errorCode": "InvalidEmailAddress"})
    outcome = send(tenant, "contacts", CONTACT)
    assert (outcome.state, outcome.vendor_code) == ("rejected", "InvalidEmailAddress")


@pytest.mark.parametrize(("status", "name"), [(409, "MultipleMatches"), (400, "InvalidEmailAddress")])
def test_a_contact_that_cannot_be_told_apart_or_read_is_rejected(tenant: Tenant, status: int, name: str) -> None:
    tenant.says("GET /api/v3/contacts/id", status, {"errorCode": name, "message": "ada@example.com"})
    outcome = send(tenant, "contacts", CONTACT, match_key_type="email")
    assert outcome == Outcome("rejected", f"GET api/v3/contacts/id: refused with {status} {name}", name)


def test_a_contact_whose_other_key_is_taken_is_rejected(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 404, {"errorCode": "ContactNotFound"})
    tenant.says("POST /api/v3/contacts", 409, {"errorCode": "ContactAlreadyExists"})
    assert send(tenant, "contacts", CONTACT).vendor_code == "ContactAlreadyExists"


def test_a_contact_that_may_have_been_created_is_in_doubt_and_not_posted_again(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 404, {"errorCode": "ContactNotFound"})
    tenant.says("POST /api/v3/contacts", 500)
    with pytest.raises(UnknownOutcomeError):
        send(tenant, "contacts", CONTACT)
    assert tenant.calls.count("POST /api/v3/contacts") == 1


def test_a_wrong_address_is_a_setting_to_fix_and_rejects_nobody(tenant: Tenant) -> None:
    for call in ("GET /api/v3/contacts/id", "POST /api/v3/receipts", "POST /api/v3/stores"):
        tenant.says(call, 404, "no such page")
    tenant.says("GET /api/v3/stores/london%20%2F%201", 404)
    for stream, payload in (("contacts", CONTACT), ("receipts", {"uniqueReceiptId": "T1"}), ("stores", STORE)):
        with pytest.raises(ConfigError, match="base_url"):
            send(tenant, stream, payload)


def test_a_contact_type_the_tenant_does_not_have_is_a_setting_to_fix(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/contacts/id", 400, {"errorCode": "InvalidContactType"})
    with pytest.raises(ConfigError, match="contact_type"):
        send(tenant, "contacts", CONTACT)


def test_a_new_store_is_created_and_a_known_one_changed_where_it_differs(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/stores/london%20%2F%201", 404, {"errorCode": "StoreNotFound"})
    tenant.says("GET /api/v3/stores/london%20%2F%201", 200, {**STORE, "type": "RETAIL", "name": "Old", "city": "X"})
    tenant.says("POST /api/v3/stores", 201, STORE)
    tenant.says("POST /api/v3/stores/london%20%2F%201", 200, STORE)
    assert send(tenant, "stores", STORE) == Outcome("delivered", vendor_id="london / 1")
    assert send(tenant, "stores", STORE).state == "delivered"
    assert [json.loads(asked["body"]) for asked in tenant.asked if asked["body"]] == [STORE, {"name": "High Street"}]


def test_a_store_that_appeared_meanwhile_is_changed_instead(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/stores/london%20%2F%201", 404, {"errorCode": "StoreNotFound"})
    tenant.says("GET /api/v3/stores/london%20%2F%201", 200, {"externalId": "london / 1", "name": "london / 1"})
    tenant.says("POST /api/v3/stores", 400, {"errorCode": "StoreAlreadyExists"})
    tenant.says("PATCH /api/v3/stores/london%20%2F%201", 200, STORE)
    assert send(tenant, "stores", STORE, store_update_method="PATCH").state == "delivered"


def test_a_store_the_tenant_refuses_is_rejected(tenant: Tenant) -> None:
    tenant.says("GET /api/v3/stores/london%20%2F%201", 404, {"errorCode": "StoreNotFound"})
    tenant.says("POST /api/v3/stores", 400, {"errorCode": "ValidationError"})
    outcome = send(tenant, "stores", STORE)
    assert (outcome.state, outcome.vendor_code) == ("rejected", "ValidationError")


def test_a_receipt_that_was_queued_is_accepted_and_sent_byte_for_byte(tenant: Tenant) -> None:
    tenant.says("POST /api/v3/receipts", 202)
    assert send(tenant, "receipts", {"uniqueReceiptId": "T1"}) == Outcome("accepted")
    assert tenant.asked[0]["body"] == b'{"uniqueReceiptId": "T1"}'


def test_a_receipt_is_repeated_after_a_failure_because_a_known_id_is_ignored(tenant: Tenant) -> None:
    tenant.says("POST /api/v3/receipts", 500)
    tenant.says("POST /api/v3/receipts", 429)
    tenant.says("POST /api/v3/receipts", 200)
    assert send(tenant, "receipts", {"uniqueReceiptId": "T1"}).state == "accepted"
    assert len(tenant.asked) == 3


def test_a_receipt_that_keeps_failing_is_for_later_and_a_refused_one_never_again(tenant: Tenant) -> None:
    tenant.says("POST /api/v3/receipts", 503)
    with pytest.raises(RetryableError):
        send(tenant, "receipts", {"uniqueReceiptId": "T1"})
    tenant.answers.clear()
    tenant.says("POST /api/v3/receipts", 400, {"errorCode": "InvalidCurrency"})
    with pytest.raises(RejectedError, match="InvalidCurrency"):
        send(tenant, "receipts", {"uniqueReceiptId": "T1"})


def test_a_wrong_key_stops_the_stream_and_is_not_shown(tenant: Tenant) -> None:
    tenant.says("POST /api/v3/receipts", 401)
    with pytest.raises(CredentialsError) as caught:
        send(tenant, "receipts", {"uniqueReceiptId": "T1"})
    assert KEY not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(CredentialsError, match="VOYADO_API_KEY"):
        connect(options(Tenant(url="http://127.0.0.1")), {}, Limits())


LINE = (
    "square:C1;externalId;Member;square:T1;;2026-10-12T10:14:00+01:00;L1;GBP;1.0;7.00;PURCHASE;TEA;TEA;Tea;;1;7.00;"
    "1.17;20.07;;"
)


def receipt_batch(folder: Path, line: str = LINE) -> Batch:
    file = folder / "b1.csv"
    file.write_text(f"{';'.join(RECEIPT_COLUMNS)}\n{line}\n")
    return Batch("b1", ("square:T1",), (b"{}",), file, 1)


def hand_over(tenant: Tenant, stream: str, batch: Batch, **more: Any) -> list[Outcome]:
    session = open_session(tenant, **more)
    with session.client:
        return list(next(s for s in VOYADO.streams if s.name == stream).send(session, batch))


def test_a_transaction_file_is_handed_over_under_the_vendors_name_with_a_manifest(
    tenant: Tenant, tmp_path: Path
) -> None:
    batch = receipt_batch(tmp_path)
    outcomes = hand_over(tenant, "receipt_history", batch, drop=f"folder:{tmp_path / 'out'}")
    assert outcomes == [Outcome("accepted")]
    (file,) = (tmp_path / "out/integration/transactionImport").iterdir()
    assert file.name == file_name("b1", "transactions", "2026-10-12T10:14:00+01:00")
    assert file.name.startswith("20261012101400_")
    content = file.read_bytes()
    assert json.loads((tmp_path / f"{file.name}.manifest.json").read_text()) == {
        "file": file.name, "kind": "transactions", "receipts": 1, "lines": 1, "totals": {"GBP": "7.0000"},
        "firstCreatedDate": "2026-10-12T10:14:00+01:00", "lastCreatedDate": "2026-10-12T10:14:00+01:00",
        "batch": "b1", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    assert tenant.asked == []


def test_the_same_batch_again_replaces_its_file_and_another_batch_does_not(tenant: Tenant, tmp_path: Path) -> None:
    drop = f"folder:{tmp_path / 'out'}"
    batch = receipt_batch(tmp_path)
    assert batch.file is not None
    for one in (batch, batch, Batch("b2", batch.keys, batch.payloads, batch.file, 1)):
        hand_over(tenant, "receipt_history", one, drop=drop)
    assert len(list((tmp_path / "out/integration/transactionImport").iterdir())) == 2


def test_a_contact_file_is_handed_over_to_its_own_folder(tenant: Tenant, tmp_path: Path) -> None:
    row = dict.fromkeys(CONTACT_COLUMNS, "") | {"contactType": "Member", "externalId": "square:C1"}
    file = tmp_path / "b1.csv"
    file.write_text(f"{';'.join(CONTACT_COLUMNS)}\n{';'.join(row.values())}\n")
    batch = Batch("b1", ("square:C1",), (b"{}",), file, 1)
    drop = f"folder:{tmp_path / 'out'}"
    assert hand_over(tenant, "contact_history", batch, drop=drop) == [Outcome("accepted")]
    (made,) = (tmp_path / "out/integration/contactImport").iterdir()
    assert made.name == file_name("b1", "contacts", "1970-01-01T00:00:00")
    manifest = json.loads((tmp_path / f"{made.name}.manifest.json").read_text())
    assert (manifest["contacts"], manifest["lines"]) == (1, 1)


def test_a_file_that_breaks_a_rule_is_not_handed_over(tenant: Tenant, tmp_path: Path) -> None:
    batch = receipt_batch(tmp_path, LINE.replace(";7.00;PURCHASE", ";8.00;PURCHASE"))
    with pytest.raises(ContractError, match="line 2, column totalGrossPrice"):
        hand_over(tenant, "receipt_history", batch, drop=f"folder:{tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stream", ["receipt_history", "contact_history"])
def test_history_is_refused_while_customers_would_be_notified(tenant: Tenant, tmp_path: Path, stream: str) -> None:
    with pytest.raises(ConfigError, match="customer_notifications"):
        hand_over(tenant, stream, receipt_batch(tmp_path), customer_notifications=True, drop=f"folder:{tmp_path}/out")
    assert not (tmp_path / "out").exists()


def test_an_sftp_drop_without_password_or_key_names_the_variable(tenant: Tenant, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="VOYADO_SFTP_PASSWORD"):
        hand_over(tenant, "receipt_history", receipt_batch(tmp_path), drop="sftp://till@127.0.0.1/")


@pytest.mark.parametrize(
    "wrong",
    [
        {"exchange_rates": {"EUR": "0"}},
        {"exchange_rates": {"EUR": "0,86"}},
        {"exchange_rates": {"euro": "0.86"}},
        {"exchange_rates": {"EUR": "NaN"}},
        {"exchange_rates": {"EUR": "1.123456789"}},
        {"group_currency": "pounds"},
        {"match_key_type": "name"},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(Tenant(url="http://127.0.0.1"), **wrong)
