"""The stand-in for AIQ keeps AIQ's contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage_pipelines.sandbox.aiq import AiqStandIn
from engage_pipelines.sandbox.server import running_app

V1 = "/aiq/api/v1.1"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aiq(tmp_path: Path, clock: Clock) -> Iterator[httpx.Client]:
    stand_in = AiqStandIn(tmp_path, ingestion_delay=60, clock=clock)
    with (
        running_app([stand_in], tmp_path) as sandbox,
        httpx.Client(base_url=sandbox.url, headers={"x-apikey": "sandbox-aiq-key"}) as client,
    ):
        yield client


def sale(pos_id: str = "R1", **changes: Any) -> dict[str, Any]:
    visit = {
        "pos_id": pos_id, "pos_user": "U1", "sendNotification": 0,
        "transaction_date": "2026-10-14 09:00:00 +0100", "transaction_total": 10.10, "location": "Shop 1",
        "visit_details_attributes": [
            {"sku": "A", "name": "Tea", "category": "Drinks", "price": 5.05, "discount": 0, "quantity": 2}
        ],
    }  # fmt: skip
    return {"visit": {**visit, **changes}}


def item(code: str, **changes: Any) -> dict[str, Any]:
    return {"sku": code, "location": "Shop 1", "quantity": 3, **changes}


def report(aiq: httpx.Client) -> dict[str, Any]:
    return dict(aiq.get("/_sandbox/aiq").json())


def message(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    return str(answer.json()["errors"][0]["message"])


def test_without_the_right_key_or_account_nothing_is_taken(aiq: httpx.Client) -> None:
    assert aiq.post(f"{V1}/createUpdateSale/1001", json=sale(), headers={"x-apikey": "no"}).status_code == 401
    refused = aiq.post(f"{V1}/createUpdateSale/9999", json=sale())
    assert (refused.status_code, refused.json()["success"]) == (401, False)
    assert report(aiq)["sales"] == 0


def test_a_sale_sent_again_replaces_itself_and_is_counted(aiq: httpx.Client) -> None:
    aiq.post(f"{V1}/createUpdateSale/1001", json=sale())
    answer = aiq.post(
        f"{V1}/createUpdateSales/1001", json=[sale(transaction_total=0.20), sale("R2", transaction_total=0.10)]
    )
    assert answer.json()["success"] is True
    held = report(aiq)
    assert (held["sales"], held["lines"], held["transaction_total"]) == (2, 2, "0.3")
    assert (held["sales_received"], held["duplicate_sales_received"]) == (3, 1)
    records = aiq.get("/_sandbox/aiq/records/sales").json()
    assert [(row["key"], row["times_received"]) for row in records["records"]] == [("R1", 2), ("R2", 1)]
    assert records["records"][0]["body"]["visit"]["transaction_total"] == 0.2


def test_amounts_are_summed_exactly(aiq: httpx.Client) -> None:
    tenths = [sale(f"S{number}", transaction_total="0.10") for number in range(100)]
    body = json.dumps(tenths).replace('"0.10"', "0.10")
    assert aiq.post(f"{V1}/createUpdateSales/1001", content=body).status_code == 200
    assert report(aiq)["transaction_total"] == "10.00"


def test_a_refund_is_a_sale_with_negative_figures(aiq: httpx.Client) -> None:
    line = {"sku": "A", "name": "Tea", "price": 5.05, "quantity": -2}
    refund = sale("R1-refund", transaction_total=-10.10, visit_details_attributes=[line])
    aiq.post(f"{V1}/createUpdateSales/1001", json=[sale(), refund])
    assert report(aiq)["transaction_total"] == "0.0"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pos_id": 12}, "pos_id"), ({"pos_user": None}, "pos_user"), ({"location": ""}, "location"),
        ({"transaction_total": "10.10"}, "transaction_total"), ({"transaction_total": True}, "transaction_total"),
        ({"transaction_date": "2026-10-14T09:00:00Z"}, "transaction_date"),
        ({"transaction_date": "2026-10-14 09:00:00 +00"}, "transaction_date"),
        ({"transaction_date": "2026-13-14 09:00:00 +0000"}, "transaction_date"),
        ({"visit_details_attributes": []}, "visit_details_attributes"), ({"sendNotification": 2}, "sendNotification"),
        ({"visit_details_attributes": [{"sku": "A", "name": "Tea", "price": 1}]}, "quantity"),
        ({"visit_details_attributes": [{"sku": "A", "name": "T", "price": "1", "quantity": 1}]}, "price"),
        ({"visit_details_attributes": [{"sku": "A", "name": "T", "price": 1, "quantity": 1, "category": None}]},
         "category"),
    ],
)  # fmt: skip
def test_a_malformed_sale_is_refused_with_the_field(aiq: httpx.Client, change: dict[str, Any], named: str) -> None:
    assert named in message(aiq.post(f"{V1}/createUpdateSale/1001", json=sale(**change)))


def test_one_malformed_element_takes_the_whole_call_down_and_is_named_by_its_place(aiq: httpx.Client) -> None:
    bad = deepcopy(sale("R3"))
    del bad["visit"]["location"]
    said = message(aiq.post(f"{V1}/createUpdateSales/1001", json=[sale("R1"), sale("R2"), bad]))
    assert said == "element 2: visit.location must be a string that is not empty"
    assert report(aiq)["sales"] == 0


def test_bulk_calls_take_a_hundred_elements_and_no_bare_object(aiq: httpx.Client) -> None:
    assert "at most 100" in message(aiq.post(f"{V1}/createUpdateSales/1001", json=[sale(str(n)) for n in range(101)]))
    assert "not a JSON array" in message(aiq.post(f"{V1}/createUpdateSales/1001", json=sale()))
    assert "not JSON" in message(aiq.post(f"{V1}/createUpdateSale/1001", content=b"{"))


def test_notifications_that_were_asked_for_are_counted(aiq: httpx.Client) -> None:
    aiq.post(f"{V1}/createUpdateSale/1001", json=sale(sendNotification=1))
    aiq.post(f"{V1}/createUpdateSale/1001", json=sale())
    assert report(aiq)["sales_received_with_notification"] == 1


def test_loyalty_is_real_time_and_blanks_an_invalid_phone_silently(aiq: httpx.Client) -> None:
    made = aiq.post("/aiq/api/v2/loyalty", json={"srcID": "U1", "email": "Ann@Example.org", "mobilePhone": "12-34"})
    person = made.json()["data"]
    assert (person["srcID"], person["mobilePhone"]) == ("U1", "")
    again = aiq.post("/aiq/api/v2/loyalty", json={"mobilePhone": "8881110000", "email": "ann@example.org"})
    assert again.json()["data"]["contactID"] == person["contactID"]
    assert again.json()["data"]["mobilePhone"] == "8881110000"
    found = aiq.get(f"{V1}/piis/1001?search=email:ann@example.org").json()["data"]
    assert (found["total"], found["results"][0]["contactID"]) == (1, person["contactID"])
    assert "mobilePhone or email" in message(aiq.post("/aiq/api/v2/loyalty", json={"firstName": "Ann"}))


def test_members_and_bulk_sales_become_visible_only_after_the_ingestion_delay(aiq: httpx.Client, clock: Clock) -> None:
    members = [{"member": {"srcID": "U1", "mobilePhone": "+441632960001"}}, {"member": {"id": "U2", "email": "b@b.se"}}]
    assert aiq.post(f"{V1}/createUpdateMembers/1001", json=members).json()["data"] == {"accepted": 2}
    contact = aiq.post(f"{V1}/createUpdateMember/1001", json=members[0]).json()["data"]["contactID"]
    aiq.post(f"{V1}/createUpdateSales/1001", json=[sale()])
    nothing = aiq.get(f"{V1}/piis/1001").json()["data"]
    assert (nothing["results"], nothing["total"], nothing["limit"]) == (None, 0, 100)
    assert aiq.get(f"{V1}/piis/1001/{contact}").status_code == 404
    clock.now += 61
    assert aiq.get(f"{V1}/piis/1001").json()["data"]["size"] == 2
    orders = aiq.get(f"{V1}/contact/orders/1001/{contact}").json()["data"]
    assert [order["visit"]["pos_id"] for order in orders["results"]] == ["R1"]
    assert aiq.get(f"{V1}/piis/1001/{contact}").json()["data"]["srcID"] == "U1"


def test_a_persona_is_found_by_e_mail_phone_and_each_of_its_source_ids(aiq: httpx.Client, clock: Clock) -> None:
    people = [
        {"srcID": "sq:U1", "mobilePhone": "+441632960001", "email": "Ann@b.se"},
        {"srcID": "sq:U3", "email": "c@b.se"},
        {"srcID": "sq:U2", "mobilePhone": "+441632960001"},
    ]
    aiq.post(f"{V1}/createUpdateMembers/1001", json=[{"member": person} for person in people])
    clock.now += 61

    def found(search: str) -> list[str]:
        rows = aiq.get(f"{V1}/piis/1001", params={"search": search}).json()["data"]["results"]
        return sorted(row["srcID"] for row in rows or [])

    for search in ("email:ann@B.se", "mobilePhone:+441632960001", "srcID:sq:U1", "srcID:sq:U2", "sq:U2", "ann@b.se"):
        assert found(search) == ["sq:U1"], search
    assert found("") == ["sq:U1", "sq:U3"]
    assert found("srcID:sq:U9") == found("email:sq:U1") == found("sq") == []
    answer = aiq.get(f"{V1}/piis/1001", params={"search": "srcID:sq:U9"}).json()["data"]
    assert (answer["results"], answer["size"], answer["total"]) == (None, 0, 0)


def test_a_page_of_orders_has_a_hundred_to_two_thousand(aiq: httpx.Client, clock: Clock) -> None:
    contact = aiq.post(f"{V1}/createUpdateMember/1001", json={"member": {"srcID": "U1", "email": "a@b.se"}}).json()
    sales = [sale(f"R{number:03}") for number in range(150)]
    for start in (0, 100):
        aiq.post(f"{V1}/createUpdateSales/1001", json=sales[start : start + 100])
    clock.now += 61
    path = f"{V1}/contact/orders/1001/{contact['data']['contactID']}"

    def page(**query: int) -> tuple[int, int, int]:
        data = aiq.get(path, params=query).json()["data"]
        return len(data["results"] or []), data["limit"], data["total"]

    assert page() == page(limit=5) == (100, 100, 150)
    assert page(limit=9999) == (150, 2000, 150)
    assert page(start=100) == (50, 100, 150)
    assert page(start=150) == (0, 100, 150)
    assert aiq.get(path, params={"start": "x"}).status_code == 400
    assert aiq.get(path, headers={"x-apikey": "no"}).status_code == 401


def test_a_member_needs_the_tills_id(aiq: httpx.Client) -> None:
    answer = aiq.post(f"{V1}/createUpdateMembers/1001", json=[{"member": {"email": "a@b.se"}}])
    assert message(answer).startswith("element 0: member.srcID")


def test_a_sale_of_an_unknown_customer_stays_anonymous(aiq: httpx.Client) -> None:
    aiq.post(f"{V1}/createUpdateSale/1001", json=sale())
    assert report(aiq)["anonymous_sales"] == 1
    aiq.post(f"{V1}/createUpdateSale/1001", json={**sale(), "member": {"email": "a@b.se"}})
    assert (report(aiq)["anonymous_sales"], report(aiq)["personas"]) == (0, 1)


def test_inventory_takes_a_hundred_items_and_refuses_a_hundred_and_one(aiq: httpx.Client) -> None:
    items = [item(f"S{n}") for n in range(101)]
    assert "101 items" in message(aiq.post(f"{V1}/createUpdateInventory/1001", json=items))
    assert aiq.post(f"{V1}/createUpdateInventory/1001", json=items[:100]).status_code == 200
    assert report(aiq)["inventory_rows"] == 100


def test_stock_is_kept_per_product_and_location_and_the_last_one_wins(aiq: httpx.Client) -> None:
    aiq.post(f"{V1}/createUpdateInventory/1001", json=[item("A"), item("A", location="Shop 2"), item("A", quantity=7)])
    records = aiq.get("/_sandbox/aiq/records/inventory").json()["records"]
    assert [(r["key"], r["times_received"], r["body"]["quantity"]) for r in records] == [
        ("A@Shop 1", 2, 7), ("A@Shop 2", 1, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("change", [{"sku": ""}, {"sku": 4}, {"quantity": "3"}, {"price": None}])
def test_a_malformed_item_refuses_the_call(aiq: httpx.Client, change: dict[str, Any]) -> None:
    assert "element 1" in message(aiq.post(f"{V1}/createUpdateInventory/1001", json=[item("A"), item("B", **change)]))


def test_stores_carry_the_name_the_till_uses(aiq: httpx.Client) -> None:
    aiq.post(f"{V1}/createUpdateSale/1001", json=sale())
    stores = aiq.get(f"{V1}/stores/1001").json()["data"]["stores"]
    assert [(store["name"], store["sourceMapping"]) for store in stores] == [("Shop 1", {"pos": "Shop 1"})]
