"""The Square stand-in over real sockets: by Square's own client, against Square's own contract, and refusing."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from jsonschema import Draft7Validator
from square import Square
from square.core.api_error import ApiError
from starlette.applications import Starlette
from starlette.routing import Mount

from engage_pipelines.sandbox.shops import fill_made_up_shop
from engage_pipelines.sandbox.square import SquareStandIn
from engage_pipelines_tests.shared_data import shared

TOKEN = "sandbox-square-token"
NOW = datetime(2026, 10, 20, 3, tzinfo=UTC)
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Square-Version": "2025-08-20"}
EVER = {"start_at": "2020-01-01T00:00:00Z", "end_at": "2030-01-01T00:00:00Z"}
LONG_AGO = {"begin_time": "2020-01-01T00:00:00Z"}
RECEIPTS = 1_300


@contextmanager
def serving(stand_in: SquareStandIn) -> Iterator[str]:
    app = Starlette(routes=[Mount("/square", routes=stand_in.routes())])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    # The socket listens before the loop runs: a call that comes too early waits in its backlog.
    wire = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [wire]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{wire.getsockname()[1]}/square"
    finally:
        server.should_exit = True
        thread.join(10)
        wire.close()


def small_shop(directory: Path) -> SquareStandIn:
    stand_in = SquareStandIn(directory, clock=lambda: NOW)
    fill_made_up_shop(stand_in, receipts=RECEIPTS, first_day=date(2025, 9, 1), last_day=date(2026, 10, 14))
    return stand_in


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SquareStandIn, str]]:
    stand_in = small_shop(tmp_path_factory.mktemp("square"))
    with serving(stand_in) as url:
        yield stand_in, url
    stand_in.close()


@pytest.fixture
def api(shop: tuple[SquareStandIn, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop[1], headers=HEADERS) as client:
        yield client


@pytest.fixture
def own_api(tmp_path: Path) -> Iterator[httpx.Client]:
    """A till that the test may change."""
    stand_in = SquareStandIn(tmp_path, clock=lambda: NOW)
    fill_made_up_shop(stand_in, receipts=60, first_day=date(2026, 10, 1), last_day=date(2026, 10, 14))
    with serving(stand_in) as url, httpx.Client(base_url=url, headers=HEADERS) as client:
        yield client
    stand_in.close()


@pytest.fixture
def official(shop: tuple[SquareStandIn, str]) -> Iterator[Square]:
    with httpx.Client(timeout=10) as transport:
        yield Square(token=TOKEN, base_url=shop[1], httpx_client=transport)


def locations(api: httpx.Client) -> list[str]:
    return [location["id"] for location in api.get("/v2/locations").json()["locations"]]


def query(stamp: str = "updated_at", window: dict[str, str] | None = None, order: str = "ASC") -> dict[str, Any]:
    return {
        "filter": {"date_time_filter": {stamp: window or EVER}},
        "sort": {"sort_field": stamp.upper(), "sort_order": order},
    }


def search(api: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return api.post("/v2/orders/search", json=body)


def all_orders(api: httpx.Client, **changes: Any) -> list[dict[str, Any]]:
    body = {"location_ids": locations(api), "query": query(), **changes}
    name = "order_entries" if body.get("return_entries") else "orders"
    found: list[dict[str, Any]] = []
    while True:
        page = search(api, body).json()
        found += page.get(name, [])
        if "cursor" not in page:
            return found
        body["cursor"] = page["cursor"]


def pages(api: httpx.Client, path: str, params: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = api.get(path, params=params).json()
        found += page.get(name, [])
        if "cursor" not in page:
            return found
        params = {**params, "cursor": page["cursor"]}


def error(response: httpx.Response) -> tuple[int, str]:
    problem = response.json()["errors"][0]
    assert {"category", "code", "detail"} <= set(problem)
    return response.status_code, problem["code"]


@cache
def contract() -> dict[str, Any]:
    """Square's contract, narrowed: a field that it does not know is an error, except the newer vendor cost."""
    document = json.loads(shared("specs/openapi/square.json").read_text())
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    variation = document["components"]["schemas"]["CatalogItemVariation"]
    variation["properties"]["vendor_information"] = {"type": "array"}
    return document


