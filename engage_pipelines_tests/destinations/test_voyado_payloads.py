"""What Voyado is sent for a store, a customer and a receipt: the SQL files over a small warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engage_pipelines.connector import Batch
from engage_pipelines.destinations.voyado import VOYADO, VoyadoOptions
from engage_pipelines.destinations.voyado.validation import (
    CONTACT_COLUMNS,
    FileCheck,
    validate_contacts,
    validate_receipts,
)
from engage_pipelines.model import CORE_TABLES
from engage_pipelines.warehouse.database import set_variables
from engage_pipelines.warehouse.render import render_rows
from engage_pipelines_tests.core_row import put_row

OPTIONS = VoyadoOptions(
    base_url="http://127.0.0.1", group_currency="GBP", go_live_on=date(2026, 11, 1), exchange_rates={"EUR": "0.86"}
)
MOMENT = "2026-11-12 09:14:00+00"
# Receipt columns that a test does not care about.
RECEIPT = {
    "source": "square", "store_id": "square:L1", "customer_id": "square:C1", "receipt_number": "A-17",
    "transaction_type": "sale", "status": "completed", "is_countable": True, "is_test": False,
    "opened_at": MOMENT, "closed_at": MOMENT, "utc_offset_minutes": 60, "business_on": "2026-11-12",
    "currency": "GBP", "gross_amount": "0", "discount_amount": "0", "tax_amount": "0", "tip_amount": "0",
    "service_charge_amount": "0", "rounding_amount": "0", "total_amount": "0", "line_count": 1, "version": 1,
    "modified_at": MOMENT, "load_id": "load",
}  # fmt: skip
LINE = {
    "source": "square", "line_type": "item", "is_return": False, "name": "Tea", "quantity": "1", "currency": "GBP",
    "unit_price_amount": "0", "gross_amount": "0", "discount_amount": "0", "tax_amount": "0",
    "service_charge_amount": "0", "total_amount": "0", "load_id": "load",
}  # fmt: skip
TENDER = {"source": "square", "tender_type": "card", "currency": "GBP", "tip_amount": "0", "load_id": "load"}
CUSTOMER = {"source": "square", "modified_at": MOMENT, "load_id": "load"}
STORE = {
    "source": "square", "name": "High Street", "time_zone": "Europe/London", "currency": "GBP", "is_active": True,
    "modified_at": MOMENT, "load_id": "load",
}  # fmt: skip


@dataclass
class Shop:
    """A warehouse with one store and one customer, to which a test adds what it is about."""

    connection: duckdb.DuckDBPyConnection

    def add(self, table: str, row: dict[str, Any]) -> None:
        put_row(self.connection, table, row)

    def sale(self, lines: list[dict[str, Any]], tenders: list[dict[str, Any]], **receipt: Any) -> None:
        key = receipt.setdefault("transaction_id", "square:T1")
        self.add("transactions", {**RECEIPT, "source_transaction_id": key[7:], **receipt})
        for number, line in enumerate(lines, 1):
            made = {"line_id": f"{key}:{number}", "transaction_id": key, "source_line_id": str(number)}
            self.add("transaction_lines", {**LINE, **made, "line_number": number, **line})
        for number, tender in enumerate(tenders, 1):
            made = {"tender_id": f"{key}:P{number}", "transaction_id": key, "source_tender_id": f"P{number}"}
            self.add("transaction_tenders", {**TENDER, **made, **tender})

    def stream(self, name: str, options: VoyadoOptions = OPTIONS) -> list[dict[str, Any]]:
        """Run a stream's SQL as the engine does; payloads decoded."""
        stream = next(s for s in VOYADO.streams if s.name == name)
        channel = "history" if stream.history else "api"
        set_variables(self.connection, {**options.model_dump(), "channel": channel})
        self.connection.execute(f"create or replace temp view selected as select * from core.{stream.selects}")
        table = self.connection.sql((VOYADO.folder / stream.sql).read_text()).to_arrow_table()
        rows = table.sort_by("record_key").to_pylist()
        return [{**row, "text": row["payload"], "payload": json.loads(row["payload"])} for row in rows]

    def render(self, name: str, folder: Path, options: VoyadoOptions = OPTIONS) -> tuple[Path, int, list[str]]:
        """Render a file stream's payloads as the engine does; gives file, lines and keys."""
        stream = next(s for s in VOYADO.streams if s.name == name)
        rows = [r for r in self.stream(name, options) if not (r["skipped_reason"] or r["rejected_reason"])]
        keys = [row["record_key"] for row in rows]
        self.connection.execute("create or replace temp table planned (record_key varchar, payload varchar)")
        self.connection.executemany("insert into planned values (?, ?)", [[r["record_key"], r["text"]] for r in rows])
        payloads = self.connection.sql("select * from planned order by record_key").to_arrow_table()
        file = folder / "batch.csv"
        assert stream.rows is not None
        sql = (VOYADO.folder / stream.rows).read_text()
        return file, render_rows(self.connection, sql, payloads, file), keys


