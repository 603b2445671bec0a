"""Orders in Square's shape, and the arithmetic that holds in each of them. Money is whole minor units.

For a line: total = gross - discount. Taxes here are included in the price, as in Europe, so they are a part of the
gross and of the total and are not added again. For an order: total = lines + service charges + tips, and
net = total - what was returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engage_pipelines.sandbox.square.timestamps import to_text

Record = dict[str, Any]


def money(amount: int, currency: str) -> Record:
    """An amount as Square writes it."""
    return {"amount": amount, "currency": currency}


def spread(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` by weight into whole units that add up to it: the largest remainders get what is left over."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    if left:
        neediest = sorted(range(len(weights)), key=lambda at: (-(total * weights[at] % whole), at))
        for at in neediest[:left]:
            shares[at] += 1
    return shares


@dataclass(slots=True)
class Line:
    """A sold or returned line; amounts are positive on both.

    `discounts` and `taxes` hold what the discount or tax of that uid takes or contains on this line; `more` is what
    else the record carries, e.g. modifiers.
    """

    uid: str
    quantity: str
    base: int
    gross: int
    name: str | None = None
    variation_id: str | None = None
    variation_name: str | None = None
    item_type: str = "ITEM"
    is_taxed: bool = False
    discounts: list[tuple[str, int]] = field(default_factory=list)
    taxes: list[tuple[str, int]] = field(default_factory=list)
    more: Record = field(default_factory=dict)

    @property
    def discount(self) -> int:
        """What discounts take off."""
        return sum(amount for _, amount in self.discounts)

    @property
    def tax(self) -> int:
        """Tax inside the total."""
        return sum(amount for _, amount in self.taxes)

    @property
    def total(self) -> int:
        """What is paid for the line."""
        return self.gross - self.discount


class Sums(NamedTuple):
    """An order's amounts; tax is a part of the total."""

    total: int = 0
    tax: int = 0
    discount: int = 0
    tip: int = 0
    service: int = 0

    def less(self, other: Sums) -> Sums:
        """These amounts without the other ones."""
        return Sums(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def record(self, currency: str) -> Record:
        """As `OrderMoneyAmounts`."""
        return {
            "total_money": money(self.total, currency),
            "tax_money": money(self.tax, currency),
            "discount_money": money(self.discount, currency),
            "tip_money": money(self.tip, currency),
            "service_charge_money": money(self.service, currency),
        }


def sums(lines: Sequence[Line], *, tip: int = 0, service: int = 0, service_tax: int = 0) -> Sums:
    """Amounts of an order with these lines."""
    return Sums(
        total=sum(line.total for line in lines) + tip + service,
        tax=sum(line.tax for line in lines) + service_tax,
        discount=sum(line.discount for line in lines),
        tip=tip,
        service=service,
    )


def line_item(line: Line, currency: str) -> Record:
    """A sold line as `OrderLineItem`."""
    record = _line(line, currency)
    record["gross_sales_money"] = money(line.gross, currency)
    return record


def return_line_item(line: Line, currency: str, source_uid: str | None = None) -> Record:
    """A returned line as `OrderReturnLineItem`; `source_uid` is the line that it was sold by."""
    record = _line(line, currency)
    record["gross_return_money"] = money(line.gross, currency)
    if source_uid is not None:
        record["source_line_item_uid"] = source_uid
    return record


def order(
    *,
    order_id: str,
    location_id: str,
    currency: str,
    times: tuple[int, int, int | None],
    sold: Sums,
    returned: Sums | None = None,
    state: str = "COMPLETED",
    version: int = 1,
    parts: Mapping[str, Any],
) -> Record:
    """A whole order. `times` are creation, change and closing in microseconds; `parts` are its lines, tenders, ..."""
    created_at, updated_at, closed_at = times
    record: Record = {
        "id": order_id,
        "location_id": location_id,
        **{name: part for name, part in parts.items() if part},
        "created_at": to_text(created_at),
        "updated_at": to_text(updated_at),
        "state": state,
        "version": version,
        "total_money": money(sold.total, currency),
        "total_tax_money": money(sold.tax, currency),
        "total_discount_money": money(sold.discount, currency),
        "total_tip_money": money(sold.tip, currency),
        "total_service_charge_money": money(sold.service, currency),
    }
    if closed_at is not None:
        record["closed_at"] = to_text(closed_at)
    if returned is not None:
        record["return_amounts"] = returned.record(currency)
    record["net_amounts"] = sold.less(returned or Sums()).record(currency)
    return record


def _line(line: Line, currency: str) -> Record:
    base = money(line.base, currency)
    named = {
        "name": line.name,
        "catalog_object_id": line.variation_id,
        "variation_name": line.variation_name,
        "applied_discounts": _applied(line, "discount", line.discounts, currency),
        "applied_taxes": _applied(line, "tax", line.taxes, currency),
    }
    modifiers = sum(modifier["total_price_money"]["amount"] for modifier in line.more.get("modifiers", ()))
    return {
        "uid": line.uid,
        "quantity": line.quantity,
        "item_type": line.item_type,
        **{name: value for name, value in named.items() if value},
        **line.more,
        "base_price_money": base,
        "variation_total_price_money": money(line.gross - modifiers, currency),
        "total_tax_money": money(line.tax, currency),
        "total_discount_money": money(line.discount, currency),
        "total_service_charge_money": money(0, currency),
        "total_money": money(line.total, currency),
    }


def _applied(line: Line, what: str, amounts: list[tuple[str, int]], currency: str) -> list[Record]:
    return [
        {"uid": f"{line.uid}-{uid}", f"{what}_uid": uid, "applied_money": money(amount, currency)}
        for uid, amount in amounts
    ]
