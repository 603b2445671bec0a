"""CRM.COM: what a product looks like there, and that the stand-in takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.crmcom import CRMCOM, PRODUCTS, CrmComOptions, Session
from engage_pipelines.errors import (
    ConfigError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import RetryPolicy, VendorClient
from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.server import running_sandbox
from engage_pipelines_tests.destinations.core_rows import CoreRows, Row

KEY = "EE73C0AE64524371B5DDEFF5F7BB2192"


def options(**changes: Any) -> CrmComOptions:
    return CrmComOptions(**{"base_url": "http://crm.example", **changes})


# --- products


def add_product(core: CoreRows, product_id: str = "sq:P1", **changes: Any) -> None:
    values: dict[str, Any] = {
        "product_id": product_id, "sku": "TEA-1", "name": "Green tea", "category": "Tea", "brand": "Leaf",
        "description": "Loose, \"first flush\"", "price_amount": "4.5", "is_active": True,
    }  # fmt: skip
    core.add("products", **(values | changes))


def rows(core: CoreRows, where: str = "true", **changes: Any) -> dict[str, Row]:
    return core.rows(CRMCOM, PRODUCTS, options(**changes), where)


def test_a_product_is_this_object_and_no_other() -> None:
    core = CoreRows()
    add_product(core)
    assert rows(core) == {
        "sq:P1": Row('{"code":"TEA-1","description":"Green tea","family_identifier":{"code":"Tea"}}', None, None)
    }


def test_brand_text_and_price_go_on_request() -> None:
    core = CoreRows()
    add_product(core)
    full = rows(core, send_brand=True, send_long_description=True, send_price=True, family_field="none")
    assert full["sq:P1"].payload == (
        '{"code":"TEA-1","description":"Green tea","long_description":"Loose, \\"first flush\\"",'
        '"brand_identifier":{"name":"Leaf"},'
        '"global_rate":{"rate_model":"QUANTITYBASED","global_base_amount":4.5000}}'
    )


def test_what_a_product_does_not_have_is_not_sent() -> None:
    core = CoreRows()
    add_product(core, category=" ", brand=None, description="", price_amount=None)
    payload = rows(core, send_brand=True, send_long_description=True, send_price=True)["sq:P1"].payload
    assert payload == '{"code":"TEA-1","description":"Green tea"}'


@pytest.mark.parametrize("sku", [None, "", "  "])
def test_a_product_without_a_sku_is_rejected(sku: str | None) -> None:
    core = CoreRows()
    add_product(core, sku=sku)
    assert rows(core)["sq:P1"].rejected_reason == "no sku"


def test_an_inactive_product_is_skipped_and_not_rejected_too() -> None:
    core = CoreRows()
    add_product(core, sku=None, is_active=False)
    row = rows(core)["sq:P1"]
    assert (row.skipped_reason, row.rejected_reason) == ("inactive", None)


def test_of_products_with_one_code_the_first_active_one_goes_whatever_is_selected() -> None:
    core = CoreRows()
    add_product(core, "sq:P0", is_active=False)
    add_product(core, "sq:P2", sku="tea-1")
    add_product(core, "sq:P3", sku=" TEA-1 ")
    add_product(core, "sq:P4", sku="OTHER")
    found = rows(core)
    assert {key: (row.skipped_reason, row.rejected_reason) for key, row in found.items()} == {
        "sq:P0": ("inactive", None),
        "sq:P2": (None, None),
        "sq:P3": (None, "duplicate code: same as sq:P2"),
        "sq:P4": (None, None),
    }
    assert rows(core, "product_id = 'sq:P3'") == {"sq:P3": found["sq:P3"]}


# --- the stand-in


@contextmanager
def stand_in(tmp_path: Path, **changes: Any) -> Iterator[tuple[Session, Any]]:
    known = {"crmcom": {"web_api_key": KEY, **changes}}
    with running_sandbox(tmp_path, vendors=["crmcom"], options=known) as sandbox:
        retry = RetryPolicy(attempts=2, first_wait=0.0)
        with VendorClient("CRM.COM", f"{sandbox.url}/crmcom", retry=retry) as client:
            opened = Session(client, options(already_exists_codes=("ALREADY_EXISTS",)), KEY)
            yield opened, sandbox.frames["crmcom"]


def catalogue(count: int) -> Batch:
    core = CoreRows()
    for number in range(count):
        add_product(core, f"sq:P{number}", sku=f"SKU-{number}")
    found = rows(core, send_brand=True, send_long_description=True, send_price=True)
    return Batch("b1", tuple(found), tuple(row.payload.encode() for row in found.values()))


def states(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def test_the_stand_in_takes_a_catalogue_as_it_is_shaped(tmp_path: Path) -> None:
    with stand_in(tmp_path) as (opened, frame):
        outcomes = PRODUCTS.send(opened, catalogue(50))
        report = frame.stand_in.report()
    assert states(outcomes) == ["delivered"] * 50
    assert all(outcome.vendor_id and outcome.reason is None for outcome in outcomes)
    assert (report["products"], Decimal(report["list_price_total"])) == (50, Decimal("225"))
    assert (report["rows_with_message"], report["tokens_issued"]) == (0, 1)


def test_an_expired_token_of_the_stand_in_is_renewed_and_the_call_repeated(tmp_path: Path) -> None:
    with stand_in(tmp_path) as (opened, frame):
        PRODUCTS.send(opened, catalogue(1))
        frame.faults.add(Fault("expired_token", route="synchronise", times=1))
        outcomes = PRODUCTS.send(opened, catalogue(2))
        report = frame.stand_in.report()
    assert states(outcomes) == ["delivered"] * 2
    assert (report["tokens_issued"], report["products"]) == (2, 2)


def test_refused_and_missing_products_of_the_stand_in_are_told_apart(tmp_path: Path) -> None:
    with stand_in(tmp_path) as (opened, frame):
        frame.faults.add(Fault("row_errors", route="synchronise", keys=("SKU-1",), times=1))
        assert states(PRODUCTS.send(opened, catalogue(3))) == ["delivered", "rejected", "delivered"]
        frame.faults.add(Fault("missing_rows", route="synchronise", keys=("SKU-2",), times=1))
        assert states(PRODUCTS.send(opened, catalogue(3))) == ["delivered", "delivered", "pending"]


def test_products_sent_again_without_enforced_updates_are_there_already(tmp_path: Path) -> None:
    with stand_in(tmp_path, enforce_update=False) as (opened, _):
        PRODUCTS.send(opened, catalogue(2))
        outcomes = PRODUCTS.send(opened, catalogue(3))
    assert [(outcome.state, outcome.vendor_code) for outcome in outcomes] == [
        ("delivered", "ALREADY_EXISTS"), ("delivered", "ALREADY_EXISTS"), ("delivered", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "fault", "error"),
    [
        ({"definitions": ("Other",)}, None, ConfigError),
        ({"products_per_call": 1}, None, RejectedError),
        ({}, Fault("ok_with_failure", route="synchronise"), RejectedError),
        ({}, Fault("broken_json", route="synchronise"), UnknownOutcomeError),
        ({}, Fault("expired_token", route="synchronise"), CredentialsError),
        ({}, Fault("reset_after", route="synchronise"), RetryableError),
    ],
)
def test_a_refusal_or_fault_of_the_stand_in_becomes_its_error(
    tmp_path: Path, changes: dict[str, Any], fault: Fault | None, error: type[Exception]
) -> None:
    with stand_in(tmp_path, **changes) as (opened, frame):
        if fault:
            frame.faults.add(fault)
        with pytest.raises(error):
            PRODUCTS.send(opened, catalogue(2))


# --- options


@pytest.mark.parametrize(
    "wrong",
    [{"base_url": ""}, {"family_field": "brand"}, {"timeout_seconds": 0}, {"definition": "x"},
     {"synchronisation_definition": ""}],
)  # fmt: skip
def test_a_wrong_option_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**wrong)


def test_the_address_of_the_installation_is_needed() -> None:
    with pytest.raises(ValidationError):
        CrmComOptions()
