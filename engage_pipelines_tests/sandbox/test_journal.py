"""The journal says how often each record was applied, so that lost and doubled ones can be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage_pipelines.sandbox.journal import Journal
from engage_pipelines.sandbox.rows import Row, Rows
from engage_pipelines.sandbox.server import running_sandbox
from engage_pipelines_tests.sandbox.fault_calls import Call, World, receipt, sale

SALES = "/api/v1.1/createUpdateSales/1001"
COUNTS = ("created", "changed", "ignored", "refused")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        running_sandbox(tmp_path, vendors=("aiq", "crmcom", "voyado")) as sandbox,
        httpx.Client(base_url=sandbox.url) as caller,
    ):
        made = World(sandbox, caller)
        for vendor in sandbox.frames:
            caller.delete(f"/_sandbox/{vendor}/journal").raise_for_status()
        yield made


def entries(world: World, vendor: str, kind: str, pick: str = "all") -> dict[str, tuple[int, ...]]:
    page = world.inspect(f"{vendor}/journal/{kind}?pick={pick}")
    assert page["total"] == len(page["records"])
    return {row["key"]: tuple(row[name] for name in COUNTS) for row in page["records"]}


def changed(key: str) -> Any:
    body = sale(key)
    body["visit"]["location"] = "Elsewhere"
    return body


def test_a_sale_is_created_changed_and_repeated_without_effect(world: World) -> None:
    for rows in ([sale("A"), sale("B")], [sale("A"), changed("B")], [changed("B")]):
        world.ask("aiq", "POST", SALES, rows)
    assert entries(world, "aiq", "sales") == {"A": (1, 0, 1, 0), "B": (1, 1, 1, 0)}
    assert world.inspect("aiq/journal")["kinds"]["sales"] == {
        "keys": 2, "created": 2, "changed": 1, "ignored": 2, "refused": 0, "never_applied": 0,
        "applied_more_than_once": 1,
    }  # fmt: skip
    assert entries(world, "aiq", "sales", "applied_more_than_once") == {"B": (1, 1, 1, 0)}
    assert set(entries(world, "aiq", "sales", "ignored")) == {"A", "B"}


def test_work_whose_answer_was_lost_is_in_the_journal(world: World) -> None:
    world.sandbox.add_fault("aiq", kind="reset_after", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        world.ask("aiq", "POST", SALES, [sale("A")])
    world.sandbox.add_fault("aiq", kind="reset_before", times=1)
    with pytest.raises(httpx.ReadError):
        world.ask("aiq", "POST", SALES, [sale("B")])
    assert entries(world, "aiq", "sales") == {"A": (1, 0, 0, 0)}
    missing = world.caller.post("/_sandbox/aiq/journal/sales/missing", json={"keys": ["A", "B"]}).json()
    assert missing == {"asked": 2, "missing": ["B"]}


def test_a_refused_call_refuses_its_records_and_a_key_that_is_let_in_later_is_created_once(world: World) -> None:
    world.sandbox.add_fault("aiq", kind="poison", keys=["B"], times=1)
    call = Call(SALES, [sale("A"), sale("B")])
    assert [world.send(call, "aiq", "POST").status_code for _ in range(2)] == [400, 200]
    assert entries(world, "aiq", "sales") == {"A": (1, 0, 0, 1), "B": (1, 0, 0, 1)}
    assert entries(world, "aiq", "sales", "never_applied") == {}


def test_a_call_that_the_vendor_did_not_look_at_leaves_no_trace(world: World) -> None:
    wrong = world.caller.post(f"/aiq{SALES}", json=[sale("A")], headers={"x-apikey": "wrong"})
    assert wrong.status_code == 401
    expired = {"token": "none", "products_set": [{"code": "A"}]}
    assert world.ask("crmcom", "POST", "/crmapi/rest/v2/products/synchronise", expired)["status"]["code"] != "OK"
    assert world.inspect("aiq/journal") == world.inspect("crmcom/journal") == {"kinds": {}}


def test_rows_that_a_vendor_refuses_one_by_one_are_refused_one_by_one(world: World) -> None:
    definition = {"alternative_code": "Product_Sync"}
    body = {"token": world.token, "synchronisation_definition_identifier": definition}
    rows = [{"code": "A"}, {"code": "B", "description": 4}]
    world.ask("crmcom", "POST", "/crmapi/rest/v2/products/synchronise", {**body, "products_set": rows})
    assert entries(world, "crmcom", "products") == {"A": (1, 0, 0, 0), "B": (0, 0, 0, 1)}
    world.ask("crmcom", "POST", "/crmapi/rest/v2/products/synchronise", {**body, "products_set": []})
    assert set(entries(world, "crmcom", "products")) == {"A", "B"}


def test_a_receipt_counts_once_whatever_comes_after(world: World) -> None:
    for total in (10.10, 10.10, 20.20):
        body = receipt("r9")
        body["totalGrossPrice"] = body["paymentMethods"][0]["value"] = body["items"][0]["grossPaidPrice"] = total
        assert world.send(Call("/api/v3/receipts", body), "voyado", "POST").status_code == 202
    assert entries(world, "voyado", "receipts") == {"r9": (1, 0, 2, 0)}
    assert world.inspect("voyado")["duplicates_ignored"] == 2


def test_contacts_are_created_once_and_changed(world: World) -> None:
    created = world.ask("voyado", "POST", "/api/v3/contacts", {"externalId": "x"})["id"]
    again = world.send(Call("/api/v3/contacts", {"externalId": "x"}), "voyado", "POST")
    for name in ("Ann", "Ann", "Eve"):
        world.ask("voyado", "PATCH", f"/api/v3/contacts/{created}", {"firstName": name})
    assert again.status_code == 409
    assert entries(world, "voyado", "contacts") == {"x": (1, 0, 0, 1), created: (0, 2, 1, 0)}


def test_rows_that_a_bulk_call_refuses_silently_are_refused_in_the_journal(world: World) -> None:
    world.sandbox.add_fault("voyado", kind="row_errors", keys=["y"])
    world.ask("voyado", "POST", "/api/v3/contacts/bulk", [{"externalId": "x"}, {"externalId": "y"}])
    assert entries(world, "voyado", "contacts") == {"x": (1, 0, 0, 0), "y": (0, 0, 0, 1)}


def test_stock_is_told_apart_by_store(world: World) -> None:
    rows = [{"sku": "A", "location": f"Shop {number}", "quantity": 3} for number in (1, 2)]
    world.ask("aiq", "POST", "/api/v1.1/createUpdateInventory/1001", rows)
    assert entries(world, "aiq", "inventory") == {"A@Shop 1": (1, 0, 0, 0), "A@Shop 2": (1, 0, 0, 0)}


def test_a_malformed_call_and_an_unknown_pick_are_told_so(world: World) -> None:
    assert world.caller.post(f"/aiq{SALES}", content=b"[", headers={"x-apikey": "sandbox-aiq-key"}).status_code == 400
    assert world.inspect("aiq/journal") == {"kinds": {}}
    assert world.caller.get("/_sandbox/aiq/journal/sales?pick=some").status_code == 400
    assert world.caller.get("/_sandbox/aiq/journal/sales?limit=many").status_code == 400
    assert world.caller.post("/_sandbox/aiq/journal/sales/missing", json=[1]).status_code == 400


def test_the_journal_outlives_the_sandbox(tmp_path: Path) -> None:
    for times in range(2):
        with running_sandbox(tmp_path, vendors=("aiq",)) as sandbox, httpx.Client(base_url=sandbox.url) as caller:
            caller.post(f"/aiq{SALES}", json=[sale("A")], headers={"x-apikey": "sandbox-aiq-key"}).raise_for_status()
            page = caller.get("/_sandbox/aiq/journal/sales").json()
            assert [(row["created"], row["ignored"]) for row in page["records"]] == [(1, times)]


def test_points_that_are_given_twice_are_applied_more_than_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "points")
    for _ in range(2):
        journal.note(Rows("points", ("id",), applies="add"), [Row("T1", "T1", b"same")], 200, None)
    assert journal.listing("points", "applied_more_than_once", 0, 10)["total"] == 1
    assert journal.sums()["points"]["changed"] == 1
    journal.close()