@contextmanager
def open_shop() -> Iterator[Shop]:
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("create schema core")
    for table in CORE_TABLES:
        connection.execute(table.ddl())
    connection.execute("create temp table store_names (store_id varchar, store_name varchar)")
    made = Shop(connection)
    made.add("stores", {**STORE, "store_id": "square:L1", "source_store_id": "L1"})
    made.add("customers", {**CUSTOMER, "customer_id": "square:C1", "source_customer_id": "C1"})
    yield made
    connection.close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as made:
        yield made


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1
    return rows[0]


def test_a_purchase_with_discount_service_charge_and_tip_is_sent_as_the_money_paid_for_goods(shop: Shop) -> None:
    shop.connection.execute("insert into store_names values ('square:L1', 'london-high-street')")
    shop.sale(
        [
            {"sku": "TEA", "quantity": "2", "gross_amount": "20", "discount_amount": "4", "tax_amount": "2.67",
             "total_amount": "16"},
            {"sku": "CUP", "name": "Cup", "total_amount": "5", "tax_amount": "0.83"},
        ],
        [{"amount": "10"}, {"tender_type": "cash", "amount": "16.10", "tip_amount": "3"}],
        service_charge_amount="2.10", tip_amount="3", tax_amount="3.85", total_amount="26.10",
    )  # fmt: skip
    row = only(shop.stream("receipts"))
    assert (row["skipped_reason"], row["rejected_reason"], row["weight"]) == (None, None, 3)
    assert row["text"] == (
        '{"contact":{"matchKey":"square:C1","matchKeyType":"externalId","contactType":"Member"},'
        '"uniqueReceiptId":"square:T1","receiptNumber":"A-17","createdDate":"2026-11-12T10:14:00+01:00",'
        '"storeExternalId":"london-high-street","currency":"GBP","exchangeRateToGroupCurrency":1.00000000,'
        '"totalGrossPrice":23.1000,"paymentMethods":[{"type":"card","value":10.0000},{"type":"cash","value":13.1000}],'
        '"items":['
        '{"type":"PURCHASE","sku":"TEA","articleNumber":"TEA","articleName":"Tea","quantity":2.00000,'
        '"grossPaidPrice":16.0000,"taxAmount":2.6700,"taxPercent":20.03,"discounts":[{"value":-4.0000}]},'
        '{"type":"PURCHASE","sku":"CUP","articleNumber":"CUP","articleName":"Cup","quantity":1.00000,'
        '"grossPaidPrice":5.0000,"taxAmount":0.8300,"taxPercent":19.90},'
        '{"type":"ADJUSTMENT","sku":"SERVICE-CHARGE","articleNumber":"SERVICE-CHARGE",'
        '"articleName":"Service charge","quantity":1.00000,"grossPaidPrice":2.1000,"taxAmount":0.3500,'
        '"taxPercent":20.00}]}'
    )


def test_a_return_has_negative_quantity_and_total_but_a_positive_line_price(shop: Shop) -> None:
    shop.sale(
        [{"sku": "TEA", "is_return": True, "quantity": "-2", "discount_amount": "-1", "tax_amount": "-40",
          "total_amount": "-200"}],
        [{"amount": "-200"}], transaction_type="return", tax_amount="-40", total_amount="-200",
    )  # fmt: skip
    payload = only(shop.stream("receipts"))["payload"]
    assert payload["totalGrossPrice"] == -200
    assert payload["paymentMethods"] == [{"type": "card", "value": -200}]
    assert payload["items"] == [
        {"type": "RETURN", "sku": "TEA", "articleNumber": "TEA", "articleName": "Tea", "quantity": -2,
         "grossPaidPrice": 200, "taxAmount": 40, "taxPercent": 25, "discounts": [{"value": -1}]},
    ]  # fmt: skip