def assert_obeys(schema: str, answer: dict[str, Any]) -> None:
    root = {"$ref": f"#/components/schemas/{schema}", "components": contract()["components"]}
    problems = [f"{found.json_path}: {found.message[:200]}" for found in Draft7Validator(root).iter_errors(answer)]
    assert problems == []


# --- Square's own client -------------------------------------------------------------------------------------------


def test_the_official_client_pages_through_all_orders_and_meets_each_once(official: Square) -> None:
    places = [location.id for location in official.locations.list().locations or []]
    ids: list[str] = []
    cursor = None
    while True:
        page = official.orders.search(location_ids=places, query=query(), limit=300, cursor=cursor)
        ids += [order.id for order in page.orders or []]
        cursor = page.cursor
        if not cursor:
            break
    assert len(ids) == RECEIPTS
    assert len(set(ids)) == RECEIPTS


def test_the_official_client_lists_everything_else(official: Square, shop: tuple[SquareStandIn, str]) -> None:
    report = shop[0].report()
    places = [location.id for location in official.locations.list().locations or []]
    payments = [p.id for place in places for p in official.payments.list(location_id=place, **LONG_AGO)]
    assert len(set(payments)) == report["payments"]
    assert len(list(official.refunds.list(**LONG_AGO))) == report["refunds"]
    assert len(list(official.catalog.list(types="ITEM_VARIATION"))) == report["variations"]
    assert len(list(official.inventory.batch_get_counts(location_ids=places))) == report["counts"]


def test_the_official_client_searches_customers(official: Square, shop: tuple[SquareStandIn, str]) -> None:
    wanted = {"filter": {"updated_at": EVER}, "sort": {"field": "CREATED_AT", "order": "ASC"}}
    first = official.customers.search(query=wanted, limit=100, count=True)
    assert first.count == shop[0].report()["customers"] == 1500
    assert len(first.customers or []) == 100
    assert first.cursor


def test_the_official_client_retrieves_orders_by_id(official: Square) -> None:
    place = (official.locations.list().locations or [])[0].id
    page = official.orders.search(location_ids=[place], limit=3)
    ids = [order.id for order in page.orders or []]
    assert [order.id for order in official.orders.batch_get(order_ids=ids).orders or []] == ids
    assert official.orders.get(order_id=ids[0]).order.id == ids[0]


def test_the_official_client_understands_a_refusal(shop: tuple[SquareStandIn, str]) -> None:
    with httpx.Client() as transport:
        stranger = Square(token="somebody else", base_url=shop[1], httpx_client=transport)
        with pytest.raises(ApiError) as refused:
            stranger.locations.list()
    assert refused.value.status_code == 401


# --- Square's own contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "verb", "path", "asked"),
    [
        ("ListLocationsResponse", "GET", "/v2/locations", {}),
        ("ListPaymentsResponse", "GET", "/v2/payments", LONG_AGO),
        ("ListPaymentRefundsResponse", "GET", "/v2/refunds", LONG_AGO),
        ("ListCatalogResponse", "GET", "/v2/catalog/list", {}),
        ("ListCatalogResponse", "GET", "/v2/catalog/list", {"types": "item"}),
        ("SearchCatalogObjectsResponse", "POST", "/v2/catalog/search",
         {"include_deleted_objects": True, "include_related_objects": True, "limit": 1000}),
        ("BatchRetrieveInventoryCountsResponse", "POST", "/v2/inventory/counts/batch-retrieve", {"limit": 1000}),
        ("SearchCustomersResponse", "POST", "/v2/customers/search", {"count": True}),
        ("ListCustomersResponse", "GET", "/v2/customers", {}),
    ],
)  # fmt: skip
def test_answers_obey_the_contract(api: httpx.Client, schema: str, verb: str, path: str, asked: dict[str, Any]) -> None:
    response = api.get(path, params=asked) if verb == "GET" else api.post(path, json=asked)
    assert response.status_code == 200
    assert len(response.json()) > 0
    assert_obeys(schema, response.json())


