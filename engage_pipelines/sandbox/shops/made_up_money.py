"""How a made-up receipt is paid, and how money goes back: tenders, payments and refunds in Square's shape."""

from __future__ import annotations

import random
from typing import NamedTuple

from engage_pipelines.sandbox.shops.made_up_stores import Store
from engage_pipelines.sandbox.shops.order_shapes import Record, money
from engage_pipelines.sandbox.square.timestamps import to_text

_BRANDS = ("VISA", "VISA", "MASTERCARD", "MASTERCARD", "AMERICAN_EXPRESS")
_SECOND = 1_000_000


class Bill(NamedTuple):
    """What is to be paid, by whom, where and when. `due` is without the tip; the time is in microseconds."""

    order_id: str
    store: Store
    customer_id: str | None
    due: int
    tip: int
    moment: int


class Paid(NamedTuple):
    """Tenders as they stand on the order, and the payments behind them."""

    tenders: list[Record]
    payments: list[Record]


def pay(rng: random.Random, bill: Bill) -> Paid:
    """Pay a bill by card or cash, one time in thirty by both. A bill of nothing has no tender."""
    if bill.due + bill.tip <= 0:
        return Paid([], [])
    by_card = bill.due
    if bill.due > 1000 and rng.random() < 0.033:
        by_card = bill.due - 500
    elif rng.random() < 0.22 and not bill.tip:
        by_card = 0
    parts = [("CARD", by_card, bill.tip), ("CASH", bill.due - by_card, 0)]
    paid = [_part(rng, bill, kind, amount, tip) for kind, amount, tip in parts if amount + tip > 0]
    return Paid([tender for tender, _ in paid], [payment for _, payment in paid])


def refund(rng: random.Random, payment: Record, order_id: str, amount: int, moment: int) -> tuple[Record, Record]:
    """Give money back on a payment: the refund on the order, and the `PaymentRefund`. The payment is changed."""
    currency = payment["amount_money"]["currency"]
    reason = rng.choice(("Returned goods", "Wrong size", "Damaged item"))
    refund_id = f"{payment['id']}_{rng.getrandbits(96):024X}"
    so_far = payment.get("refunded_money", {"amount": 0})["amount"]
    payment["refunded_money"] = money(so_far + amount, currency)
    payment["refund_ids"] = [*payment.get("refund_ids", []), refund_id]
    payment["updated_at"] = to_text(moment)
    place = {"location_id": payment["location_id"], "created_at": to_text(moment), "reason": reason}
    value = {"id": refund_id, "amount_money": money(amount, currency)}
    on_order = {**value, **place, "transaction_id": payment["order_id"], "tender_id": payment["id"]}
    of_payment = {
        **value,
        **place,
        "status": "COMPLETED",
        "updated_at": to_text(moment + 2 * _SECOND),
        "destination_type": payment["source_type"],
        "payment_id": payment["id"],
        "order_id": order_id,
    }
    return {**on_order, "status": "APPROVED"}, of_payment


def _part(rng: random.Random, bill: Bill, kind: str, amount: int, tip: int) -> tuple[Record, Record]:
    currency = bill.store.currency
    shared: Record = {
        "id": f"{rng.getrandbits(110):028X}",
        "location_id": bill.store.location_id,
        "created_at": to_text(bill.moment),
        **({"customer_id": bill.customer_id} if bill.customer_id else {}),
    }
    on_tender, on_payment = _card(rng) if kind == "CARD" else _cash(amount + tip, currency)
    tips = {"tip_money": money(tip, currency)} if tip else {}
    tender = {
        **shared,
        "transaction_id": bill.order_id,
        "type": kind,
        # On a tender the tip is a part of the amount, on a payment it is not.
        "amount_money": money(amount + tip, currency),
        **tips,
        **on_tender,
        "payment_id": shared["id"],
    }
    payment = {
        **shared,
        "updated_at": to_text(bill.moment + _SECOND),
        "amount_money": money(amount, currency),
        **tips,
        "total_money": money(amount + tip, currency),
        "approved_money": money(amount + tip, currency),
        "status": "COMPLETED",
        "source_type": kind,
        **on_payment,
        "order_id": bill.order_id,
        "receipt_number": shared["id"][:4],
        "receipt_url": f"https://squareup.com/receipt/preview/{shared['id']}",
    }
    return tender, payment


def _card(rng: random.Random) -> tuple[Record, Record]:
    card = {"card_brand": rng.choice(_BRANDS), "last_4": f"{rng.randrange(10_000):04d}"}
    details = {"card_details": {"status": "CAPTURED", "card": card, "entry_method": "CONTACTLESS"}}
    return details, details


def _cash(amount: int, currency: str) -> tuple[Record, Record]:
    given, back = -(-amount // 500) * 500, -amount % 500
    change = {"change_back_money": money(back, currency)}
    tender = {"cash_details": {"buyer_tendered_money": money(given, currency), **change}}
    return tender, {"cash_details": {"buyer_supplied_money": money(given, currency), **change}}