def test_an_exchange_carries_both_kinds_of_lines_and_the_net_total(shop: Shop) -> None:
    shop.sale(
        [{"sku": "TEA", "is_return": True, "quantity": "-1", "total_amount": "-8"},
         {"sku": "CUP", "total_amount": "5.50"}],
        [{"amount": "-2.50"}], transaction_type="exchange", total_amount="-2.50",
    )  # fmt: skip
    payload = only(shop.stream("receipts"))["payload"]
    assert [(i["type"], i["grossPaidPrice"]) for i in payload["items"]] == [("RETURN", 8), ("PURCHASE", 5.5)]
    assert payload["totalGrossPrice"] == -2.5


def test_rounding_and_a_negative_charge_keep_their_sign_in_the_price(shop: Shop) -> None:
    shop.sale(
        [{"sku": "TEA", "total_amount": "10"}], [{"amount": "8.98"}],
        service_charge_amount="-1", rounding_amount="-0.02", total_amount="8.98",
    )  # fmt: skip
    items = only(shop.stream("receipts"))["payload"]["items"]
    assert [(i["sku"], i["quantity"], i["grossPaidPrice"]) for i in items[1:]] == [
        ("SERVICE-CHARGE", 1, -1),
        ("ROUNDING", 1, -0.02),
    ]


def test_a_negative_amount_in_a_sale_is_an_adjustment_because_goods_never_have_negative_prices(shop: Shop) -> None:
    shop.sale([{"sku": "TEA", "total_amount": "10"}, {"total_amount": "-3"}], [], total_amount="7")
    items = only(shop.stream("receipts"))["payload"]["items"]
    assert [(i["type"], i["grossPaidPrice"]) for i in items] == [("PURCHASE", 10), ("ADJUSTMENT", -3)]


def test_another_currency_goes_with_its_rate_and_without_one_is_rejected(shop: Shop) -> None:
    shop.sale([{"total_amount": "10"}], [], total_amount="10", currency="EUR")
    shop.sale([{"total_amount": "10"}], [], transaction_id="square:T2", total_amount="10", currency="SEK")
    euro, krona = shop.stream("receipts")
    assert (euro["payload"]["currency"], euro["payload"]["exchangeRateToGroupCurrency"]) == ("EUR", 0.86)
    assert euro["payload"]["paymentMethods"] == [{"type": "other", "value": 10}]
    assert krona["rejected_reason"] == "no exchange rate for SEK"


def test_the_offset_of_the_store_is_kept_west_of_greenwich_and_in_half_hours(shop: Shop) -> None:
    shop.sale([{"total_amount": "1"}], [], total_amount="1", utc_offset_minutes=-210)
    assert only(shop.stream("receipts"))["payload"]["createdDate"] == "2026-11-12T05:44:00-03:30"


def test_tips_are_a_line_and_part_of_the_payments_only_when_asked_for(shop: Shop) -> None:
    shop.sale(
        [{"sku": "TEA", "total_amount": "10"}], [{"amount": "12", "tip_amount": "2"}],
        tip_amount="2", total_amount="12",
    )  # fmt: skip
    assert only(shop.stream("receipts"))["payload"]["totalGrossPrice"] == 10
    payload = only(shop.stream("receipts", OPTIONS.model_copy(update={"include_tips": True})))["payload"]
    assert payload["totalGrossPrice"] == 12
    assert payload["paymentMethods"] == [{"type": "card", "value": 12}]
    assert payload["items"][1]["sku"] == "TIP"


