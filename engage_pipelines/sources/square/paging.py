"""How Square's lists are walked: one answer -> one page of raw records, cursor after cursor.

What belongs here: the envelope (errors, cursor) and its alarms. What does not: which list is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from engage_pipelines.errors import ContractError, IncompleteError
from engage_pipelines.http_client import Answer, VendorClient, redact

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a list call: the records' JSON texts, the next cursor and the total if asked for."""

    records: tuple[bytes, ...]
    cursor: str | None = None
    count: int | None = None


class _Problem(msgspec.Struct):
    code: str = "without code"


class _Stamped(msgspec.Struct):
    updated_at: datetime | None = None


def envelope(field: str) -> Any:
    """Give the shape of an answer whose records are in `field`; records stay undecoded."""
    return msgspec.defstruct(
        f"{field}_page",
        [
            ("records", list[msgspec.Raw] | None, msgspec.field(name=field, default=None)),
            ("cursor", str | None, None),
            ("count", int | None, None),
            ("errors", list[_Problem] | None, None),
        ],
    )


def read_page(client: VendorClient, path: str, answer: Answer, shape: Any) -> Page:
    """Split an answer into records without decoding them.

    Raises:
        ContractError: the body is not of that shape, or names errors although the status is a success.
    """
    body = answer.json(shape)
    if body.errors:
        codes = ", ".join(sorted({redact(problem.code[:60]) for problem in body.errors}))
        raise ContractError(f"{client.vendor}: {path} answered {answer.status} with errors inside: {codes}")
    records = tuple(map(bytes, body.records or ()))
    if b"\n" in answer.content or b"\r" in answer.content:
        records = tuple(map(_one_line, records))
    return Page(records, body.cursor or None, body.count)


def _one_line(record: bytes) -> bytes:
    # The spool keeps one record per line. Inside JSON texts a raw line break is always mere layout.
    return msgspec.json.format(record, indent=-1) if b"\n" in record or b"\r" in record else record


def walk(what: str, ask: Callable[[str | None], Page]) -> Iterator[Page]:
    """Yield page after page until the vendor gives no cursor. A short or empty page is not the end.

    Args:
        what: the call, for messages.
        ask: gives the page at a cursor (None for the first).

    Raises:
        ContractError: a cursor came back a second time; the walk would never end or skip records.
    """
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page = ask(cursor)
        cursor = page.cursor
        yield page
        # Let go of: the next page is waited for without the one before it in memory, in many windows at once.
        del page
        if cursor is None:
            return
        if cursor in seen:
            raise ContractError(f"{what}: the vendor repeats a cursor after {len(seen) + 1} pages")
        seen.add(cursor)


def walk_in_order(
    what: str, start: str, end: str, full: int, ask: Callable[[str, str | None], Page]
) -> Iterator[tuple[bytes, ...]]:
    """Walk a list that is sorted by `updated_at`, and distrust a full last page.

    A last page of exactly the cap is either a coincidence or a silent cut. One more call, for what was
    changed after its last record, tells the two apart.

    Args:
        what: the call, for messages.
        start: first moment asked for, as the vendor writes it.
        end: last moment asked for.
        full: number of records from which on a page counts as full.
        ask: gives the page for a start and a cursor.

    Raises:
        IncompleteError: the vendor has more records than it listed.
        ContractError: a full last page whose last record carries no readable `updated_at`.
    """
    count, last = 0, b""
    for page in walk(what, lambda cursor: ask(start, cursor)):
        count, last = len(page.records), page.records[-1] if page.records else b""
        yield page.records
        del page
    if count < full:
        return
    after = _just_after(what, last)
    if after <= end and ask(after, None).records:
        raise IncompleteError(f"{what}: the list ended at a full page of {count}, yet later records exist")


def _just_after(what: str, record: bytes) -> str:
    try:
        changed_at = msgspec.json.decode(record, type=_Stamped).updated_at
    except msgspec.DecodeError:
        changed_at = None
    if changed_at is None or changed_at.tzinfo is None:
        raise ContractError(f"{what}: a full last page, and its last record tells no updated_at to go on from")
    return moment(changed_at + _MILLISECOND)


def moment(at: datetime) -> str:
    """Write a moment as Square does: RFC 3339 in UTC, to the millisecond (rounded down)."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def last_moment_before(end: datetime) -> str:
    """Write the last millisecond before `end`: our windows exclude their end, Square's include it."""
    return moment(end - timedelta(microseconds=1))