def test_orders_and_entries_obey_the_contract(api: httpx.Client) -> None:
    for entries in (False, True):
        asked = {"location_ids": locations(api), "query": query(), "return_entries": entries}
        assert_obeys("SearchOrdersResponse", search(api, asked).json())
    ids = [order["id"] for order in all_orders(api)[:20]]
    assert_obeys("BatchRetrieveOrdersResponse", api.post("/v2/orders/batch-retrieve", json={"order_ids": ids}).json())
    assert_obeys("RetrieveOrderResponse", api.get(f"/v2/orders/{ids[0]}").json())


def test_the_contract_narrowed_by_the_test_refuses_an_unknown_field(api: httpx.Client) -> None:
    order = all_orders(api)[0]
    with pytest.raises(AssertionError):
        assert_obeys("Order", {**order, "colour": "red"})


# --- Orders --------------------------------------------------------------------------------------------------------


def test_entries_name_the_same_orders_in_the_same_order(api: httpx.Client) -> None:
    whole = [(o["id"], o["version"], o["location_id"]) for o in all_orders(api)]
    entries = all_orders(api, return_entries=True, limit=77)
    assert [(e["order_id"], e["version"], e["location_id"]) for e in entries] == whole


def test_both_ends_of_a_window_are_inside(api: httpx.Client) -> None:
    place = locations(api)[0]
    mine = [order for order in all_orders(api) if order["location_id"] == place][100:104]
    window = {"start_at": mine[0]["updated_at"], "end_at": mine[-1]["updated_at"]}
    page = search(api, {"location_ids": [place], "query": query(window=window)}).json()
    assert [order["id"] for order in page["orders"]] == [order["id"] for order in mine]


def test_without_a_sort_the_newest_created_order_comes_first(api: httpx.Client) -> None:
    page = search(api, {"location_ids": locations(api)}).json()
    stamps = [order["created_at"] for order in page["orders"]]
    assert stamps == sorted(stamps, reverse=True)


def test_a_page_holds_500_orders_although_1000_were_asked_for(api: httpx.Client) -> None:
    page = search(api, {"location_ids": locations(api), "query": query(), "limit": 1000}).json()
    assert len(page["orders"]) == 500
    assert page["cursor"]


def test_a_window_without_orders_is_an_empty_object(api: httpx.Client) -> None:
    window = {"start_at": "2019-01-01T00:00:00Z", "end_at": "2019-02-01T00:00:00Z"}
    assert search(api, {"location_ids": locations(api), "query": query(window=window)}).json() == {}


def test_states_sources_and_customers_can_be_filtered(api: httpx.Client) -> None:
    orders = all_orders(api)
    customer = next(order["customer_id"] for order in orders if "customer_id" in order)
    for found, expected in (
        ({"state_filter": {"states": ["CANCELED"]}}, lambda order: order["state"] == "CANCELED"),
        ({"source_filter": {"source_names": ["Nowhere"]}}, lambda order: False),
        ({"customer_filter": {"customer_ids": [customer]}}, lambda order: order.get("customer_id") == customer),
    ):
        asked = query()
        asked["filter"].update(found)
        matching = [order["id"] for order in orders if expected(order)]
        assert [order["id"] for order in all_orders(api, query=asked)] == matching


def test_an_open_order_has_no_closing_time_and_is_in_no_window_of_closing_times(api: httpx.Client) -> None:
    open_ids = {order["id"] for order in all_orders(api) if order["state"] == "OPEN"}
    asked = query("closed_at")
    asked["filter"]["state_filter"] = {"states": ["COMPLETED", "CANCELED"]}
    closed = {order["id"] for order in all_orders(api, query=asked)}
    assert open_ids
    assert not open_ids & closed
    assert len(open_ids) + len(closed) == RECEIPTS


