"""A till with years of orders that are nowhere stored: one day of them, served again for each day of the history.

Each day has ids of its own, as far from those of the day before as a real till's, and its own moments; all else is
the same. A page is a few slices of that one day with two texts replaced, so millions of orders need no disk.

    python -m benchmarks.growth_till <templates> <days>
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.increment_world import read_texts
from benchmarks.orders import LOCATIONS
from benchmarks.stand_in import Answer, Door, Platform, serve

# The last day of every history; longer ones begin earlier.
LAST_DAY = datetime(2026, 8, 31, tzinfo=UTC)
# A multiple of eight: every day begins at the first shop.
ORDERS_A_DAY = 3_000
# One order of four has one line, two have two, one has three.
LINES_A_DAY = 2 * ORDERS_A_DAY
# The part of an id that tells the day: a number of eight digits, spread by a multiplier without a common factor.
SPREAD, DAY_IDS = 38_742_049, 10**8
_ID = b"bench00000000"
_DATE = b"2000-01-01T"
_DAY_MILLISECONDS = 86_400_000
_STEP_MILLISECONDS = _DAY_MILLISECONDS // ORDERS_A_DAY


class RepeatedTill:
    """The orders of a history, found by time of change and cut into pages.

    Args:
        templates: a folder with one day's number of orders, as `make_orders` made it.
        days: length of the history.
    """

    def __init__(self, templates: Path, days: int) -> None:
        self._days = days
        self._first = LAST_DAY - timedelta(days=days - 1)
        orders = [_at(place, *text) for place, text in enumerate(read_texts(templates))]
        entries = [_entry(place, text[1]) for place, text in enumerate(read_texts(templates))]
        self._orders, self._order_starts = b"".join(orders), list(accumulate(map(len, orders), initial=0))
        self._entries, self._entry_starts = b"".join(entries), list(accumulate(map(len, entries), initial=0))
        self._locations = json.dumps({"locations": [_location(shop) for shop in LOCATIONS]}).encode()

    def locations(self, _: bytes) -> Answer:
        """All shops."""
        return 200, [self._locations]

    def search(self, body: bytes) -> Answer:
        """A page of orders, or of entries, that were changed in a range of time."""
        asked = json.loads(body)
        first, last = self._range(asked)
        is_entries = asked.get("return_entries", False)
        end = min(first + min(asked.get("limit", 500), 1000 if is_entries else 500), last)
        if first >= end:
            return 200, [b"{}"]
        cursor = b',"cursor":"%d-%d"' % (end, last) if end < last else b""
        page = list(self._page(first, end, is_entries=is_entries))
        page[-1] = page[-1][:-1]
        return 200, [b'{"order_entries":[' if is_entries else b'{"orders":[', *page, b"]" + cursor + b"}"]

    def _range(self, asked: dict[str, Any]) -> tuple[int, int]:
        if cursor := asked.get("cursor"):
            first, last = cursor.split("-")
            return int(first), int(last)
        between = asked["query"]["filter"]["date_time_filter"]["updated_at"]
        moments = range(0, _DAY_MILLISECONDS, _STEP_MILLISECONDS)[:ORDERS_A_DAY]
        start, end = (divmod(self._since_first(between[name]), _DAY_MILLISECONDS) for name in ("start_at", "end_at"))
        first = start[0] * ORDERS_A_DAY + bisect.bisect_left(moments, start[1])
        last = end[0] * ORDERS_A_DAY + bisect.bisect_right(moments, end[1])
        return max(first, 0), min(last, self._days * ORDERS_A_DAY)

    def _since_first(self, text: str) -> int:
        return (datetime.fromisoformat(text) - self._first) // timedelta(milliseconds=1)

    def _page(self, first: int, end: int, *, is_entries: bool) -> Iterator[bytes]:
        whole, starts = (self._entries, self._entry_starts) if is_entries else (self._orders, self._order_starts)
        while first < end:
            day, place = divmod(first, ORDERS_A_DAY)
            until = min(end - day * ORDERS_A_DAY, ORDERS_A_DAY)
            date = f"{self._first + timedelta(days=day):%Y-%m-%dT}".encode()
            yield whole[starts[place] : starts[until]].replace(_ID, day_id(day)).replace(_DATE, date)
            first = day * ORDERS_A_DAY + until


def day_id(day: int) -> bytes:
    """How the ids of a day begin."""
    return b"bench%08d" % (day * SPREAD % DAY_IDS)


def _at(place: int, text: bytes, _: bytes, moment: bytes) -> bytes:
    own = timedelta(milliseconds=place * _STEP_MILLISECONDS) + datetime(2000, 1, 1, tzinfo=UTC)
    return text.replace(moment, own.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode())


def _entry(place: int, order_id: bytes) -> bytes:
    return b'{"order_id":"%b","version":3,"location_id":"%b"},' % (order_id, LOCATIONS[place % len(LOCATIONS)].encode())


def _location(location_id: str) -> dict[str, Any]:
    return {
        "id": location_id, "name": f"Shop {location_id[:3]}", "status": "ACTIVE", "timezone": "Europe/London",
        "currency": "GBP", "country": "GB", "created_at": "2010-01-01T00:00:00Z",
    }  # fmt: skip


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("templates", type=Path, help="a folder that make_orders made, with one day's number of orders")
    parser.add_argument("days", type=int)
    given = parser.parse_args()
    till = RepeatedTill(given.templates, given.days)
    asyncio.run(serve(Door({b"/v2/orders/search": till.search, b"/v2/locations": till.locations}, Platform())))


if __name__ == "__main__":
    main()
