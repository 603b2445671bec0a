"""Asking AIQ what it holds, for records that may or may not have arrived. Reads only.

AIQ shows what it was sent up to a day later, and sending a record again replaces it by itself. So everything
that is not shown as it was sent is `absent`, except where AIQ cannot be asked about the record at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any
from urllib.parse import quote

import msgspec

from engage_pipelines.connector import Batch, Verdict
from engage_pipelines.destinations.aiq.answers import READ_STATUSES, raise_if_refused
from engage_pipelines.destinations.aiq.session import Session
from engage_pipelines.errors import ContractError

# The longest page that the documents allow.
_PAGE = 2000
# A search by a key gives one person, or a few that share it.
_FEW = 100


class _Page(msgspec.Struct):
    """One page of a list; an empty one has null for its rows."""

    results: list[dict[str, Any]] | None = None
    total: int | None = None


class _Answer(msgspec.Struct):
    data: _Page | None = None


_ANSWER = msgspec.json.Decoder(_Answer, float_hook=Decimal)
_EXACT = msgspec.json.Decoder(dict[str, dict[str, Any]], float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class _Orders:
    """The orders of a till's customer by `pos_id`; `is_known` if AIQ knows a persona under exactly that key."""

    by_id: Mapping[str, dict[str, Any]]
    is_known: bool


def verify_personas(session: Session, batch: Batch) -> list[Verdict]:
    """Look personas up by e-mail, else by phone: `there` if AIQ shows everything that was sent."""
    return [_persona_verdict(session, _EXACT.decode(payload)["member"]) for payload in batch.payloads]


def verify_sales(session: Session, batch: Batch) -> list[Verdict]:
    """Look sales up among the orders of their customers, each customer once; anonymous ones are `unknown`."""

    @cache
    def orders_of(pos_user: str) -> _Orders:
        return _orders_of(session, pos_user)

    return [_sale_verdict(session, _EXACT.decode(payload)["visit"], orders_of) for payload in batch.payloads]


def _persona_verdict(session: Session, sent: Mapping[str, Any]) -> Verdict:
    email, phone = sent.get("email"), sent.get("mobilePhone")
    search = f"email:{email}" if email else f"{session.options.phone_search}{phone}"
    found = _search(session, search)
    own = [row for row in found if row.get("srcID") == sent["srcID"]]
    if not own:
        # Somebody has this address under another key: AIQ merges people and shows one key of each.
        return "unknown" if found else "absent"
    # The list may leave the address out that it was just searched by, and has shown one person for.
    shown = ({"email": email} if len(found) == 1 else {}) | own[0]
    return "there" if all(_is_shown(name, value, shown.get(name)) for name, value in sent.items()) else "absent"


def _is_shown(name: str, sent: Any, shown: Any) -> bool:
    if name == "email":
        return str(sent).lower() == str(shown).lower()
    if name == "mobilePhone":
        return re.sub(r"\D", "", str(sent)) == re.sub(r"\D", "", str(shown))
    return bool(sent == shown)


def _sale_verdict(session: Session, sent: Mapping[str, Any], orders_of: Callable[[str], _Orders]) -> Verdict:
    if sent["pos_user"] == session.options.anonymous_pos_user:
        return "unknown"
    orders = orders_of(sent["pos_user"])
    held = orders.by_id.get(sent["pos_id"])
    if held is None:
        return "absent" if orders.is_known else "unknown"
    # Another total, or other lines: an older version, which sending replaces.
    is_same = _number(held.get("transaction_total")) == _number(sent["transaction_total"])
    return "there" if is_same and _lines(held) in (None, _lines(sent)) else "absent"


def _orders_of(session: Session, pos_user: str) -> _Orders:
    found = _search(session, f"{session.options.source_id_search}{pos_user}")
    own = [row for row in found if row.get("srcID") == pos_user]
    # A persona made of several people shows one of their keys; alone in the answer, it is the one.
    asked = own or (found if len(found) == 1 else [])
    rows = [row for persona in asked for row in _orders(session, str(persona.get("contactID")))]
    visits = [row["visit"] if isinstance(row.get("visit"), dict) else row for row in rows]
    return _Orders({str(visit["pos_id"]): visit for visit in visits if "pos_id" in visit}, bool(own))


def _search(session: Session, search: str) -> list[dict[str, Any]]:
    params = {"start": 0, "limit": _FEW, "search": search}
    return _page(session, "piis", session.path("piis"), params, hidden=search).results or []


def _orders(session: Session, contact_id: str) -> Iterator[dict[str, Any]]:
    path, start = f"{session.path('contact/orders')}/{quote(contact_id, safe='')}", 0
    while True:
        page = _page(session, "contact/orders", path, {"start": start, "limit": _PAGE})
        rows = page.results or []
        yield from rows
        start += len(rows)
        is_last = len(rows) < _PAGE if page.total is None else start >= page.total
        if not rows or is_last:
            return


def _page(session: Session, route: str, path: str, params: Mapping[str, Any], hidden: str = "") -> _Page:
    answer = session.client.call("GET", path, params=params, expect=READ_STATUSES)
    # A refusal may repeat what was searched for, with or without the name of the field.
    raise_if_refused(f"AIQ: GET {route}", answer, lambda: [hidden, hidden.partition(":")[2]] if hidden else [])
    return _decoded(route, answer.content)


def _decoded(route: str, content: bytes) -> _Page:
    try:
        return _ANSWER.decode(content).data or _Page()
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The text of the error could quote a person.
        raise ContractError(f"AIQ: GET {route}: the answer is not the documented list") from None


def _lines(visit: Mapping[str, Any]) -> Counter[tuple[Any, ...]] | None:
    lines = visit.get("visit_details_attributes")
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        return None
    return Counter((line.get("sku"), _number(line.get("quantity")), _number(line.get("price"))) for line in lines)


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(value if isinstance(value, int | Decimal) else str(value))
    except InvalidOperation:
        return None