def test_an_open_end_means_the_time_of_the_first_call(own_api: httpx.Client) -> None:
    places = locations(own_api)
    window = {"start_at": "2026-10-01T00:00:00Z"}
    body = {"location_ids": places, "query": query(window=window), "limit": 10}
    first = search(own_api, body).json()
    late = {**first["orders"][0], "id": "LATE", "updated_at": "2026-10-20T03:00:01Z"}
    own_api.post("/_shop/orders", json={"orders": [late]})
    rest = all_orders(own_api, query=query(window=window), cursor=first["cursor"], limit=10)
    assert "LATE" not in {order["id"] for order in rest}
    assert len(rest) == 50


def test_unknown_ids_are_passed_over_in_a_batch_and_not_found_alone(api: httpx.Client) -> None:
    known = all_orders(api)[0]
    asked = {"order_ids": ["NOBODY", known["id"]]}
    assert [o["id"] for o in api.post("/v2/orders/batch-retrieve", json=asked).json()["orders"]] == [known["id"]]
    assert error(api.get("/v2/orders/NOBODY")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"location_ids": []}, (400, "MISSING_REQUIRED_PARAMETER")),
        ({"location_ids": ["L"] * 11}, (400, "ARRAY_LENGTH_TOO_LONG")),
        ({"location_ids": ["NOT-OURS"]}, (403, "FORBIDDEN")),
        ({"location_ids": "LLONDON0000001"}, (400, "EXPECTED_ARRAY")),
        ({"limit": 0}, (400, "VALUE_TOO_LOW")),
        ({"limit": 1001}, (400, "VALUE_TOO_HIGH")),
        ({"limit": "many"}, (400, "EXPECTED_INTEGER")),
        ({"cursor": "bm90IG91cnM"}, (400, "INVALID_CURSOR")),
        ({"query": {**query("created_at"), "sort": {"sort_field": "UPDATED_AT"}}}, (400, "CONFLICTING_PARAMETERS")),
        ({"query": {"filter": {"date_time_filter": {"updated_at": EVER}}}}, (400, "CONFLICTING_PARAMETERS")),
        ({"query": {"filter": {"date_time_filter": {"updated_at": EVER, "created_at": EVER}}}},
         (400, "CONFLICTING_PARAMETERS")),
        ({"query": query("closed_at")}, (400, "CONFLICTING_PARAMETERS")),
        ({"query": query(order="UPWARDS")}, (400, "INVALID_ENUM_VALUE")),
        ({"query": query(window={"start_at": "2026-10-01T00:00:00"})}, (400, "INVALID_TIME")),
        ({"query": query(window={"start_at": "yesterday"})}, (400, "INVALID_TIME")),
        ({"query": query(window={"start_at": EVER["end_at"], "end_at": EVER["start_at"]})},
         (400, "INVALID_TIME_RANGE")),
        ({"query": {"filter": {"state_filter": {"states": ["PAID"]}}}}, (400, "INVALID_ENUM_VALUE")),
        ({"query": {"filter": {"fulfillment_filter": {}}}}, (501, "NOT_IMPLEMENTED")),
    ],
)  # fmt: skip
def test_a_wrong_search_is_refused(api: httpx.Client, changes: dict[str, Any], expected: tuple[int, str]) -> None:
    body = {"location_ids": ["LLONDON0000001"], "query": query(), **changes}
    assert error(search(api, body)) == expected


def test_a_cursor_belongs_to_its_query(api: httpx.Client) -> None:
    body = {"location_ids": locations(api), "query": query(), "limit": 5}
    cursor = search(api, body).json()["cursor"]
    assert search(api, {**body, "cursor": cursor, "limit": 7}).status_code == 200
    other = {**body, "cursor": cursor, "query": query(order="DESC")}
    assert error(search(api, other)) == (400, "INVALID_CURSOR")
    assert error(api.get("/v2/customers", params={"cursor": cursor})) == (400, "INVALID_CURSOR")


# --- The gate ------------------------------------------------------------------------------------------------------


