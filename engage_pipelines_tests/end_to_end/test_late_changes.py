"""What changes after the night it was delivered in: edits, late closings, voids, and nights that were missed."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.errors import RetryableError
from engage_pipelines.operations import Desk, keep_books
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import desk_of, fast_destination, listed, pull_and_load, put, rows
from engage_pipelines_tests.ledger_rows import mirrored

LATE = datetime(2024, 4, 4, 10, tzinfo=UTC)


class Nights:
    """An installation whose clock a test moves on by hand."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.now = small_shop.NOW
        self.desk: Desk = desk_of(sandbox.url, folder, now=lambda: self.now)

    def run(self, day: date) -> dict[str, Any]:
        """The nightly run for `day`, in the night after it; gives what each flow did."""
        self.now = datetime(day.year, day.month, day.day, 1, 30, tzinfo=UTC) + timedelta(days=1)
        pull_and_load(self.desk, (day, day), reread=True, only=("orders",))
        return self.deliver((day, day), reread=True)

    def deliver(self, days: tuple[date, date], *, reread: bool = False) -> dict[str, Any]:
        """Deliver everything live."""
        flows = {}
        for destination in self.desk.destinations:
            for stream in destination.streams:
                if not stream.history:
                    selection = self.desk.touched(destination, stream, days, reread=reread)
                    flows[f"{destination.name}/{stream.name}"] = self.desk.deliver(destination, stream, selection)
        return flows

    def state(self, destination: str, key: str) -> str:
        """What the ledger says of a receipt."""
        table = mirrored(self.desk.ledger)["ops.deliveries"].to_pylist()
        (row,) = [r for r in table if r["destination"] == destination and r["record_key"] == f"square:{key}"]
        return str(row["state"])

    def received(self, vendor: str, kind: str, key: str) -> int:
        """How often a vendor received a receipt."""
        self.sandbox.stand_ins[vendor].report()
        found = [r["times_received"] for r in listed(self.sandbox, vendor, kind) if r["key"] == f"square:{key}"]
        return int(found[0]) if found else 0


@pytest.fixture
def nights(sandbox: Sandbox, tmp_path: Path, loaded_folder: Path) -> Nights:
    """The whole week is loaded and delivered; what comes is the night after it."""
    shutil.copytree(loaded_folder / "data", tmp_path / "data")
    made = Nights(sandbox, tmp_path)
    made.deliver(small_shop.DAYS)
    return made


def _changed(number: int, at: datetime = LATE, **fields: Any) -> dict[str, Any]:
    return {**small_shop.receipt(number), **fields, "updated_at": small_shop.text(at)}


def _assert_books_balance(nights: Nights) -> None:
    books = keep_books(nights.desk)
    aiq = nights.sandbox.stand_ins["aiq"].report()
    assert books.delivered["aiq/sales"].receipts == aiq["sales"]
    assert f"{sum(books.delivered['aiq/sales'].amount_without_tips.values()):f}" == aiq["transaction_total"]


def test_a_backfill_is_delivered_whole(nights: Nights) -> None:
    assert nights.sandbox.stand_ins["aiq"].report()["sales"] == small_shop.RECEIPTS - 2 + 1
    _assert_books_balance(nights)


def test_an_edited_receipt_is_updated_where_that_is_possible_and_diverges_where_not(nights: Nights) -> None:
    edited = small_shop.receipt(40)
    line = small_shop.line("z", 9, "GBP")
    lines = [*edited["line_items"], line]
    total = small_shop.order("x", lines, LATE)["total_money"]
    tender = {**edited["tenders"][0], "amount_money": total}
    put(nights.sandbox, "orders", _changed(40, line_items=lines, total_money=total, tenders=[tender],
                                           net_amounts={"total_money": total}))  # fmt: skip
    flows = nights.run(LATE.date())
    query = "select line_count, total_amount from core.transactions where transaction_id = 'square:O40'"
    assert rows(nights.desk, query) == [(len(lines), Decimal(total["amount"]) / 100)]
    assert (flows["aiq/sales"].accepted, flows["voyado/receipts"].diverged) == (1, 1)
    assert nights.received("aiq", "sales", "O40") == 2
    assert nights.received("voyado", "receipts", "O40") == 1
    assert (nights.state("aiq", "O40"), nights.state("voyado", "O40")) == ("accepted", "diverged")
    _assert_books_balance(nights)

    flows = nights.run(LATE.date() + timedelta(days=1))
    assert flows["aiq/sales"].calls == flows["voyado/receipts"].calls == 0
    assert nights.received("aiq", "sales", "O40") == 2
    assert nights.state("voyado", "O40") == "diverged"


