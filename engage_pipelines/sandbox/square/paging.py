"""Pages and cursors: a cursor is opaque, belongs to one query, and remembers when that query was first asked."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from engage_pipelines.sandbox.square.fields import Fields, text
from engage_pipelines.sandbox.square.refusals import SquareRefusedError
from engage_pipelines.sandbox.square.store import Found, Search
from engage_pipelines.sandbox.square.till import Till
from engage_pipelines.sandbox.square.timestamps import from_datetime

# A page may be cut differently from one call to the next; everything else belongs to the query.
_NOT_PART_OF_THE_QUERY = frozenset({"cursor", "limit"})


class Place(NamedTuple):
    """Where a reader stands: the query it asked, when it first asked (microseconds), and the last record it saw."""

    query: str
    asked_at: int
    after: tuple[int, str] | None


def find_place(till: Till, route: str, asked: Fields) -> Place:
    """The reader's place from the cursor of its call, or the beginning.

    Raises:
        SquareRefusedError: The cursor is none of ours, or was given for another query.
    """
    query = _fingerprint(route, asked)
    cursor = text(asked, "cursor")
    if cursor is None:
        return Place(query, from_datetime(till.clock()), None)
    place = _read(cursor)
    if place.query != query:
        raise _bad_cursor("The cursor was given for another query.")
    return place


def turn(till: Till, search: Search, place: Place, limit: int) -> tuple[list[Found], str | None]:
    """The page behind the reader's place, and the cursor of the next one (None on the last page)."""
    found = till.store.page(search, place.after, limit + 1)
    if len(found) <= limit:
        return found, None
    found.pop()
    return found, _write(place._replace(after=(found[-1].stamp, found[-1].id)))


def answer(name: str, bodies: Iterable[bytes], cursor: str | None = None, **more: Any) -> Response:
    """A page: ready-made records joined as bytes. An empty list is left out, as Square does."""
    joined = b",".join(bodies)
    parts = [b'"%s":[%s]' % (name.encode(), joined)] if joined else []
    others = {"cursor": cursor, **more}
    parts += [
        b'"%s":%s' % (key.encode(), msgspec.json.encode(value)) for key, value in others.items() if value is not None
    ]
    return Response(b"{%s}" % b",".join(parts), media_type="application/json")


def _fingerprint(route: str, asked: Fields) -> str:
    query = {key: value for key, value in asked.items() if key not in _NOT_PART_OF_THE_QUERY}
    canonical = msgspec.json.encode([route, query], order="deterministic")
    return hashlib.blake2b(canonical, digest_size=12).hexdigest()


def _write(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def _read(cursor: str) -> Place:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.msgpack.decode(packed, type=Place)
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise _bad_cursor("The cursor cannot be read.") from error


def _bad_cursor(detail: str) -> SquareRefusedError:
    return SquareRefusedError("INVALID_CURSOR", detail, field="cursor")