def test_a_call_needs_the_token_and_a_version(shop: tuple[SquareStandIn, str]) -> None:
    with httpx.Client(base_url=shop[1]) as client:
        version = {"Square-Version": "2025-08-20"}
        assert error(client.get("/v2/locations", headers=version)) == (401, "UNAUTHORIZED")
        wrong = {"Authorization": "Bearer wrong", **version}
        assert error(client.get("/v2/locations", headers=wrong)) == (401, "UNAUTHORIZED")
        unpinned = {"Authorization": f"Bearer {TOKEN}"}
        assert error(client.get("/v2/locations", headers=unpinned)) == (400, "INVALID_SQUARE_VERSION_FORMAT")


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"'])
def test_a_body_that_is_no_json_object_is_refused(api: httpx.Client, content: bytes) -> None:
    assert error(api.post("/v2/orders/search", content=content)) == (400, "EXPECTED_JSON_BODY")


def test_the_answer_to_too_many_calls_is_squares(tmp_path: Path) -> None:
    stand_in = SquareStandIn(tmp_path)
    patient, silent = stand_in.throttled(3.0), stand_in.throttled(None)
    stand_in.close()
    assert patient.status_code == silent.status_code == 429
    assert patient.headers["Retry-After"] == "3"
    assert "Retry-After" not in silent.headers
    problem = json.loads(patient.body)["errors"][0]
    assert (problem["category"], problem["code"]) == ("RATE_LIMIT_ERROR", "RATE_LIMITED")


# --- Payments and refunds ------------------------------------------------------------------------------------------


def test_payments_without_a_location_are_those_of_the_main_one_but_refunds_are_all(api: httpx.Client) -> None:
    payments = pages(api, "/v2/payments", LONG_AGO, "payments")
    assert {payment["location_id"] for payment in payments} == {locations(api)[0]}
    refunds = pages(api, "/v2/refunds", LONG_AGO, "refunds")
    assert {refund["location_id"] for refund in refunds} == set(locations(api))


def test_payments_reach_back_one_year_unless_told_otherwise(api: httpx.Client) -> None:
    recent = pages(api, "/v2/payments", {}, "payments")
    everything = pages(api, "/v2/payments", LONG_AGO, "payments")
    assert min(payment["created_at"] for payment in recent) >= "2025-10-20"
    assert min(payment["created_at"] for payment in everything) < "2025-10-20"


def test_a_payment_limit_above_100_is_ignored(api: httpx.Client) -> None:
    assert len(api.get("/v2/payments", params={**LONG_AGO, "limit": 5000}).json()["payments"]) == 100
    assert len(api.get("/v2/payments", params={**LONG_AGO, "limit": 7}).json()["payments"]) == 7


def test_payments_can_be_read_by_their_time_of_change(api: httpx.Client) -> None:
    everything = pages(api, "/v2/payments", LONG_AGO, "payments")
    refunded = next(payment for payment in everything if "refunded_money" in payment)
    at = refunded["updated_at"]
    window = {**LONG_AGO, "updated_at_begin_time": at, "updated_at_end_time": at, "sort_field": "UPDATED_AT"}
    assert [payment["id"] for payment in pages(api, "/v2/payments", window, "payments")] == [refunded["id"]]


def test_a_filter_of_payments_that_is_not_offered_is_refused(api: httpx.Client) -> None:
    assert error(api.get("/v2/payments", params={"is_offline_payment": "true"})) == (501, "NOT_IMPLEMENTED")


# --- Catalogue, stock and customers --------------------------------------------------------------------------------


def test_lists_leave_deleted_objects_out_and_searches_show_them_when_asked(api: httpx.Client) -> None:
    listed = pages(api, "/v2/catalog/list", {}, "objects")
    assert not [entry for entry in listed if entry["is_deleted"]]
    for include in (False, True):
        asked = {"object_types": ["ITEM"], "include_deleted_objects": include, "limit": 1000}
        found = api.post("/v2/catalog/search", json=asked).json()["objects"]
        assert any(entry["is_deleted"] for entry in found) is include


def test_the_begin_of_a_catalogue_search_is_excluded(api: httpx.Client) -> None:
    every = api.post("/v2/catalog/search", json={"limit": 1000}).json()["objects"]
    middle = every[300]["updated_at"]
    later = api.post("/v2/catalog/search", json={"limit": 1000, "begin_time": middle}).json()["objects"]
    assert {entry["id"] for entry in later} == {entry["id"] for entry in every if entry["updated_at"] > middle}


