"""How CRM.COM takes a batch of products: row by row, each processed or refused with a reason."""

from __future__ import annotations

import sqlite3
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.handling import write_json
from engage_pipelines.sandbox.holdings import Holdings

_REFERENCES: dict[str, tuple[str, ...]] = {
    "type_identifier": ("id", "name", "alternative_code"),
    "brand_identifier": ("id", "name", "alternative_code"),
    "family_identifier": ("id", "name", "code"),
    "category_identifier": ("id", "name", "alternative_code", "code"),
    "vat_rate_identifier": ("id", "name", "alternative_code", "code"),
    "tax_rate_identifier": ("id", "name", "alternative_code", "code"),
}
_TEXTS = frozenset({
    "code", "alternative_code", "description", "long_description", "product_validity_from",
    "product_validity_to", *(f"udf_string_{n}" for n in range(1, 17)), *(f"udf_date_{n}" for n in range(1, 5)),
})  # fmt: skip
_NUMBERS = frozenset({"priority_level", *(f"udf_float_{n}" for n in range(1, 5))})
_KNOWN = _TEXTS | _NUMBERS | set(_REFERENCES) | {"global_rate"}

_PUT = """
insert into products values (?, ?, ?, ?, ?, 1, 0)
on conflict (code) do update set
    family = excluded.family, price = excluded.price, body = excluded.body,
    times_received = times_received + 1, times_updated = times_updated + 1
"""


class _RefusedRowError(Exception):
    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _check_types(row: Mapping[str, Any]) -> None:
    if not isinstance(row.get("code"), str) or not row["code"].strip():
        raise _RefusedRowError("MANDATORY_FIELD", "code is mandatory")
    for name, value in row.items():
        if name in _TEXTS and not isinstance(value, str):
            raise _RefusedRowError("INVALID_VALUE", f"{name} must be a string")
        if name in _NUMBERS and not _is_number(value):
            raise _RefusedRowError("INVALID_VALUE", f"{name} must be a number")
    rate = row.get("global_rate")
    if rate is not None and not (isinstance(rate, dict) and _is_number(rate.get("global_base_amount"))):
        raise _RefusedRowError("INVALID_VALUE", "global_rate must hold global_base_amount, a number")


def _check_references(row: Mapping[str, Any]) -> None:
    for name, alternatives in _REFERENCES.items():
        if name not in row:
            continue
        given = row[name]
        if not isinstance(given, dict) or len(given) != 1 or not set(given) <= set(alternatives):
            raise _RefusedRowError("INVALID_IDENTIFIER", f"{name} needs exactly one of {', '.join(alternatives)}")
        if not isinstance(next(iter(given.values())), str):
            raise _RefusedRowError("INVALID_IDENTIFIER", f"{name} must hold a string")


def _family_of(row: Mapping[str, Any]) -> str:
    return str(next(iter(row.get("family_identifier", {"": ""}).values())))


def _price_of(row: Mapping[str, Any]) -> str:
    return str(row["global_rate"]["global_base_amount"]) if row.get("global_rate") else "0"


def _echo(row: Any) -> Any:
    return row.get("code") if isinstance(row, dict) else None


class ProductSync:
    """Takes batches of products into `holdings`.

    Args:
        holdings: file with the tables `products` and `tally`.
        enforce_update: update products that exist.
        families: family codes that exist.
        strict: refuse rows whose family (or other reference) does not exist.
    """

    def __init__(self, holdings: Holdings, *, enforce_update: bool, families: Sequence[str], strict: bool) -> None:
        self._holdings = holdings
        self._enforce_update = enforce_update
        self._families = frozenset(families)
        self._strict = strict

    def run(self, rows: Sequence[Any], *, refuse: Fault | None) -> dict[str, Any]:
        """Take one batch; `refuse` is a fault that strikes single rows."""
        processed: list[dict[str, Any]] = []
        unprocessed: list[dict[str, Any]] = []
        with self._holdings.change() as change:
            for index, row in enumerate(rows):
                done, answered = self._take(change, row, refuse if _struck(refuse, index, row) else None)
                (processed if done else unprocessed).append(answered)
            self._tally(rows, processed, unprocessed)
        return {"processed_products_set": processed, "unprocessed_products_set": unprocessed}

    def _take(self, change: sqlite3.Connection, row: Any, fault: Fault | None) -> tuple[bool, dict[str, Any]]:
        try:
            return True, self._put(change, self._checked(row, fault))
        except _RefusedRowError as error:
            return False, {
                "request_code": _echo(row), "error_code": error.code, "error_description": str(error)
            }  # fmt: skip

    def _checked(self, row: Any, fault: Fault | None) -> Mapping[str, Any]:
        if fault:
            raise _RefusedRowError("SANDBOX_FAULT", fault.message)
        if not isinstance(row, dict):
            raise _RefusedRowError("INVALID_VALUE", "a product must be an object")
        _check_types(row)
        _check_references(row)
        family = _family_of(row)
        if self._strict and family and family not in self._families:
            raise _RefusedRowError("NOT_FOUND", "family_identifier does not exist")
        return row

    def _put(self, change: sqlite3.Connection, row: Mapping[str, Any]) -> dict[str, Any]:
        code = row["code"]
        found = change.execute("select id from products where code = ?", (code,)).fetchone()
        if found and not self._enforce_update:
            change.execute("update products set times_received = times_received + 1 where code = ?", (code,))
            raise _RefusedRowError("ALREADY_EXISTS", "a product with this code exists already")
        product_id = found[0] if found else uuid.uuid4().hex.upper()
        body = write_json(row).decode()
        change.execute(_PUT, (code, product_id, _family_of(row), _price_of(row), body))
        unknown = sorted(set(row) - _KNOWN)
        message = f"not updated, no such field: {', '.join(unknown)}" if unknown else None
        return {"request_code": code, "id": product_id, "code": code, "message": message}

    def _tally(self, rows: Sequence[Any], processed: Sequence[Mapping[str, Any]], unprocessed: Sequence[Any]) -> None:
        codes = Counter(str(_echo(row)) for row in rows)
        self.count({
            "rows_received": len(rows), "rows_processed": len(processed), "rows_unprocessed": len(unprocessed),
            "rows_with_message": sum(1 for row in processed if row["message"]),
            "duplicate_rows_in_a_call": sum(times - 1 for times in codes.values()),
        })  # fmt: skip

    def count(self, more: Mapping[str, int]) -> None:
        """Add to the running counts."""
        with self._holdings.change() as change:
            change.executemany(
                "insert into tally values (?, ?) on conflict (name) do update set count = count + excluded.count",
                list(more.items()),
            )


def _struck(fault: Fault | None, index: int, row: Any) -> bool:
    return fault is not None and fault.strikes_row(index, str(_echo(row)))
