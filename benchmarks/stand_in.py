"""A till and a platform that answer as fast as one process can, so that what calls them is what is measured.

Pages of orders are slices of a file that was written before; latency is a timer; nothing is parsed that need not be.
`GET /_report` tells calls, refusals, the most calls in flight and the CPU seconds of this process.

    python -m benchmarks.stand_in --orders <folder> --latency 0.05 --rate 40
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import mmap
import re
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

Answer = tuple[int, list[bytes]]
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CODE = re.compile(rb'"code": ?"([^"]+)"')
_PHRASES = {200: b"OK", 404: b"Not Found", 429: b"Too Many Requests"}


class Till:
    """The orders of a folder, found by time of change and cut into pages."""

    def __init__(self, folder: Path) -> None:
        count = json.loads((folder / "truth.json").read_text())["orders"]["count"]
        self._starts, self._entry_starts, self._changed = array("Q"), array("Q"), array("q")
        with (folder / "places.bin").open("rb") as places:
            self._starts.fromfile(places, count + 1)
            self._entry_starts.fromfile(places, count + 1)
            self._changed.fromfile(places, count)
        self._orders, self._entries = _mapped(folder / "orders.bin"), _mapped(folder / "entries.bin")
        shops = {place["location_id"] for place in _sample(self._entries, self._entry_starts, 1000)}
        self._locations = json.dumps({"locations": [_location(shop) for shop in sorted(shops)]}).encode()

    def locations(self, _: bytes) -> Answer:
        """All shops."""
        return 200, [self._locations]

    def search(self, body: bytes) -> Answer:
        """A page of orders, or of entries, that were changed in a range of time."""
        asked = json.loads(body)
        first, last = self._range(asked)
        entries = asked.get("return_entries", False)
        limit = min(asked.get("limit", 500), 1000 if entries else 500)
        end = min(first + limit, last)
        starts, texts = (self._entry_starts, self._entries) if entries else (self._starts, self._orders)
        name = b"order_entries" if entries else b"orders"
        if first == end:
            return 200, [b"{}"]
        cursor = b',"cursor":"%d-%d"' % (end, last) if end < last else b""
        return 200, [b'{"' + name + b'":[', texts[starts[first] : starts[end] - 1], b"]" + cursor + b"}"]

    def _range(self, asked: dict[str, Any]) -> tuple[int, int]:
        if cursor := asked.get("cursor"):
            first, last = cursor.split("-")
            return int(first), int(last)
        between = asked["query"]["filter"]["date_time_filter"]["updated_at"]
        start, end = (_milliseconds(between[name]) for name in ("start_at", "end_at"))
        return bisect.bisect_left(self._changed, start), bisect.bisect_right(self._changed, end)


class Platform:
    """Takes products and answers product by product, as CRM.COM does; counts what it took."""

    def __init__(self) -> None:
        self.rows, self.times_taken = 0, 0
        self._held: set[bytes] = set()

    def token(self, _: bytes) -> Answer:
        """A token that lasts."""
        return 200, [b'{"status":{"code":"OK"},"data":{"token":"bench-token"}}']

    def synchronise(self, body: bytes) -> Answer:
        """Take up to 1,000 products."""
        # The family's code stands inside: the code of the product is the first one of its object.
        codes = [code for code in _CODE.findall(body) if not code.startswith(b"family-")]
        self.rows += len(codes)
        self._held.update(codes)
        taken = b",".join(b'{"request_code":"%b","id":"v%b"}' % (code, code) for code in codes)
        return 200, [b'{"status":{"code":"OK"},"data":{"processed_products_set":[', taken, b"]}}"]

    @property
    def held(self) -> int:
        """How many different products it holds."""
        return len(self._held)


@dataclass(slots=True)
class Door:
    """Where calls come in: latency, the vendor's rate, and the counting."""

    routes: dict[bytes, Callable[[bytes], Answer]]
    platform: Platform
    latency: float = 0.0
    rate: int = 0
    calls: int = 0
    refused: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    first: float = 0.0
    last: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _recent: deque[float] = field(default_factory=deque)

    def answer(self, path: bytes, body: bytes) -> Answer:
        """Answer one call, or refuse it by the rate."""
        if path == b"/_report":
            return 200, [json.dumps(self.report()).encode()]
        self.calls += 1
        self.last = self.clock()
        self.first = self.first or self.last
        if self.rate and not self._is_allowed(self.last):
            self.refused += 1
            return 429, [b'{"errors":[{"code":"RATE_LIMITED"}]}']
        route = self.routes.get(path)
        return route(body) if route else (404, [b"{}"])

    def report(self) -> dict[str, Any]:
        """What came in, and what it cost here."""
        return {
            "calls": self.calls, "refused": self.refused, "most_in_flight": self.most_in_flight,
            "cpu_seconds": time.process_time(), "seconds": self.last - self.first,
            "rows": self.platform.rows, "held": self.platform.held,
        }  # fmt: skip

    def _is_allowed(self, now: float) -> bool:
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) >= self.rate:
            return False
        self._recent.append(now)
        return True


class Connection(asyncio.Protocol):
    """One kept-alive connection: a call, its answer, the next call."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Collect bytes until a call is whole."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            self._take(head.split(b" ", 2)[1].partition(b"?")[0], body)

    def _take(self, path: bytes, body: bytes) -> None:
        door = self._door
        door.in_flight += 1
        door.most_in_flight = max(door.most_in_flight, door.in_flight)
        answer = door.answer(path, body)
        wait = 0.0 if path == b"/_report" else door.latency
        if wait:
            asyncio.get_running_loop().call_later(wait, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self._door.in_flight -= 1
        status, parts = answer
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (
            status, _PHRASES[status], sum(map(len, parts)),
        )  # fmt: skip
        if self._transport and not self._transport.is_closing():
            self._transport.writelines([head, *parts])


def door_of(orders: Path | None, latency: float, rate: int) -> Door:
    """A door to the till (where there are orders) and to the platform."""
    platform = Platform()
    routes: dict[bytes, Callable[[bytes], Answer]] = {
        b"/crmapi/rest/v2/authentication/web_api_key/token": platform.token,
        b"/crmapi/rest/v2/products/synchronise": platform.synchronise,
    }
    if orders:
        till = Till(orders)
        routes |= {b"/v2/orders/search": till.search, b"/v2/locations": till.locations}
    return Door(routes, platform, latency, rate)


async def serve(door: Door) -> None:
    """Answer until standard input closes; the first line on standard output is the address."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(door), "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _sample(texts: mmap.mmap, starts: array[int], most: int) -> list[dict[str, str]]:
    some: list[dict[str, str]] = json.loads(b"[" + texts[: starts[min(most, len(starts) - 1)] - 1] + b"]")
    return some


def _location(location_id: str) -> dict[str, Any]:
    return {
        "id": location_id, "name": f"Shop {location_id[:3]}", "status": "ACTIVE", "timezone": "Europe/London",
        "currency": "GBP", "country": "GB", "created_at": "2015-01-01T00:00:00Z",
    }  # fmt: skip


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=Path, help="a folder that make_orders made")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--rate", type=int, default=0, help="calls a second; more are answered 429; 0: no limit")
    given = parser.parse_args()
    asyncio.run(serve(door_of(given.orders, given.latency, given.rate)))


if __name__ == "__main__":
    main()
