"""The whole way to Voyado: payloads from a small warehouse, sent to the stand-in over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.voyado import VOYADO, VoyadoOptions, connect
from engage_pipelines.http_client import Limits
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines.sandbox.voyado import VoyadoStandIn
from engage_pipelines.sandbox.voyado.sftp import PASSWORD, USER
from engage_pipelines_tests.destinations.test_voyado_payloads import CUSTOMER, OPTIONS, Shop, open_shop

SECRETS = {"VOYADO_API_KEY": "sandbox-voyado-key", "VOYADO_SFTP_PASSWORD": PASSWORD}


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as made:
        yield made


class Vendor:
    """The stand-in behind real ports, for the API and for SFTP."""

    def __init__(self, sandbox: Sandbox) -> None:
        stand_in = sandbox.stand_ins["voyado"]
        assert isinstance(stand_in, VoyadoStandIn)
        self.stand_in = stand_in
        self.options: VoyadoOptions = OPTIONS.model_copy(
            update={
                "base_url": f"{sandbox.url}/voyado",
                "retry_first_wait": 0,
                "drop": f"sftp://{USER}@127.0.0.1:{sandbox.sftp_port}/",
                "sftp_host_key": sandbox.sftp_host_key,
            }
        )

    def take(self, shop: Shop, name: str, batch: Batch | None = None) -> list[Outcome]:
        """Send a stream's records, one batch each unless a batch is given."""
        stream = next(s for s in VOYADO.streams if s.name == name)
        rows = [r for r in shop.stream(name, self.options) if not (r["skipped_reason"] or r["rejected_reason"])]
        batches = [batch] if batch else [Batch("b", (r["record_key"],), (r["text"].encode(),)) for r in rows]
        session = connect(self.options, SECRETS, Limits())
        with session.client:
            return [outcome for one in batches for outcome in stream.send(session, one)]

    def take_file(self, shop: Shop, name: str, folder: Path) -> list[Outcome]:
        """Render a stream's records into one file and send it."""
        file, lines, keys = shop.render(name, folder, self.options)
        return self.take(shop, name, Batch(f"{name}-1", tuple(keys), tuple(b"{}" for _ in keys), file, lines))

    def holds(self) -> dict[str, Any]:
        return self.stand_in.report()


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    with running_sandbox(tmp_path / "sandbox", vendors=("voyado",)) as sandbox:
        yield Vendor(sandbox)


def fill(shop: Shop) -> None:
    """Two customers, one sale with everything, one return, one exchange; half of it before go-live."""
    shop.add("customers", {
        **CUSTOMER, "customer_id": "square:C2", "source_customer_id": "C2", "email": "bo@example.com",
        "phone": "+441234567890", "first_name": 'Bo "B"; O', "birth_on": "1990-02-03", "is_email_unsubscribed": True,
        "created_at": "2025-01-02 03:04:05+00",
    })  # fmt: skip
    sale = [{"sku": "TEA", "quantity": "2", "discount_amount": "4", "tax_amount": "2.67", "total_amount": "16"},
            {"name": 'Cup; "blue"', "total_amount": "5.01"}, {"name": "off", "total_amount": "-0.50"}]  # fmt: skip
    back = [{"sku": "TEA", "is_return": True, "quantity": "-1", "total_amount": "-8"}]
    money = {"service_charge_amount": "2.10", "rounding_amount": "-0.01", "tip_amount": "3", "total_amount": "25.60"}
    for number, day in enumerate(("2026-10-30", "2026-11-12")):
        known = {"business_on": day, "customer_id": f"square:C{number + 1}"}
        shop.sale(sale, [{"amount": "25.60", "tip_amount": "3"}], transaction_id=f"square:S{number}", **money, **known)
        shop.sale(back, [], transaction_id=f"square:R{number}", total_amount="-8", transaction_type="return", **known)
        shop.sale(sale[:1] + back, [{"amount": "8"}], transaction_id=f"square:X{number}", total_amount="8", **known)


def test_stores_contacts_and_receipts_arrive_by_api_and_a_second_time_changes_nothing(
    shop: Shop, vendor: Vendor
) -> None:
    fill(shop)
    for _ in range(2):
        assert {outcome.state for outcome in vendor.take(shop, "stores")} == {"delivered"}
        assert [outcome.state for outcome in vendor.take(shop, "contacts")] == ["delivered"] * 2
        assert vendor.take(shop, "receipts") == [Outcome("accepted")] * 3
    holds = vendor.holds()
    assert (holds["stores"], holds["ghost_stores"], holds["contacts"]) == (1, 0, 2)
    assert (holds["receipts"], holds["receipts_in_utc"], holds["receipts_dropped"]) == (3, 0, 0)
    assert {currency: Decimal(amount) for currency, amount in holds["totals"].items()} == {"GBP": Decimal("22.6")}
    contacts = vendor.stand_in.records("contacts", 0, 10)
    assert contacts is not None
    assert [contact["times_received"] for contact in contacts["records"]] == [1, 1]
    assert contacts["records"][1]["preferences"] == {"acceptsEmail": False}


def test_history_arrives_as_files_and_a_resent_file_is_ignored_line_by_line(
    shop: Shop, vendor: Vendor, tmp_path: Path
) -> None:
    fill(shop)
    vendor.take(shop, "stores")
    for _ in range(2):
        assert vendor.take_file(shop, "contact_history", tmp_path) == [Outcome("accepted")] * 2
        assert vendor.take_file(shop, "receipt_history", tmp_path) == [Outcome("accepted")] * 3
        holds = vendor.holds()
    assert holds["contacts_by_channel"] == {"file": 2}
    assert holds["receipts_by_channel"] == {"file": 3}
    assert holds["lines"] == 5 + 1 + 2
    assert holds["totals"] == {"GBP": "22.60"}
    assert holds["integration_log"] == {"duplicate_receipt_ignored": 3, "file_imported": 4}


def test_a_contact_that_came_by_file_needs_no_write_by_api(shop: Shop, vendor: Vendor, tmp_path: Path) -> None:
    fill(shop)
    shop.connection.execute("update core.customers set first_name = 'Bo' where customer_id = 'square:C2'")
    vendor.take_file(shop, "contact_history", tmp_path)
    vendor.holds()
    vendor.take(shop, "contacts")
    contacts = vendor.stand_in.records("contacts", 0, 10)
    assert contacts is not None
    assert [contact["times_received"] for contact in contacts["records"]] == [1, 1]


def test_a_contact_whose_email_belongs_to_another_is_rejected_where_the_tenant_tells_contacts_apart_by_email(
    shop: Shop, tmp_path: Path
) -> None:
    fill(shop)
    shop.connection.execute("update core.customers set email = 'bo@example.com'")
    by_email = {"voyado": {"contact_key": "email"}}
    with running_sandbox(tmp_path / "sandbox", vendors=("voyado",), options=by_email) as sandbox:
        first, second = Vendor(sandbox).take(shop, "contacts")
    assert (first.state, second.state, second.vendor_code) == ("delivered", "rejected", "ContactAlreadyExists")


def test_two_contacts_may_share_an_email_where_the_tenant_tells_contacts_apart_by_external_id(
    shop: Shop, vendor: Vendor
) -> None:
    fill(shop)
    shop.connection.execute("update core.customers set email = 'bo@example.com'")
    assert [outcome.state for outcome in vendor.take(shop, "contacts")] == ["delivered"] * 2
