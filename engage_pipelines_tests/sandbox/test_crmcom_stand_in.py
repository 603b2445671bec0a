"""The stand-in for CRM.COM keeps CRM.COM's contract."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage_pipelines.sandbox.crmcom import CrmComStandIn
from engage_pipelines.sandbox.server import running_app

API = "/crmcom/crmapi/rest/v2"
KEY = "SANDBOXCRMCOMWEBAPIKEY0000000001"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def crmcom(folder: Path, **options: Any) -> Iterator[httpx.Client]:
    with (
        running_app([CrmComStandIn(folder, **options)], folder) as sandbox,
        httpx.Client(base_url=sandbox.url) as client,
    ):
        yield client


def token(client: httpx.Client) -> str:
    answer = client.post(f"{API}/authentication/web_api_key/token", auth=(KEY, ""), json={})
    assert answer.json()["status"]["code"] == "OK"
    return str(answer.json()["data"]["token"])


def send(client: httpx.Client, rows: list[Any], **changes: Any) -> dict[str, Any]:
    body = {
        "token": changes.pop("token", None) or token(client),
        "synchronisation_definition_identifier": {"alternative_code": "Product_Sync"},
        "products_set": rows, **changes,
    }  # fmt: skip
    answer = client.post(f"{API}/products/synchronise", json=body)
    assert answer.status_code == 200
    return dict(answer.json())


def codes(rows: list[dict[str, Any]]) -> list[Any]:
    return [row["request_code"] for row in rows]


def product(code: str = "A", **changes: Any) -> dict[str, Any]:
    return {"code": code, "description": "Tea", "family_identifier": {"code": "Drinks"}, **changes}


def test_the_key_as_basic_user_with_an_empty_password_gives_a_jwt_of_two_hours(tmp_path: Path) -> None:
    with crmcom(tmp_path, clock=Clock()) as client:
        claims = token(client).split(".")[1]
    read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (read["exp"], int(read["exp"]) - int(read["iat"])) == ("1800007200", 7200)


@pytest.mark.parametrize("auth", [("wrong", ""), (KEY, "password"), None])
def test_a_wrong_key_gets_no_token(tmp_path: Path, auth: Any) -> None:
    with crmcom(tmp_path) as client:
        answer = client.post(f"{API}/authentication/web_api_key/token", auth=auth)
    assert (answer.status_code, answer.json()["status"]["code"]) == (401, "AUTHENTICATION_FAILED")


def test_a_token_dies_after_two_hours_used_or_not(tmp_path: Path) -> None:
    clock = Clock()
    with crmcom(tmp_path, clock=clock) as client:
        first = token(client)
        clock.now += 7199
        assert send(client, [product()], token=first)["status"]["code"] == "OK"
        clock.now += 1
        late = send(client, [product()], token=first)
    assert (late["status"]["code"], "token" in late["status"]["message"]) == ("INVALID_TOKEN", True)
    assert "data" not in late


def test_an_unknown_or_released_token_is_refused_with_http_200(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        given = token(client)
        assert (
            client.post(f"{API}/authentication/token/release", json={"token": given}).json()["status"]["code"] == "OK"
        )
        assert send(client, [product()], token=given)["status"]["code"] == "INVALID_TOKEN"
        assert send(client, [product()], token="x.y.z")["status"]["code"] == "INVALID_TOKEN"


def test_products_are_created_then_updated_and_answered_row_by_row(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        first = send(client, [product("A"), product("B")])["data"]
        again = send(client, [product("A", description="Green tea")])["data"]
        held = client.get("/_sandbox/crmcom/records/products").json()["records"]
        report = client.get("/_sandbox/crmcom").json()
    assert codes(first["processed_products_set"]) == ["A", "B"]
    assert first["unprocessed_products_set"] == []
    assert again["processed_products_set"][0]["id"] == first["processed_products_set"][0]["id"]
    assert len(first["processed_products_set"][0]["id"]) == 32
    assert [(row["key"], row["times_received"], row["body"]["description"]) for row in held] == [
        ("A", 2, "Green tea"), ("B", 1, "Tea"),
    ]  # fmt: skip
    assert (report["products"], report["rows_received"], report["updates"]) == (2, 3, 1)


def test_the_thousand_and_first_product_refuses_the_call(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        assert send(client, [product(str(n)) for n in range(1001)])["status"]["code"] == "ERROR"
        full = send(client, [product(str(n)) for n in range(1000)])
    assert len(full["data"]["processed_products_set"]) == 1000


@pytest.mark.parametrize(
    "change",
    [
        {"synchronisation_definition_identifier": {"alternative_code": "Other"}},
        {"synchronisation_definition_identifier": "Product_Sync"},
        {"products_set": {}}, {"products_set": []},
    ],
)  # fmt: skip
def test_a_call_that_makes_no_sense_is_refused_as_a_whole_with_http_200(tmp_path: Path, change: dict[str, Any]) -> None:
    with crmcom(tmp_path) as client:
        assert send(client, [product()], **change)["status"]["code"] == "ERROR"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"description": "no code"}, "MANDATORY_FIELD"), (product(""), "MANDATORY_FIELD"),
        (product(description=None), "INVALID_VALUE"), ("text", "INVALID_VALUE"),
        (product(global_rate={"rate_model": "X"}), "INVALID_VALUE"),
        (product(family_identifier={"code": "A", "name": "A"}), "INVALID_IDENTIFIER"),
        (product(family_identifier={"alternative_code": "A"}), "INVALID_IDENTIFIER"),
        (product(brand_identifier="Brand"), "INVALID_IDENTIFIER"),
    ],
)  # fmt: skip
def test_a_bad_row_fails_alone(tmp_path: Path, row: Any, code: str) -> None:
    with crmcom(tmp_path) as client:
        answer = send(client, [product("good"), row])
    assert answer["status"]["code"] == "OK"
    assert codes(answer["data"]["processed_products_set"]) == ["good"]
    assert [one["error_code"] for one in answer["data"]["unprocessed_products_set"]] == [code]
    assert answer["data"]["unprocessed_products_set"][0]["error_description"]


def test_without_enforce_update_a_known_product_comes_back_as_failed(tmp_path: Path) -> None:
    with crmcom(tmp_path, enforce_update=False) as client:
        send(client, [product(description="first")])
        again = send(client, [product(description="second")])["data"]
        held = client.get("/_sandbox/crmcom/records/products").json()["records"][0]
    assert again["unprocessed_products_set"][0]["error_code"] == "ALREADY_EXISTS"
    assert (held["body"]["description"], held["times_received"]) == ("first", 2)


def test_an_unknown_family_fails_its_row_only_where_references_are_strict(tmp_path: Path) -> None:
    with crmcom(tmp_path / "strict", strict_references=True, families=("Drinks",)) as client:
        strict = send(client, [product("A"), product("B", family_identifier={"code": "Cakes"})])["data"]
    assert codes(strict["unprocessed_products_set"]) == ["B"]
    with crmcom(tmp_path / "lenient") as client:
        assert send(client, [product(family_identifier={"code": "Cakes"})])["data"]["unprocessed_products_set"] == []
        assert client.get("/_sandbox/crmcom").json()["products_by_family"] == {"Cakes": 1}


def test_of_two_rows_with_one_code_the_last_wins(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        send(client, [product(description="first"), product(description="last")])
        held = client.get("/_sandbox/crmcom/records/products").json()["records"]
        assert client.get("/_sandbox/crmcom").json()["duplicate_rows_in_a_call"] == 1
    assert [row["body"]["description"] for row in held] == ["last"]


def test_a_field_that_does_not_exist_is_named_in_the_rows_message(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        row = send(client, [product(name="Tea")])["data"]["processed_products_set"][0]
    assert "name" in row["message"]


def test_fields_set_filters_the_answer_and_a_blank_hides_a_set(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        given = token(client)
        both = send(client, [product()], token=given, fields_set="processed_products_set,unprocessed_products_set")
        one = send(client, [product()], token=given, fields_set="processed_products_set, unprocessed_products_set")
    assert set(both["data"]) == {"processed_products_set", "unprocessed_products_set"}
    assert set(one["data"]) == {"processed_products_set"}


def test_prices_keep_their_digits(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        send(
            client,
            [
                product("A", global_rate={"global_base_amount": 0.1}),
                product("B", global_rate={"global_base_amount": 0.2}),
            ],
        )
        assert client.get("/_sandbox/crmcom").json()["list_price_total"] == "0.3"


def test_rows_can_be_refused_or_left_out_by_the_fault_book(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        client.post("/_sandbox/crmcom/faults", json=[
            {"kind": "row_errors", "route": "synchronise", "keys": ["A"], "times": 1},
            {"kind": "missing_rows", "route": "synchronise", "keys": ["B"], "times": 1},
        ])  # fmt: skip
        refused = send(client, [product("A"), product("B")])["data"]
        missing = send(client, [product("A"), product("B")])["data"]
        assert client.get("/_sandbox/crmcom").json()["products"] == 2
    assert (codes(refused["processed_products_set"]), codes(refused["unprocessed_products_set"])) == (["B"], ["A"])
    assert (codes(missing["processed_products_set"]), missing["unprocessed_products_set"]) == (["A"], [])


def test_a_200_may_carry_an_error_envelope(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        given = token(client)
        client.post("/_sandbox/crmcom/faults", json={"kind": "ok_with_failure", "times": 1})
        assert send(client, [product()], token=given)["status"]["code"] == "ERROR"


def test_the_gateways_429_has_the_envelope(tmp_path: Path) -> None:
    with crmcom(tmp_path, rates=((1, 3600.0),)) as client:
        token(client)
        answer = client.post(f"{API}/products/synchronise", json={})
    assert (answer.status_code, answer.json()["status"]["code"]) == (429, "TOO_MANY_REQUESTS")


def test_other_bodies_than_a_json_object_are_errors(tmp_path: Path) -> None:
    with crmcom(tmp_path) as client:
        for body in (b"{", b"[]"):
            answer = client.post(f"{API}/products/synchronise", content=body)
            assert answer.json()["status"]["code"] == "ERROR"