def test_related_objects_are_those_that_the_page_points_to(api: httpx.Client) -> None:
    asked = {"object_types": ["ITEM_VARIATION"], "limit": 5, "include_related_objects": True}
    page = api.post("/v2/catalog/search", json=asked).json()
    parents = {entry["item_variation_data"]["item_id"] for entry in page["objects"]}
    related = {entry["id"] for entry in page["related_objects"] if entry["type"] == "ITEM"}
    assert related == parents


def test_counts_can_be_filtered_and_their_begin_is_excluded(api: httpx.Client) -> None:
    place = locations(api)[1]
    path = "/v2/inventory/counts/batch-retrieve"
    mine = api.post(path, json={"location_ids": [place], "limit": 1000}).json()["counts"]
    assert {count["location_id"] for count in mine} == {place}
    after = mine[100]["calculated_at"]
    later = api.post(path, json={"location_ids": [place], "limit": 1000, "updated_after": after}).json()["counts"]
    assert len(later) == sum(count["calculated_at"] > after for count in mine)
    one = [mine[0]["catalog_object_id"]]
    assert len(api.post(path, json={"catalog_object_ids": one, "states": ["IN_STOCK"]}).json()["counts"]) == 3
    assert api.post(path, json={"catalog_object_ids": one, "states": ["WASTE"]}).json() == {}


def test_customers_can_be_found_by_change_and_by_contact(api: httpx.Client) -> None:
    everyone = pages(api, "/v2/customers", {}, "customers")
    assert len(everyone) == 1500
    known = next(customer for customer in everyone if "email_address" in customer)
    exact = {"query": {"filter": {"email_address": {"exact": known["email_address"]}}}}
    assert [c["id"] for c in api.post("/v2/customers/search", json=exact).json()["customers"]] == [known["id"]]
    window = {"start_at": known["updated_at"], "end_at": known["updated_at"]}
    changed = {"query": {"filter": {"updated_at": window}}}
    assert known["id"] in {c["id"] for c in api.post("/v2/customers/search", json=changed).json()["customers"]}
    fuzzy = {"query": {"filter": {"email_address": {"fuzzy": "EXAMPLE.ORG"}}}, "count": True}
    expected = sum("example.org" in customer.get("email_address", "") for customer in everyone)
    assert api.post("/v2/customers/search", json=fuzzy).json()["count"] == expected


@pytest.mark.parametrize(("limit", "code"), [(0, "VALUE_TOO_LOW"), (101, "VALUE_TOO_HIGH")])
def test_a_limit_of_customers_must_lie_between_1_and_100(api: httpx.Client, limit: int, code: str) -> None:
    assert error(api.post("/v2/customers/search", json={"limit": limit})) == (400, code)


# --- Changes from outside ------------------------------------------------------------------------------------------


def test_a_late_change_comes_back_in_the_window_of_its_change_with_the_next_version(own_api: httpx.Client) -> None:
    order = all_orders(own_api)[0]
    changed = {**order, "updated_at": "2026-10-18T12:00:00.000Z", "customer_id": "CUST-NEW"}
    own_api.post("/_shop/orders", json={"orders": [changed]}).raise_for_status()
    window = {"start_at": "2026-10-18T00:00:00Z", "end_at": "2026-10-19T00:00:00Z"}
    found = all_orders(own_api, query=query(window=window))
    assert found == [{**changed, "version": order["version"] + 1}]
    assert len(all_orders(own_api)) == 60


def test_a_change_without_a_time_keeps_the_old_one(own_api: httpx.Client) -> None:
    order = all_orders(own_api)[0]
    silent = {name: value for name, value in order.items() if name != "updated_at"}
    own_api.post("/_shop/orders", json={"orders": [silent]}).raise_for_status()
    assert own_api.get(f"/v2/orders/{order['id']}").json()["order"]["updated_at"] == order["updated_at"]