def test_a_line_without_sku_falls_back_to_the_product_then_its_id_then_the_setting(shop: Shop) -> None:
    product = {"source": "square", "name": "Tea", "is_active": True, "modified_at": MOMENT, "load_id": "load"}
    shop.add("products", {**product, "product_id": "square:V1", "source_product_id": "V1", "sku": "FROM-PRODUCT"})
    shop.sale(
        [{"product_id": "square:V1"}, {"product_id": "square:V2"}, {"line_type": "custom"}], [],
    )  # fmt: skip
    items = only(shop.stream("receipts"))["payload"]["items"]
    assert [i["sku"] for i in items] == ["FROM-PRODUCT", "V2", "CUSTOM"]
    assert [i["articleNumber"] for i in items] == [i["sku"] for i in items]


def test_a_charge_that_the_till_spread_over_its_lines_is_not_added_again(shop: Shop) -> None:
    shop.sale(
        [{"sku": "TEA", "total_amount": "11", "service_charge_amount": "1"}], [],
        service_charge_amount="1", total_amount="11",
    )  # fmt: skip
    assert len(only(shop.stream("receipts"))["payload"]["items"]) == 1


def test_parts_that_do_not_add_up_are_rejected_because_a_receipt_stays_for_ever(shop: Shop) -> None:
    shop.sale([{"total_amount": "10"}], [], total_amount="11")
    reason = only(shop.stream("receipts"))["rejected_reason"]
    assert reason == "lines, service charge and rounding do not add up to the total"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "open"}, "open"),
        ({"status": "voided"}, "voided"),
        ({"is_test": True}, "test"),
        ({"is_countable": False}, "not countable"),
        ({"customer_id": None}, "anonymous"),
        ({"customer_id": "square:gone"}, "customer is not in core.customers"),
        ({"business_on": "2026-10-31"}, "before go-live: history file"),
    ],
)
def test_a_receipt_that_does_not_go_there_is_skipped_with_its_reason(
    shop: Shop, change: dict[str, Any], reason: str
) -> None:
    shop.sale([{}], [], **change)
    assert only(shop.stream("receipts"))["skipped_reason"] == reason


def test_a_receipt_without_lines_is_skipped(shop: Shop) -> None:
    shop.sale([], [])
    assert only(shop.stream("receipts"))["skipped_reason"] == "no lines"


def test_a_receipt_of_a_customer_without_the_match_key_is_skipped(shop: Shop) -> None:
    shop.sale([{}], [])
    row = only(shop.stream("receipts", OPTIONS.model_copy(update={"match_key_type": "email"})))
    assert row["skipped_reason"] == "no email"


def test_a_receipt_of_an_unknown_store_is_rejected_because_voyado_would_make_one_up(shop: Shop) -> None:
    shop.sale([{}], [], store_id="square:typo")
    assert only(shop.stream("receipts"))["rejected_reason"] == "store is not in core.stores"


def test_history_takes_what_the_api_leaves_and_the_payload_is_the_same(shop: Shop) -> None:
    shop.sale([{"total_amount": "3"}], [], total_amount="3", business_on="2026-10-31")
    history = only(shop.stream("receipt_history"))
    later_go_live = OPTIONS.model_copy(update={"go_live_on": date(2026, 10, 1)})
    assert history["skipped_reason"] is None
    assert history["text"] == only(shop.stream("receipts", later_go_live))["text"]
    assert only(shop.stream("receipt_history", later_go_live))["skipped_reason"] == "from go-live on: API"


def test_a_key_that_a_file_cannot_carry_is_rejected_in_files_only(shop: Shop) -> None:
    shop.connection.execute("insert into store_names values ('square:L1', 'a;b')")
    shop.sale([{}], [], business_on="2026-10-31")
    assert only(shop.stream("receipt_history"))["rejected_reason"] == "a key holds a character that a file cannot carry"


def test_a_contact_carries_what_is_known_and_nothing_else(shop: Shop) -> None:
    shop.connection.execute("delete from core.customers")
    shop.add("customers", {
        **CUSTOMER, "customer_id": "square:C7", "source_customer_id": "C7", "first_name": " Ada ", "last_name": "",
        "email": "ada@example.com", "phone": "+441234567890", "birth_on": "1990-02-03", "country_code": "GB",
        "postal_code": "N1", "is_email_unsubscribed": True, "created_at": "2025-01-02 03:04:05+00",
    })  # fmt: skip
    row = only(shop.stream("contacts"))
    assert row["text"] == (
        '{"contactType":"Member","externalId":"square:C7","email":"ada@example.com","mobilePhone":"+441234567890",'
        '"firstName":"Ada","zipCode":"N1","countryCode":"GB","birthDay":"1990-02-03",'
        '"createdOn":"2025-01-02T03:04:05+00:00","preferences":{"acceptsEmail":false}}'
    )
    assert row["text"] == only(shop.stream("contact_history"))["text"]


