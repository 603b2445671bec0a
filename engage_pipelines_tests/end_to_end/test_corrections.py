"""Receipts that change at the till after Voyado took them, with `correct_diverged`: what it holds adds up again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, Outcome, Stream
from engage_pipelines.delivery import Delivered
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines.settings import child_environment
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import desk_of, listed, pull_and_load, put, rows

REPOSITORY = Path(__file__).resolve().parents[2]
# After go-live, of a customer that Voyado knows, in pounds; and the same from before go-live.
RECEIPT, EARLY_RECEIPT = 40, 1
KEY, EARLY_KEY = "square:O40", "square:O01"
LATE = datetime(2024, 4, 4, 10, tzinfo=UTC)
HISTORY = Selection(business=(small_shop.FIRST_DAY, small_shop.GO_LIVE_ON))


def corrected_desk(url: str, folder: Path, now: datetime, *, correct: bool = True) -> Desk:
    return desk_of(url, folder, now=lambda: now, voyado={"correct_diverged": correct, "in_flight": 1})


@dataclass
class Shop:
    """The small shop, delivered to Voyado up to its last day; a test edits and lets nights go by."""

    sandbox: Sandbox
    folder: Path
    now: datetime = small_shop.NOW

    def desk(self, *, correct: bool = True) -> Desk:
        return corrected_desk(self.sandbox.url, self.folder, self.now, correct=correct)

    def edit(self, number: int, products: list[int], **fields: Any) -> None:
        """Change the goods of a receipt at the till, and load the change the night after."""
        self.now += timedelta(days=1)
        at = self.now - timedelta(hours=12)
        lines = [small_shop.line(f"n{k}", product, "GBP", 1 + k) for k, product in enumerate(products)]
        total = small_shop.money(sum(line["total_money"]["amount"] for line in lines), "GBP")
        receipt = small_shop.receipt(number)
        put(self.sandbox, "orders", {
            **receipt, "line_items": lines, "total_money": total, "net_amounts": {"total_money": total},
            "tenders": [{**receipt["tenders"][0], "amount_money": total}], "updated_at": small_shop.text(at), **fields,
        })  # fmt: skip
        pull_and_load(self.desk(), (at.date(), at.date()), reread=True, only=("orders",))

    def void(self, number: int) -> None:
        self.edit(number, [0], state="CANCELED")

    def deliver(self, name: str = "receipts", *, correct: bool = True) -> Delivered:
        """What the night's run does with the receipts."""
        desk = self.desk(correct=correct)
        voyado = desk.destination("voyado")
        stream = desk.stream(voyado, name)
        return desk.deliver(voyado, stream, HISTORY if stream.history else selection_of(desk, stream))

    def held(self, key: str = KEY) -> dict[str, Decimal]:
        """Everything that Voyado holds of a receipt: unique id -> total."""
        self.sandbox.stand_ins["voyado"].report()
        found = {r["key"]: Decimal(r["total"]) for r in listed(self.sandbox, "voyado", "receipts")}
        return {name: total for name, total in found.items() if name == key or name.startswith(f"{key}:")}

    def present_total(self, key: str = KEY) -> Decimal:
        query = f"select total_amount - tip_amount from core.transactions where transaction_id = '{key}'"
        ((total,),) = rows(self.desk(), query)
        return Decimal(total)

    def noted(self, key: str = KEY) -> dict[str, Any]:
        found = self.desk().queue.attempts(key)
        (row,) = [r for r in found if (r["destination"], r["record_key"]) == ("voyado", key)]
        return row

    def assert_settled(self, key: str, count: int) -> None:
        """Voyado's sum is the present receipt, nothing came twice, and a further night has nothing to do."""
        held = self.held(key)
        assert sum(held.values()) == self.present_total(key)
        assert len(held) == 1 + 2 * count
        row = self.noted(key)
        assert (row["state"], row["correction_count"]) == ("accepted", count)
        before = sum(r["times_received"] for r in listed(self.sandbox, "voyado", "receipts_received"))
        again = self.deliver("receipt_history" if key == EARLY_KEY else "receipts")
        assert (again.calls, again.corrected) == (0, 0)
        assert sum(r["times_received"] for r in listed(self.sandbox, "voyado", "receipts_received")) == before


def selection_of(desk: Desk, stream: Stream) -> Selection:
    day = desk.settings.day_of(desk.now()) - timedelta(days=1)
    return desk.touched(desk.destination("voyado"), stream, (day, day), reread=True)


