"""Which records a call brings, under which keys, and what the vendor does with a key that it knows.

A stand-in may say so itself (`stand_in.NamesRows`); for the others it stands here. Both the poison of the fault
book and the journal go by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal

from engage_pipelines.sandbox.handling import UnreadableError, read_json, write_json

# What a call does with a key: `replace`: the last one stands; `once`: only the first counts; `change`: only of what is
# there already; `add`: every time has an effect of its own, as points have that are given twice.
Applies = Literal["replace", "once", "change", "add"]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one route.

    Attributes:
        kind: what they are, under the name that the inspection API lists them by.
        keys: where a row keeps its key, as dotted paths; the first that has a value.
        at: where the body keeps its rows, as a dotted path; empty: it is the row, or the list of them.
        beside: where a row keeps what also belongs to its identity in the journal.
        in_path: the path parameter that is the key, for calls about one record.
        applies: what becomes of a key that is there already.
        acts_out: the stand-in itself acts out `row_errors`; else the frame refuses the call.
        refused_at: where the answer lists the keys of refused rows, and under which name each.
        accepted: the answer to a call that is worked off later: status and body.
    """

    kind: str
    keys: tuple[str, ...] = ()
    at: str = ""
    beside: str = ""
    in_path: str = ""
    applies: Applies = "replace"
    acts_out: bool = False
    refused_at: tuple[str, str] | None = None
    accepted: tuple[int, Any] | None = None


def _aiq() -> dict[str, Rows]:
    sales = Rows("sales", ("visit.pos_id",), acts_out=True)
    members = Rows("personas", ("member.srcID", "member.id"), acts_out=True)
    v1 = "POST /api/v1.1"
    return {
        f"{v1}/createUpdateSale/{{uid}}": sales,
        f"{v1}/createUpdateSales/{{uid}}": sales,
        f"{v1}/createUpdateMember/{{uid}}": members,
        f"{v1}/createUpdateMembers/{{uid}}": members,
        f"{v1}/createUpdateInventory/{{uid}}": Rows(
            "inventory", ("sku", "productID"), beside="location", acts_out=True
        ),
        "POST /api/v2/loyalty": Rows("personas", ("srcID", "id", "email", "mobilePhone"), acts_out=True),
    }


def _crmcom() -> dict[str, Rows]:
    products = Rows(
        "products", ("code",), at="products_set", acts_out=True,
        refused_at=("data.unprocessed_products_set", "request_code"),
    )  # fmt: skip
    return {"POST /crmapi/rest/v2/products/synchronise": products}


def _voyado() -> dict[str, Rows]:
    keys = ("externalId", "memberNumber", "email", "mobilePhone", "socialSecurityNumber")
    batch = "00000000-0000-0000-0000-000000000000"
    table = {
        "POST /api/v3/contacts": Rows("contacts", keys, applies="once"),
        "PATCH /api/v3/contacts/{contact}": Rows("contacts", in_path="contact", applies="change"),
        "POST /api/v3/contacts/bulk": Rows("contacts", keys, applies="once", acts_out=True, accepted=(202, batch)),
        "PATCH /api/v3/contacts/bulk": Rows("contacts", keys, applies="change", acts_out=True, accepted=(202, batch)),
        "POST /api/v3/receipts": Rows(
            "receipts", ("uniqueReceiptId",), applies="once", acts_out=True, accepted=(202, None)
        ),
    }
    for version in ("v2", "v3"):
        table[f"POST /api/{version}/stores"] = Rows("stores", ("externalId",), applies="once")
        table[f"POST /api/{version}/stores/{{store}}"] = Rows("stores", in_path="store", applies="change")
    return table


ROWS: Mapping[str, Mapping[str, Rows]] = {"aiq": _aiq(), "crmcom": _crmcom(), "voyado": _voyado()}


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a call.

    Attributes:
        key: what poison goes by.
        identity: what the journal goes by.
        content: tells other contents apart.
    """

    key: str
    identity: str
    content: bytes


@dataclass
class SentRows:
    """The rows that one call brings; read when somebody asks."""

    rows: Rows | None
    path: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def all(self) -> list[Row]:
        """The rows, none if the body cannot be read."""
        if self.rows is None:
            return []
        try:
            value = reach(read_json(self.body), self.rows.at)
        except UnreadableError:
            return []
        found = value if isinstance(value, list) and not self.rows.in_path else [value]
        return [self._row(self.rows, one) for one in found]

    def keys(self) -> Sequence[str]:
        """Their keys, in order."""
        return [row.key for row in self.all]

    def _row(self, rows: Rows, value: Any) -> Row:
        paths = (reach(value, path) for path in rows.keys)
        key = self.path.get(rows.in_path, "") if rows.in_path else str(next((found for found in paths if found), ""))
        beside = reach(value, rows.beside) if rows.beside else None
        identity = f"{key}@{beside}" if beside else key
        return Row(key, identity, blake2b(write_json(value), digest_size=12).digest())


def reach(value: Any, path: str) -> Any:
    """What lies at a dotted path, or None."""
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, dict) else None
    return value