def test_malformed_orders_are_sent_out_as_they_were_put_in(own_api: httpx.Client) -> None:
    place, at = locations(own_api)[0], "2026-10-19T08:00:00.000Z"
    sound = {"id": "BAD-0", "location_id": place, "updated_at": at, "version": 3}
    bad = [
        {**sound, "loyalty_stamp": {"colour": "green"}},
        {**sound, "id": "BAD-1", "total_money": {"amount": "twelve", "currency": "GBP"}},
        {**sound, "id": "BAD-2", "total_money": {"amount": 100, "currency": "XXQ"}, "created_at": "soon"},
        {**sound, "id": "BAD-3", "line_items": "none", "customer_id": 17, "state": None},
    ]
    own_api.post("/_shop/orders", json={"orders": bad}).raise_for_status()
    window = {"start_at": at, "end_at": at}
    assert all_orders(own_api, query=query(window=window)) == bad


def test_a_record_that_cannot_be_placed_is_refused_and_nothing_is_changed(own_api: httpx.Client) -> None:
    order = all_orders(own_api)[0]
    response = own_api.post("/_shop/orders", json={"orders": [order, {"id": "NOWHERE"}]})
    assert response.status_code == 400
    assert all_orders(own_api)[0] == order


def test_customers_catalogue_and_counts_can_be_changed_from_outside(own_api: httpx.Client) -> None:
    at = "2026-10-19T08:00:00.000Z"
    variation = {"type": "ITEM_VARIATION", "id": "NEW-V", "updated_at": at, "item_variation_data": {"sku": "N"}}
    item = {"type": "ITEM", "id": "NEW", "updated_at": at, "item_data": {"variations": [variation]}}
    count = {
        "catalog_object_id": "NEW-V", "location_id": locations(own_api)[0], "state": "IN_STOCK",
        "quantity": "5", "calculated_at": at,
    }  # fmt: skip
    for name, record in (("customers", {"id": "NEW-C", "updated_at": at}), ("catalog", item), ("counts", count)):
        own_api.post(f"/_shop/{name}", json={name: [record]}).raise_for_status()
    begin = {"begin_time": "2026-10-18T00:00:00Z"}
    assert [entry["id"] for entry in own_api.post("/v2/catalog/search", json=begin).json()["objects"]] == [
        "NEW",
        "NEW-V",
    ]
    asked = {"catalog_object_ids": ["NEW-V"]}
    assert own_api.post("/v2/inventory/counts/batch-retrieve", json=asked).json() == {"counts": [count]}
    assert len(pages(own_api, "/v2/customers", {}, "customers")) == 1501


def test_an_unknown_kind_of_change_is_refused(own_api: httpx.Client) -> None:
    assert own_api.post("/_shop/colours", json={"colours": []}).status_code == 400


# --- State and report ----------------------------------------------------------------------------------------------


def test_the_till_survives_a_restart(tmp_path: Path) -> None:
    first = small_shop(tmp_path)
    before = first.report()
    first.close()
    again = SquareStandIn(tmp_path)
    after = again.report()
    again.close()
    assert after == before


def test_the_report_is_what_the_pages_add_up_to(api: httpx.Client, shop: tuple[SquareStandIn, str]) -> None:
    report = shop[0].report()
    completed = [order for order in all_orders(api) if order["state"] == "COMPLETED"]
    assert report["countable"]["receipts"] == len(completed) < report["all"]["receipts"] == RECEIPTS
    returned = itertools.chain.from_iterable(order.get("returns", []) for order in completed)
    lines = sum(len(order.get("line_items", [])) for order in completed)
    assert report["countable"]["lines"] == lines + sum(len(part["return_line_items"]) for part in returned)
    for currency, amount in report["countable"]["amount"].items():
        net = [o["net_amounts"]["total_money"] for o in completed]
        assert Decimal(amount) == Decimal(sum(m["amount"] for m in net if m["currency"] == currency)) / 100
    by_location = report["countable"]["locations"]
    assert sum(part["receipts"] for part in by_location.values()) == len(completed)