def test_no_opt_out_is_not_an_opt_in(shop: Shop) -> None:
    shop.connection.execute("update core.customers set is_email_unsubscribed = false")
    assert "preferences" not in only(shop.stream("contacts"))["payload"]


def test_customers_that_share_the_match_key_are_one_contact_and_the_latest_speaks_for_it(shop: Shop) -> None:
    shop.connection.execute("update core.customers set email = 'a@example.com'")
    shop.add("customers", {
        **CUSTOMER, "customer_id": "square:C2", "source_customer_id": "C2", "email": "a@example.com",
        "modified_at": "2026-11-13 00:00:00+00",
    })  # fmt: skip
    rows = shop.stream("contacts", OPTIONS.model_copy(update={"match_key_type": "email"}))
    assert [row["skipped_reason"] for row in rows] == ["another customer has the same email", None]


def test_a_customer_without_the_match_key_is_skipped(shop: Shop) -> None:
    row = only(shop.stream("contacts", OPTIONS.model_copy(update={"match_key_type": "mobilePhone"})))
    assert row["skipped_reason"] == "no mobilePhone"


def test_a_store_goes_by_its_configured_name_else_by_the_tills_id(shop: Shop) -> None:
    assert only(shop.stream("stores"))["text"] == (
        '{"externalId":"L1","name":"High Street","type":"retail","timeZone":"Europe/London","active":true}'
    )
    shop.connection.execute("insert into store_names values ('square:L1', 'london')")
    assert only(shop.stream("stores"))["payload"]["externalId"] == "london"


def test_two_tills_of_one_shop_are_one_store_there(shop: Shop) -> None:
    shop.add("stores", {**STORE, "store_id": "toast:R1", "source_store_id": "R1"})
    shop.connection.execute("insert into store_names values ('square:L1', 'london'), ('toast:R1', 'london')")
    reasons = [row["skipped_reason"] for row in shop.stream("stores")]
    assert reasons == [None, "another store has the same name there"]