@pytest.fixture(scope="module")
def delivered_folder(filled_till: Path, loaded_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation that has delivered the week to Voyado; copy it."""
    folder = tmp_path_factory.mktemp("delivered")
    shutil.copytree(filled_till, folder / "stand-ins")
    shutil.copytree(loaded_folder / "data", folder / "data")
    with running_sandbox(folder / "stand-ins") as sandbox:
        desk = corrected_desk(sandbox.url, folder, small_shop.NOW)
        voyado = desk.destination("voyado")
        for name, selection in (
            ("stores", Selection()), ("contacts", Selection()),
            ("receipts", Selection(touched=desk.range_of(small_shop.DAYS))),
        ):  # fmt: skip
            desk.deliver(voyado, desk.stream(voyado, name), selection)
        sandbox.stand_ins["voyado"].report()
    return folder


@pytest.fixture
def shop(delivered_folder: Path, tmp_path: Path) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(delivered_folder, folder)
    with running_sandbox(folder / "stand-ins") as sandbox:
        yield Shop(sandbox, folder)


def test_an_edited_receipt_is_returned_and_sent_anew_each_time_it_is_edited(shop: Shop) -> None:
    sent = shop.present_total()
    shop.edit(RECEIPT, [3, 9])
    result = shop.deliver()
    assert (result.corrected, result.accepted) == (1, 1)
    assert shop.held() == {
        KEY: sent, f"{KEY}:return:1": -sent, f"{KEY}:new:1": Decimal("17.10"),
    }  # fmt: skip
    assert shop.present_total() == Decimal("17.10")
    shop.assert_settled(KEY, 1)

    shop.edit(RECEIPT, [5])
    assert shop.deliver().corrected == 1
    held = shop.held()
    assert (held[f"{KEY}:return:2"], held[f"{KEY}:new:2"]) == (Decimal("-17.10"), Decimal("5.50"))
    shop.assert_settled(KEY, 2)


def test_a_receipt_that_is_voided_after_its_delivery_is_only_returned(shop: Shop) -> None:
    sent = shop.present_total()
    shop.void(RECEIPT)
    result = shop.deliver()
    assert (result.corrected, result.in_doubt, result.calls) == (1, 0, 1)
    assert shop.held() == {KEY: sent, f"{KEY}:return:1": -sent}
    row = shop.noted()
    assert (row["state"], row["reason"], row["delivered_hash"]) == ("skipped", "voided", None)
    assert shop.deliver().calls == 0
    assert sum(shop.held().values()) == 0


def test_without_the_setting_the_receipt_diverges_and_waits_for_it(shop: Shop) -> None:
    sent = shop.present_total()
    shop.edit(RECEIPT, [3, 9])
    result = shop.deliver(correct=False)
    assert (result.diverged, result.corrected, result.calls) == (1, 0, 0)
    # A run of the history corrects what went as a file, and nothing else.
    shop.deliver("receipt_history")
    assert (shop.held(), shop.noted()["state"]) == ({KEY: sent}, "diverged")
    assert [w.record_key for w in shop.desk().queue.waiting("diverged", "voyado")] == [KEY]
    assert shop.deliver().corrected == 1
    shop.assert_settled(KEY, 1)


def test_history_is_corrected_by_files(shop: Shop) -> None:
    shop.deliver("receipt_history")
    sent = shop.present_total(EARLY_KEY)
    assert shop.held(EARLY_KEY) == {EARLY_KEY: sent}
    shop.edit(EARLY_RECEIPT, [3, 9])
    assert shop.deliver("receipt_history").corrected == 1
    assert shop.held(EARLY_KEY) == {
        EARLY_KEY: sent, f"{EARLY_KEY}:return:1": -sent, f"{EARLY_KEY}:new:1": Decimal("17.10"),
    }  # fmt: skip
    shop.assert_settled(EARLY_KEY, 1)
    assert shop.sandbox.stand_ins["voyado"].report()["receipts_refused"] == 0


# --- a run that dies ------------------------------------------------------------------------------


def deliver_and_die(url: str, folder: Path, now: datetime, unique_id: str, *, leaves: bool) -> None:
    """Deliver the receipts; the process is killed beside the call for `unique_id`, before or after it."""
    desk = corrected_desk(url, folder, now)
    voyado = desk.destination("voyado")
    stream = desk.stream(voyado, "receipts")

    def send(session: Any, batch: Batch) -> Any:
        is_it = f'"uniqueReceiptId":"{unique_id}"'.encode() in batch.payloads[0]
        if is_it and not leaves:
            os.kill(os.getpid(), signal.SIGKILL)
        outcomes: list[Outcome] = list(stream.send(session, batch))
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes

    desk.deliver(voyado, replace(stream, send=send), selection_of(desk, stream))


@pytest.mark.parametrize(
    ("unique_id", "leaves", "first_state"),
    [
        (f"{KEY}:return:1", False, "diverged"),
        (f"{KEY}:return:1", True, "diverged"),
        (f"{KEY}:new:1", False, "sending"),
    ],
)
def test_a_run_that_is_killed_half_way_is_finished_by_the_next_one_without_a_penny_twice(
    shop: Shop, unique_id: str, leaves: bool, first_state: str
) -> None:
    shop.edit(RECEIPT, [3, 9])
    given = (shop.sandbox.url, str(shop.folder), shop.now.isoformat(), unique_id, leaves)
    code = (
        f"from {__name__} import *; url, folder, now, unique_id, leaves = {given!r}; "
        "deliver_and_die(url, Path(folder), datetime.fromisoformat(now), unique_id, leaves=leaves)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=child_environment(), capture_output=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert shop.noted()["state"] == first_state
    assert sum(shop.held().values()) != shop.present_total()
    shop.now += timedelta(days=1)
    assert shop.deliver().in_doubt == 0
    shop.assert_settled(KEY, 1)
    assert shop.noted(f"{KEY}:return:1")["state"] == "accepted"
