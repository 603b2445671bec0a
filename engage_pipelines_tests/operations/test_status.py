"""The state of an installation at a glance, and its books."""

from __future__ import annotations

from decimal import Decimal

from engage_pipelines.operations import Desk, keep_books, look
from engage_pipelines.state import Settlement
from engage_pipelines_tests.installation import desk_of, rows
from engage_pipelines_tests.small_shop import NOW


def hold(desk: Desk, keys: list[str], state: str) -> None:
    """Note receipts as if they had been sent to AIQ."""
    attempt = desk.ledger.begin("aiq", "sales", "b", "run", [(key, "h") for key in keys], NOW)
    desk.ledger.settle(attempt, [Settlement(key, state) for key in keys], NOW)


def countable(desk: Desk) -> list[str]:
    return [key for (key,) in rows(desk, "select transaction_id from core.transactions where is_countable order by 1")]


def test_before_any_delivery_there_are_bookmarks_and_books_and_nothing_is_delivered(loaded: Desk) -> None:
    status = look(loaded)
    assert {entity for _, entity, _ in status.bookmarks} >= {"orders", "customers", "payments", "refunds"}
    assert status.flows == []
    assert (status.out_of_balance, status.incomplete, status.needs_a_person) == (0, 0, False)
    assert status.books.core.receipts == len(countable(loaded))
    assert {totals.receipts for totals in status.books.delivered.values()} == {0}


def test_the_books_say_to_the_penny_what_each_platform_holds(loaded: Desk) -> None:
    keys = countable(loaded)
    hold(loaded, keys, "delivered")
    books = keep_books(loaded)
    held = books.delivered["aiq/sales"]
    assert (held.receipts, held.lines, held.amount) == (books.core.receipts, books.core.lines, books.core.amount)
    assert all(isinstance(amount, Decimal) for amount in held.amount.values())
    assert books.delivered["voyado/receipts"].receipts == 0


def test_the_live_stream_and_the_history_of_one_platform_are_one_line_in_the_books(loaded: Desk) -> None:
    assert sorted(keep_books(loaded).delivered) == ["aiq/sales", "voyado/receipts"]


def test_a_record_in_doubt_needs_a_person(loaded: Desk) -> None:
    keys = countable(loaded)
    hold(loaded, keys[:2], "delivered")
    hold(loaded, keys[2:3], "in_doubt")
    status = look(loaded)
    assert [(flow.destination, flow.stream, flow.states) for flow in status.flows] == [
        ("aiq", "sales", {"delivered": 2, "in_doubt": 1})
    ]
    assert status.needs_a_person
    (doubtful,) = status.in_doubt
    assert (doubtful.destination, doubtful.stream, doubtful.records, doubtful.policy) == ("aiq", "sales", 1, "resend")


def test_what_the_settings_say_about_doubt_is_what_is_shown(loaded: Desk) -> None:
    folder = loaded.settings.file.parent
    hold(loaded, countable(loaded)[:1], "in_doubt")
    careful = desk_of("http://127.0.0.1:9", folder, aiq={"in_doubt": {"sales": "hold"}})
    assert [each.policy for each in look(careful).in_doubt] == ["hold"]
    off = desk_of("http://127.0.0.1:9", folder, aiq={"enabled": False})
    assert [(each.policy, each.records) for each in look(off).in_doubt] == [("off", 1)]
    assert look(off).needs_a_person


def test_refused_and_diverged_records_are_shown_and_are_no_alarm_of_their_own(loaded: Desk) -> None:
    first, second, third, *_ = countable(loaded)
    attempt = loaded.ledger.begin("aiq", "sales", "b", "run", [(key, "h") for key in (first, second)], NOW)
    loaded.ledger.settle(attempt, [Settlement(key, "rejected", "no such store", "E7") for key in (first, second)], NOW)
    loaded.ledger.note("voyado", "receipts", [(third, "diverged", "h", "changed after delivery")], NOW)
    status = look(loaded)
    (refused,), (diverged,) = status.rejected, status.diverged
    assert (refused.stream, refused.vendor_code, refused.reason, refused.records) == ("sales", "E7", "no such store", 2)
    assert (diverged.destination, diverged.reason, diverged.records) == ("voyado", "changed after delivery", 1)
    assert (status.in_doubt, status.needs_a_person) == ([], False)


def test_a_receipt_that_does_not_add_up_needs_a_person(loaded: Desk) -> None:
    (key, *_) = countable(loaded)
    rows(
        loaded, f"update warehouse.core.transactions set total_amount = total_amount + 1 where transaction_id = '{key}'"
    )
    status = look(loaded)
    assert (status.out_of_balance, status.needs_a_person) == (1, True)