def test_an_open_receipt_is_delivered_once_it_is_closed(nights: Nights) -> None:
    assert nights.received("aiq", "sales", f"O{small_shop.OPEN:02}") == 0
    closed = small_shop.order(
        f"O{small_shop.OPEN:02}", small_shop.receipt(small_shop.OPEN)["line_items"], LATE,
        store_id=small_shop.store_of(small_shop.OPEN), customer_id="C05",
    )  # fmt: skip
    put(nights.sandbox, "orders", closed)
    nights.run(LATE.date())
    assert nights.received("aiq", "sales", f"O{small_shop.OPEN:02}") == 1
    # It closed after go-live, so it goes by the API although it was opened before.
    assert nights.received("voyado", "receipts", f"O{small_shop.OPEN:02}") == 1
    _assert_books_balance(nights)


def test_a_receipt_voided_after_its_delivery_is_visible_and_sent_nowhere(nights: Nights) -> None:
    put(nights.sandbox, "orders", _changed(40, state="CANCELED"))
    flows = nights.run(LATE.date())
    assert rows(nights.desk, "select status from core.transactions where transaction_id = 'square:O40'") == [
        ("voided",)
    ]
    assert flows["aiq/sales"].diverged == flows["voyado/receipts"].diverged == 1
    assert flows["aiq/sales"].calls == flows["voyado/receipts"].calls == 0
    assert (nights.state("aiq", "O40"), nights.state("voyado", "O40")) == ("diverged", "diverged")
    reasons = mirrored(nights.desk.ledger)["ops.deliveries"].to_pylist()
    assert {r["reason"] for r in reasons if r["state"] == "diverged"} == {"delivered, now: voided"}


def test_missed_nights_are_made_up_for_by_the_next_one(nights: Nights) -> None:
    lines = [small_shop.line("a", 1, "GBP")]
    for day in range(5, 14):
        at = datetime(2024, 4, day, 12, tzinfo=UTC)
        put(nights.sandbox, "orders", small_shop.order(f"MISSED{day}", lines, at, customer_id="C01"))
    nights.run(date(2024, 4, 13))
    query = "select count(*) from core.transactions where transaction_id like 'square:MISSED%'"
    assert rows(nights.desk, query) == [(9,)]
    for day in range(5, 14):
        assert nights.received("aiq", "sales", f"MISSED{day}") == 1
        assert nights.received("voyado", "receipts", f"MISSED{day}") == 1
    _assert_books_balance(nights)


def test_a_change_older_than_the_trailing_days_still_comes_in(nights: Nights) -> None:
    # Pulls go by the time of change: that a receipt is old does not matter, only when it was touched.
    put(nights.sandbox, "orders", _changed(0, note="x", customer_id="C04"))
    nights.run(LATE.date())
    assert nights.received("aiq", "sales", "O00") == 2


def test_what_a_platform_could_not_take_for_many_nights_goes_with_the_first_good_one(nights: Nights) -> None:
    lines = [small_shop.line("a", 1, "GBP")]
    aiq = nights.desk.destination("aiq")
    sales = nights.desk.stream(aiq, "sales")
    nights.sandbox.add_fault("aiq", kind="status", status=503)
    for day in range(5, 12):
        at = datetime(2024, 4, day, 12, tzinfo=UTC)
        put(
            nights.sandbox,
            "orders",
            *(small_shop.order(f"D{day}N{n}", lines, at) for n in range(60 if day == 5 else 1)),
        )
        nights.now = at + timedelta(hours=14)
        pull_and_load(nights.desk, (at.date(), at.date()), reread=True, only=("orders",))
        selection = nights.desk.touched(aiq, sales, (at.date(), at.date()), reread=True)
        with pytest.raises(RetryableError):
            nights.desk.deliver(fast_destination(aiq, attempts=1), sales, selection)
    nights.sandbox.clear_faults("aiq")
    nights.run(date(2024, 4, 12))
    _assert_books_balance(nights)
    assert nights.sandbox.stand_ins["aiq"].report()["sales"] == small_shop.RECEIPTS - 2 + 1 + 66
    assert nights.sandbox.stand_ins["aiq"].report()["duplicate_sales_received"] == 0
