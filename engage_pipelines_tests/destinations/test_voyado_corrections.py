"""Receipts that changed after Voyado took them: the return that undoes the old one, and the new one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engage_pipelines.connector import Batch
from engage_pipelines.destinations.voyado import VOYADO, VoyadoOptions, connect
from engage_pipelines.destinations.voyado.validation import FileCheck, validate_receipts
from engage_pipelines.http_client import Limits
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines.sandbox.voyado.receipt_rules import check_receipt
from engage_pipelines.warehouse.render import render_rows
from engage_pipelines_tests.destinations.test_voyado_payloads import CUSTOMER, OPTIONS, Shop, only, open_shop

SQL = (VOYADO.folder / "receipt_correction.sql").read_text()
WITH_TIPS = OPTIONS.model_copy(update={"include_tips": True})
SIGNS = {"PURCHASE": 1, "ADJUSTMENT": 1, "RETURN": -1}
# Everything that a receipt can hold: goods with a discount, a return, a line against the grain, service charge,
# rounding, tip, two payments.
GOODS: list[dict[str, Any]] = [
    {"sku": "TEA", "name": 'Tea "hot"; \\ 茶', "quantity": "2.5", "discount_amount": "4", "tax_amount": "2.67",
     "total_amount": "16"},
    {"sku": "CUP", "is_return": True, "quantity": "-1", "discount_amount": "-1", "tax_amount": "-0.67",
     "total_amount": "-4"},
    {"name": "off", "quantity": "1", "discount_amount": "0.10", "tax_amount": "-0.08", "total_amount": "-0.50"},
]  # fmt: skip
MONEY = {
    "service_charge_amount": "2.10", "rounding_amount": "-0.01", "tip_amount": "3", "tax_amount": "2.27",
    "total_amount": "16.59",
}  # fmt: skip
PAID = [{"amount": "10"}, {"tender_type": "cash", "amount": "6.59", "tip_amount": "3"}]


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as made:
        yield made


def everything(shop: Shop, **changes: Any) -> str:
    """The payload of a receipt that holds everything."""
    for table in ("transactions", "transaction_lines", "transaction_tenders"):
        shop.connection.execute(f"delete from core.{table}")
    shop.sale(GOODS, PAID, **(MONEY | changes))
    row = only(shop.stream("receipts", WITH_TIPS))
    assert (row["skipped_reason"], row["rejected_reason"]) == (None, None)
    return str(row["text"])


def corrections(shop: Shop, sent: str, present: str | None, *, key: str = "square:T1", skipped: str | None = None,
                marks: tuple[str, str] = ("aa11", "bb22")) -> list[dict[str, Any]]:  # fmt: skip
    """Run the SQL over one receipt that changed."""
    shop.connection.execute(
        "create or replace temp table corrected as select ? as record_key, ? as sent_payload, ?::varchar as payload, "
        "?::varchar as skipped_reason, ? as sent_mark, ? as new_mark",
        [key, sent, present, skipped, *marks],
    )
    return shop.connection.sql(SQL).to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def exact(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return found


def test_a_change_is_a_return_of_the_old_receipt_and_a_new_one(shop: Shop) -> None:
    back, new = corrections(shop, everything(shop), everything(shop, total_amount="16.59", receipt_number="A-18"))
    assert (back["record_key"], back["correction_key"], back["weight"]) == ("square:T1", "square:T1:return:aa11", 6)
    assert (new["record_key"], new["correction_key"], new["weight"]) == ("square:T1", "square:T1:new:bb22", 6)
    assert back["payload"] == (
        '{"contact":{"matchKey":"square:C1","matchKeyType":"externalId","contactType":"Member"},'
        '"uniqueReceiptId":"square:T1:return:aa11","receiptNumber":"A-17",'
        '"createdDate":"2026-11-12T10:14:00+01:00","storeExternalId":"L1","currency":"GBP",'
        '"exchangeRateToGroupCurrency":1.00000000,"totalGrossPrice":-16.5900,'
        '"paymentMethods":[{"type":"card","value":-10.0000},{"type":"cash","value":-6.5900}],'
        '"items":['
        '{"type":"RETURN","sku":"TEA","articleNumber":"TEA","articleName":"Tea \\"hot\\"; \\\\ 茶","quantity":-2.50000,'
        '"grossPaidPrice":16.0000,"taxAmount":2.6700,"taxPercent":20.03,"discounts":[{"value":-4.0000}]},'
        '{"type":"PURCHASE","sku":"CUP","articleNumber":"CUP","articleName":"Tea","quantity":1.00000,'
        '"grossPaidPrice":4.0000,"taxAmount":0.6700,"taxPercent":20.12,"discounts":[{"value":-1.0000}]},'
        '{"type":"ADJUSTMENT","sku":"CUSTOM","articleNumber":"CUSTOM","articleName":"off","quantity":1.00000,'
        '"grossPaidPrice":0.5000,"taxAmount":0.0800,"taxPercent":19.05,"discounts":[{"value":0.1000}]},'
        '{"type":"ADJUSTMENT","sku":"SERVICE-CHARGE","articleNumber":"SERVICE-CHARGE","articleName":"Service charge",'
        '"quantity":1.00000,"grossPaidPrice":-2.1000,"taxAmount":-0.3500,"taxPercent":20.00},'
        '{"type":"ADJUSTMENT","sku":"ROUNDING","articleNumber":"ROUNDING","articleName":"Rounding",'
        '"quantity":1.00000,"grossPaidPrice":0.0100,"taxAmount":0.0000,"taxPercent":0.00},'
        '{"type":"ADJUSTMENT","sku":"TIP","articleNumber":"TIP","articleName":"Tip","quantity":1.00000,'
        '"grossPaidPrice":-3.0000,"taxAmount":0.0000,"taxPercent":0.00}]}'
    )
    assert new["payload"] == everything(shop, receipt_number="A-18").replace(
        '"uniqueReceiptId":"square:T1"', '"uniqueReceiptId":"square:T1:new:bb22"'
    )


def test_a_receipt_that_goes_there_no_longer_is_only_returned(shop: Shop) -> None:
    for present in (None, "{}"):
        (back,) = corrections(shop, everything(shop), present, skipped="voided")
        assert back["correction_key"] == "square:T1:return:aa11"


def test_a_correction_can_be_corrected_under_further_ids(shop: Shop) -> None:
    _, new = corrections(shop, everything(shop), everything(shop, receipt_number="A-18"))
    back, newer = corrections(shop, new["payload"], everything(shop, receipt_number="A-19"), marks=("bb22", "cc33"))
    assert exact(back["payload"])["uniqueReceiptId"] == "square:T1:return:bb22"
    assert exact(newer["payload"])["uniqueReceiptId"] == "square:T1:new:cc33"
    assert exact(newer["payload"])["receiptNumber"] == "A-19"


def test_a_receipt_without_number_rate_or_discounts_gets_none(shop: Shop) -> None:
    shop.sale([{"sku": "TEA", "quantity": "0", "total_amount": "0"}], [], receipt_number=None)
    sent = only(shop.stream("receipts"))["text"].replace('"exchangeRateToGroupCurrency":1.00000000,', "")
    back, _ = corrections(shop, sent, sent)
    payload = exact(back["payload"])
    assert not {"receiptNumber", "exchangeRateToGroupCurrency"} & payload.keys()
    assert "discounts" not in payload["items"][0]
    # No units came back, so it cannot be a RETURN.
    assert (payload["items"][0]["type"], payload["totalGrossPrice"]) == ("ADJUSTMENT", 0)
    assert "-0." not in back["payload"]
    assert check_receipt(payload) is None


def test_an_amount_of_many_digits_comes_back_to_the_last_one(shop: Shop) -> None:
    shop.sale([{"total_amount": "12345678901234.5678", "tax_amount": "0.0001"}], [],
              total_amount="12345678901234.5678")  # fmt: skip
    sent = only(shop.stream("receipts"))["text"]
    back, new = corrections(shop, sent, sent)
    assert '"totalGrossPrice":-12345678901234.5678,' in back["payload"]
    assert '"grossPaidPrice":12345678901234.5678,' in back["payload"]
    assert '"totalGrossPrice":12345678901234.5678,' in new["payload"]


@pytest.mark.parametrize("key", ['square:"T1"', "square:\\T1\\1", "square:Tüé 茶"])
def test_a_key_of_any_letters_becomes_the_id(shop: Shop, key: str) -> None:
    shop.sale([{"name": '"uniqueReceiptId":"no"', "total_amount": "1"}], [], transaction_id=key, total_amount="1")
    sent = only(shop.stream("receipts"))["text"]
    back, new = corrections(shop, sent, sent, key=key)
    assert exact(back["payload"])["uniqueReceiptId"] == f"{key}:return:aa11"
    assert exact(new["payload"]) == exact(sent) | {"uniqueReceiptId": f"{key}:new:bb22"}


def test_the_sql_gives_the_same_text_each_time_for_many_receipts(shop: Shop) -> None:
    for number in range(40):
        shop.sale(GOODS, PAID, transaction_id=f"square:T{number:02}", **MONEY)
    shop.connection.execute("create or replace temp table many (record_key varchar, payload varchar)")
    rows = shop.stream("receipts", WITH_TIPS)
    shop.connection.executemany("insert into many values (?, ?)", [[r["record_key"], r["text"]] for r in rows])
    shop.connection.execute(
        "create or replace temp view corrected as select record_key, payload as sent_payload, payload, "
        "case when record_key like '%0' then 'voided' end as skipped_reason, 's' as sent_mark, 'n' as new_mark "
        "from many"
    )
    once, twice = (shop.connection.sql(SQL).to_arrow_table().to_pylist() for _ in range(2))
    assert once == twice
    assert len(once) == 40 + 36
    assert len({row["correction_key"] for row in once}) == 76


cents = st.integers(-100_000, 100_000).map(lambda n: Decimal(n).scaleb(-2))
goods = st.lists(st.tuples(cents, st.booleans(), cents, cents, st.integers(0, 3)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=goods, charge=cents, rounding=cents, tip=cents, paid=st.lists(cents, max_size=4))
def test_old_return_and_new_add_up_to_the_present_receipt_in_every_figure(
    shop: Shop, lines: list[tuple[Decimal, bool, Decimal, Decimal, int]], charge: Decimal, rounding: Decimal,
    tip: Decimal, paid: list[Decimal],
) -> None:  # fmt: skip
    for table in ("transactions", "transaction_lines", "transaction_tenders"):
        shop.connection.execute(f"delete from core.{table}")
    shop.sale(
        [
            {"total_amount": amount, "is_return": back, "tax_amount": tax, "discount_amount": discount,
             "quantity": -units if back else units}
            for amount, back, tax, discount, units in lines
        ],
        [{"amount": amount} for amount in paid],
        service_charge_amount=charge, rounding_amount=rounding, tip_amount=tip,
        total_amount=sum(line[0] for line in lines) + charge + rounding + tip,
    )  # fmt: skip
    sent = only(shop.stream("receipts", WITH_TIPS))["text"]
    old, back = exact(sent), exact(corrections(shop, sent, None, skipped="voided")[0]["payload"])
    assert check_receipt(back) is None
    assert figures(old) == tuple(-figure for figure in figures(back))
    assert [line["taxPercent"] for line in old["items"]] == [line["taxPercent"] for line in back["items"]]


def figures(receipt: dict[str, Any]) -> tuple[Decimal, ...]:
    """Total, payments, lines, taxes and discounts of a receipt, each with its sign."""
    items = [(SIGNS[line["type"]], line) for line in receipt["items"]]
    return (
        receipt["totalGrossPrice"],
        sum(payment["value"] for payment in receipt["paymentMethods"]),
        sum(sign * line["grossPaidPrice"] for sign, line in items),
        sum(sign * line["taxAmount"] for sign, line in items),
        sum(sign * one["value"] for sign, line in items for one in line.get("discounts", [])),
    )


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path / "sandbox", vendors=("voyado",)) as running:
        yield running


def send(options: VoyadoOptions, stream_name: str, batch: Batch) -> None:
    stream = next(s for s in VOYADO.streams if s.name == stream_name)
    session = connect(options, {"VOYADO_API_KEY": "sandbox-voyado-key"}, Limits())
    with session.client:
        assert {outcome.state for outcome in stream.send(session, batch)} <= {"accepted", "delivered"}


def one(key: str, text: str) -> Batch:
    return Batch("b", (key,), (text.encode(),))


def test_the_vendor_takes_all_three_and_holds_the_present_receipt_to_the_last_digit(
    shop: Shop, sandbox: Sandbox
) -> None:
    options = WITH_TIPS.model_copy(update={"base_url": f"{sandbox.url}/voyado", "retry_first_wait": 0})
    for name in ("stores", "contacts"):
        row = only(shop.stream(name, options))
        send(options, name, one(row["record_key"], row["text"]))
    sent = everything(shop)
    send(options, "receipts", one("square:T1", sent))
    now = [{**GOODS[0], "total_amount": "11.11"}, *GOODS[1:]]
    for table in ("transactions", "transaction_lines", "transaction_tenders"):
        shop.connection.execute(f"delete from core.{table}")
    shop.sale(now, PAID, **(MONEY | {"total_amount": "11.70"}))
    present = only(shop.stream("receipts", options))["text"]
    # Twice, as after a crash: what is there already is ignored.
    for row in corrections(shop, sent, present) * 2:
        send(options, "receipts", one(row["correction_key"], row["payload"]))
    holds = sandbox.stand_ins["voyado"].report()
    assert (holds["receipts"], holds["receipts_dropped"], holds["duplicates_ignored"]) == (3, 0, 2)
    assert Decimal(holds["totals"]["GBP"]) == exact(present)["totalGrossPrice"] == Decimal("11.70")
    # Voided in the end: the last version is returned too, and nothing is left.
    new = corrections(shop, sent, present)[1]["payload"]
    (last,) = corrections(shop, new, None, skipped="voided", marks=("bb22", "cc33"))
    send(options, "receipts", one(last["correction_key"], last["payload"]))
    assert Decimal(sandbox.stand_ins["voyado"].report()["totals"]["GBP"]) == 0


def test_corrections_go_by_file_too(shop: Shop, sandbox: Sandbox, tmp_path: Path) -> None:
    drop = f"folder:{tmp_path / 'sandbox' / 'voyado' / 'drop'}"
    options = WITH_TIPS.model_copy(update={"base_url": f"{sandbox.url}/voyado", "drop": drop, "retry_first_wait": 0})
    shop.add("customers", {**CUSTOMER, "customer_id": "square:C2", "source_customer_id": "C2"})
    for name in ("stores", "contacts"):
        for row in shop.stream(name, options):
            send(options, name, one(row["record_key"], row["text"]))
    sent = everything(shop)
    # The receipt was booked to another customer in the meantime.
    present = everything(shop, customer_id="square:C2")
    rows = [("square:T1", sent), *((r["correction_key"], r["payload"]) for r in corrections(shop, sent, present))]
    shop.connection.execute("create or replace temp table planned (record_key varchar, payload varchar)")
    shop.connection.executemany("insert into planned values (?, ?)", [list(row) for row in rows])
    file, keys = tmp_path / "batch.csv", tuple(key for key, _ in rows)
    payloads = shop.connection.sql("select * from planned").to_arrow_table()
    lines = render_rows(shop.connection, (VOYADO.folder / "receipt_history.sql").read_text(), payloads, file)
    assert validate_receipts(FileCheck(file, lines, "externalId", keys)).num_rows == lines == 18
    send(options, "receipt_history", Batch("b1", keys, tuple(text.encode() for _, text in rows), file, lines))
    holds = sandbox.stand_ins["voyado"].report()
    assert (holds["receipts_by_channel"], holds["totals"]) == ({"file": 3}, {"GBP": "16.59"})
    listed = sandbox.stand_ins["voyado"].records("receipts", 0, 10)["records"]  # type: ignore[attr-defined]
    by_contact: dict[str, Decimal] = {}
    for each in listed:
        by_contact[each["contact_id"]] = by_contact.get(each["contact_id"], Decimal(0)) + Decimal(each["total"])
    assert sorted(by_contact.values()) == [0, Decimal("16.59")]
