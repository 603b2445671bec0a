"""What is asked of Square, over a real socket, held against Square's published contract."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jsonschema
import pytest

from engage_pipelines.connector import Scope, Window
from engage_pipelines.errors import ContractError, CredentialsError, IncompleteError
from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.sources.square import SQUARE, SquareOptions
from engage_pipelines_tests.shared_data import shared
from engage_pipelines_tests.sources.square.listener import Listener, Reply, Request, in_turn, listening
from engage_pipelines_tests.sources.square.mapping import ENTITIES

DAY = Window(datetime(2024, 7, 1, tzinfo=UTC), datetime(2024, 7, 2, tzinfo=UTC))
TOKEN = "a-token-for-tests"


@cache
def contract() -> dict[str, Any]:
    return json.loads(shared("specs/openapi/square.json").read_text())


def client_of(listener: Listener, **options: Any) -> VendorClient:
    made = SquareOptions(base_url=listener.url, **options)
    return SQUARE.connect(made, {"SQUARE_ACCESS_TOKEN": TOKEN}, Limits(in_flight=2))


def pull(name: str, reply: Reply, *, locations: tuple[str, ...] = ("L1",), prove: bool = False, **options: Any) -> Any:
    """Pull an entity of one day; give the requests and the pages, or raise what the pull raises."""
    entity = ENTITIES[name]
    function = entity.prove if prove else entity.pull
    assert function is not None
    with listening(reply) as listener, client_of(listener, **options) as client:
        scope = Scope(DAY, locations, SquareOptions(base_url=listener.url, **options))
        return listener, [list(page) for page in function(client, scope)]


def undocumented(schema: dict[str, Any], value: Any, at: str = "") -> list[str]:
    """Paths of fields that the schema does not know."""
    if "$ref" in schema:
        schema = contract()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    if isinstance(value, list):
        return [path for each in value for path in undocumented(schema.get("items", {}), each, at)]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    return [
        path
        for name, inner in value.items()
        for path in (undocumented(known[name], inner, f"{at}.{name}") if name in known else [f"{at}.{name}"])
    ]


def assert_documented(request: Request) -> None:
    operation = contract()["paths"][request.path][request.verb.lower()]
    if request.verb == "GET":
        assert set(request.query) <= {parameter["name"] for parameter in operation.get("parameters") or []}
        return
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": contract()["components"]}).validate(request.body)
    assert undocumented(schema, request.body) == []


def test_every_call_carries_the_token_and_the_pinned_version() -> None:
    listener, _ = pull("locations", lambda _: {})
    headers = listener.requests[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["square-version"] == "2025-08-20"


def test_without_a_token_a_person_must_act() -> None:
    with pytest.raises(CredentialsError, match="SQUARE_ACCESS_TOKEN"):
        SQUARE.connect(SquareOptions(), {}, Limits())


@pytest.mark.parametrize("name", ENTITIES)
def test_every_request_is_one_that_the_contract_knows(name: str) -> None:
    listener, _ = pull(name, in_turn({"cursor": "next"}, {}))
    for request in listener.requests:
        assert_documented(request)


def test_the_second_question_about_orders_is_one_that_the_contract_knows() -> None:
    listener, pages = pull("orders", in_turn({"order_entries": [{"order_id": "O1"}], "cursor": "next"}, {}), prove=True)
    for request in listener.requests:
        assert_documented(request)
        assert request.body["return_entries"] is True
    assert pages == [[b'{"order_id": "O1"}'], []]


def test_orders_are_asked_by_change_oldest_first_with_both_ends_inside_the_window() -> None:
    listener, _ = pull("orders", lambda _: {}, locations=("L1", "L2"))
    (body,) = listener.bodies()
    assert body["location_ids"] == ["L1", "L2"]
    assert body["query"]["sort"] == {"sort_field": "UPDATED_AT", "sort_order": "ASC"}
    assert body["query"]["filter"]["date_time_filter"] == {
        "updated_at": {"start_at": "2024-07-01T00:00:00.000Z", "end_at": "2024-07-01T23:59:59.999Z"}
    }


def test_orders_and_their_proof_ask_about_the_same_range_in_pages_of_different_size() -> None:
    orders, _ = pull("orders", lambda _: {})
    proof, _ = pull("orders", lambda _: {}, prove=True)
    (asked,), (proved,) = orders.bodies(), proof.bodies()
    assert asked["query"] == proved["query"]
    assert (asked["limit"], proved["limit"]) == (500, 1000)


def test_the_whole_query_goes_out_again_with_each_cursor() -> None:
    listener, pages = pull("orders", in_turn({"orders": [{"id": "1"}], "cursor": "c1"}, {"orders": [{"id": "2"}]}))
    first, second = listener.bodies()
    assert second == {**first, "cursor": "c1"}
    assert [json.loads(record)["id"] for page in pages for record in page] == ["1", "2"]


def test_a_short_or_empty_page_with_a_cursor_is_not_the_end() -> None:
    _, pages = pull("payments", in_turn({"cursor": "c1"}, {"payments": [{"id": "P1"}]}))
    assert pages == [[], [b'{"id": "P1"}']]


def test_payments_are_asked_location_by_location() -> None:
    listener, _ = pull("payments", lambda _: {}, locations=("L1", "L2"))
    assert [request.query["location_id"] for request in listener.requests] == ["L1", "L2"]


def test_payments_of_any_age_are_asked_because_square_hides_old_ones_by_default() -> None:
    listener, _ = pull("payments", lambda _: {})
    query = listener.requests[0].query
    assert query["begin_time"] == "2009-01-01T00:00:00.000Z"
    assert query["updated_at_begin_time"] == "2024-07-01T00:00:00.000Z"
    assert query["updated_at_end_time"] == "2024-07-02T00:00:00.000Z"
    assert (query["sort_field"], query["sort_order"], query["limit"]) == ("UPDATED_AT", "ASC", "100")


def test_the_catalogue_is_asked_with_its_deleted_objects() -> None:
    listener, _ = pull("catalog", lambda _: {})
    (body,) = listener.bodies()
    assert body["include_deleted_objects"] is True
    assert body["object_types"] == ["ITEM", "ITEM_VARIATION", "CATEGORY"]


def test_only_what_is_on_the_shelf_is_asked_of_the_inventory() -> None:
    listener, _ = pull("inventory_counts", lambda _: {})
    assert listener.bodies()[0]["states"] == ["IN_STOCK"]


def test_closed_locations_are_asked_too() -> None:
    answer = {"locations": [{"id": "L1", "status": "ACTIVE"}, {"id": "L2", "status": "INACTIVE"}]}
    with listening(lambda _: answer) as listener, client_of(listener) as client:
        assert SQUARE.locations(client, SquareOptions()) == ("L1", "L2")


def test_a_location_without_id_breaks_the_contract() -> None:
    with (
        listening(lambda _: {"locations": [{"name": "x"}]}) as listener,
        client_of(listener) as client,
        pytest.raises(ContractError, match="without id"),
    ):
        SQUARE.locations(client, SquareOptions())


def test_records_are_passed_on_as_they_were_sent() -> None:
    body = b'{"orders":[{"id":"1","updated_at":"2024-07-01T00:00:00Z","price":1.50,"price":2.0,"x":"\xc3\xa9\\n"}]}'
    _, pages = pull("orders", lambda _: body)
    assert pages == [[b'{"id":"1","updated_at":"2024-07-01T00:00:00Z","price":1.50,"price":2.0,"x":"\xc3\xa9\\n"}']]


def test_a_record_laid_out_over_several_lines_becomes_one_line() -> None:
    _, pages = pull("orders", lambda _: b'{"orders": [{\n  "id": "1",\r\n  "note": "a\\nb"\n}]}')
    assert b"\n" not in pages[0][0]
    assert json.loads(pages[0][0]) == {"id": "1", "note": "a\nb"}


def test_errors_inside_a_success_are_an_alarm_that_names_the_code_only() -> None:
    answer = {
        "orders": [],
        "errors": [{"category": "API_ERROR", "code": "GATEWAY_TIMEOUT", "detail": "of ada@example.com"}],
    }
    with pytest.raises(ContractError, match="GATEWAY_TIMEOUT") as caught:
        pull("orders", lambda _: answer)
    assert "ada" not in str(caught.value)


def test_an_empty_list_of_errors_is_no_alarm() -> None:
    _, pages = pull("inventory_counts", lambda _: {"errors": [], "counts": [{"state": "IN_STOCK"}]})
    assert pages == [[b'{"state": "IN_STOCK"}']]


def test_an_answer_that_is_no_json_breaks_the_contract() -> None:
    with pytest.raises(ContractError, match="documented JSON"):
        pull("orders", lambda _: b"<html>")


def test_a_repeated_cursor_is_an_alarm() -> None:
    with pytest.raises(ContractError, match="repeats a cursor"):
        pull("customers", lambda _: {"customers": [{"id": "C1"}], "cursor": "again"})


def stamped(*minutes: int) -> list[dict[str, str]]:
    return [{"id": f"O{m}", "updated_at": f"2024-07-01T10:{m:02}:00.000Z"} for m in minutes]


def test_a_full_last_page_is_believed_after_a_look_behind_its_last_record() -> None:
    listener, pages = pull("orders", in_turn({"orders": stamped(1, 2)}, {}), page_size=2)
    look = listener.bodies()[1]["query"]["filter"]["date_time_filter"]["updated_at"]
    assert look == {"start_at": "2024-07-01T10:02:00.001Z", "end_at": "2024-07-01T23:59:59.999Z"}
    assert len(pages) == 1


@pytest.mark.parametrize("name", ["orders", "payments", "refunds"])
def test_a_list_cut_off_at_a_full_page_is_an_alarm(name: str) -> None:
    with pytest.raises(IncompleteError, match="full page of 2"):
        pull(name, in_turn({name: stamped(1, 2)}, {name: stamped(3)}), page_size=2)


def test_orders_cut_off_at_500_are_noticed_although_1000_were_asked_for() -> None:
    many = [{"id": str(n), "updated_at": "2024-07-01T10:00:00Z"} for n in range(500)]
    with pytest.raises(IncompleteError):
        pull("orders", in_turn({"orders": many}, {"orders": stamped(1)}), page_size=1000)


def test_a_full_last_page_whose_last_record_has_no_time_of_change_is_an_alarm() -> None:
    with pytest.raises(ContractError, match="updated_at"):
        pull("orders", lambda _: {"orders": [{"id": "1"}, {"id": "2"}]}, page_size=2)


def test_a_full_last_page_that_ends_with_the_window_needs_no_look_behind() -> None:
    last = [{"id": "1", "updated_at": "2024-07-01T23:59:59.999Z"}]
    listener, _ = pull("orders", in_turn({"orders": last}), page_size=1)
    assert len(listener.requests) == 1


def test_fewer_customers_than_square_counts_are_an_alarm() -> None:
    with pytest.raises(IncompleteError, match="1 customers of 2"):
        pull("customers", lambda _: {"customers": [{"id": "C1"}], "count": 2})


def test_as_many_customers_as_square_counts_are_fine() -> None:
    pages = in_turn({"customers": [{"id": "C1"}], "count": 2, "cursor": "c"}, {"customers": [{"id": "C2"}], "count": 2})
    assert len(pull("customers", pages)[1]) == 2