cents = st.integers(-100_000, 100_000).map(lambda n: Decimal(n).scaleb(-2))
lines = st.lists(st.tuples(cents, st.booleans(), cents), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(goods=lines, charge=cents, rounding=cents, tip=cents, paid=st.lists(cents, max_size=4), with_tips=st.booleans())
def test_lines_total_and_payments_agree_to_the_cent(
    shop: Shop, goods: list[tuple[Decimal, bool, Decimal]], charge: Decimal, rounding: Decimal, tip: Decimal,
    paid: list[Decimal], with_tips: bool,
) -> None:  # fmt: skip
    for table in ("transactions", "transaction_lines", "transaction_tenders"):
        shop.connection.execute(f"delete from core.{table}")
    shop.sale(
        [
            {"total_amount": amount, "is_return": back, "tax_amount": tax, "quantity": -1 if back else 1}
            for amount, back, tax in goods
        ],
        [{"amount": amount, "tip_amount": tip} for amount in paid],
        service_charge_amount=charge, rounding_amount=rounding, tip_amount=tip,
        total_amount=sum(amount for amount, _, _ in goods) + charge + rounding + tip,
    )  # fmt: skip
    row = only(shop.stream("receipts", OPTIONS.model_copy(update={"include_tips": with_tips})))
    assert row["rejected_reason"] is None
    payload = json.loads(row["text"], parse_float=Decimal)
    total = payload["totalGrossPrice"]
    signs = {"PURCHASE": 1, "ADJUSTMENT": 1, "RETURN": -1}
    assert sum(signs[item["type"]] * item["grossPaidPrice"] for item in payload["items"]) == total
    assert all(item["grossPaidPrice"] >= 0 for item in payload["items"] if item["type"] != "ADJUSTMENT")
    assert sum(payment["value"] for payment in payload["paymentMethods"]) == total
    assert total == sum(amount for amount, _, _ in goods) + charge + rounding + (tip if with_tips else 0)


def test_the_tax_percent_is_rounded_half_up_to_the_hundredth(shop: Shop) -> None:
    shop.sale([{"total_amount": "80.01", "tax_amount": "0.01"}, {"total_amount": "0"}], [], total_amount="80.01")
    assert [i["taxPercent"] for i in only(shop.stream("receipts"))["payload"]["items"]] == [0.01, 0]


def test_a_transaction_file_has_one_line_per_receipt_line_and_passes_its_own_check(shop: Shop, tmp_path: Path) -> None:
    shop.sale(
        [{"sku": "TEA", "quantity": "20", "total_amount": "10.5", "tax_amount": "1.75"},
         {"sku": "CUP", "total_amount": "100"}],
        [], total_amount="110.5", business_on="2026-10-31", currency="EUR", receipt_number=None,
    )  # fmt: skip
    file, lines, keys = shop.render("receipt_history", tmp_path)
    assert lines == 2
    assert file.read_text().splitlines()[1:] == [
        "square:C1;externalId;Member;square:T1;;2026-11-12T10:14:00+01:00;L1;EUR;0.86;110.50;"
        "PURCHASE;TEA;TEA;Tea;;20;10.50;1.75;20.00;;",
        "square:C1;externalId;Member;square:T1;;2026-11-12T10:14:00+01:00;L1;EUR;0.86;110.50;"
        "PURCHASE;CUP;CUP;Tea;;1;100.00;0.00;0.00;;",
    ]
    assert validate_receipts(FileCheck(file, lines, "externalId", keys)).num_rows == 2


DIRTY = [
    'Say "cheese"; now', "two\r\nlines", "tab\there", "sep\u2028ator", "bell\x07", ";;;", '"', "=cmd()", " blank ",
    "naïve Ünïcode 茶", "it's #1, really",
]  # fmt: skip


@pytest.mark.parametrize("name", DIRTY)
def test_dirty_names_never_break_a_transaction_file(shop: Shop, tmp_path: Path, name: str) -> None:
    shop.sale([{"sku": name, "name": name}], [], business_on="2026-10-31", receipt_number=name)
    file, lines, keys = shop.render("receipt_history", tmp_path)
    assert lines == 1
    assert validate_receipts(FileCheck(file, lines, "externalId", keys)).num_rows == 1
    payload = only(shop.stream("receipt_history"))["payload"]
    assert payload["items"][0]["articleName"] == name.strip(" ")


@pytest.mark.parametrize("name", DIRTY)
def test_dirty_names_never_break_a_contact_file(shop: Shop, tmp_path: Path, name: str) -> None:
    shop.connection.execute(
        "update core.customers set first_name = ?, city = ?, is_email_unsubscribed = true, created_at = ?",
        [name, name, MOMENT],
    )
    file, lines, keys = shop.render("contact_history", tmp_path)
    assert validate_contacts(FileCheck(file, lines, "externalId", keys)).num_rows == 1
    line = dict(zip(CONTACT_COLUMNS, file.read_text().splitlines()[1].split(";"), strict=True))
    assert line["acceptsEmail"] == "False"
    assert line["createdOn"] == "2026-11-12T09:14:00+00:00"


def test_a_payload_is_the_same_text_each_time(shop: Shop) -> None:
    start = datetime.fromisoformat(MOMENT)
    for number in range(50):
        shop.sale(
            [{"total_amount": str(n), "sku": f"S{n}"} for n in range(1, 4)],
            [{"amount": "3", "paid_at": start + timedelta(seconds=n % 2)} for n in range(2)],
            transaction_id=f"square:T{number:02}", total_amount="6",
        )  # fmt: skip
    assert [r["text"] for r in shop.stream("receipts")] == [r["text"] for r in shop.stream("receipts")]


def test_every_stream_names_sql_that_exists_and_a_batch_has_room_for_one_record() -> None:
    for stream in VOYADO.streams:
        assert (VOYADO.folder / stream.sql).is_file()
        assert stream.rows is None or (VOYADO.folder / stream.rows).is_file()
        assert stream.limits.items >= len(Batch("b", ("k",), (b"{}",)).keys)
