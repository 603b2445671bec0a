"""Acts faults out on the wire, so that a caller meets what it would meet from the real vendor."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.handling import answer, read_json, retry_after_header, write_json

# uvicorn's connection of a request, put here by `server.SandboxProtocol`.
TRANSPORT_KEY = "engage.transport"


@dataclass(slots=True)
class Exchange:
    """One call: the application behind it and the wires to the caller."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    body: bytes = b""


@dataclass(slots=True)
class Captured:
    """An answer that was caught before it left."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def leave(self, send: Send) -> None:
        """Send it on."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})

    def with_body(self, body: bytes) -> Captured:
        """The same answer around another body."""
        headers = [(name, value) for name, value in self.headers if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        return Captured(self.status, headers, body)


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def handle(call: Exchange) -> Captured:
    """Let the application do its work and catch its answer."""
    caught = Captured()
    parts: list[bytes] = []

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            caught.status = message["status"]
            caught.headers = list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await call.app(call.scope, replay(call.body), keep)
    caught.body = b"".join(parts)
    return caught


def replay(body: bytes) -> Receive:
    """A `receive` that hands over a body that was read already."""
    messages: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _wire(call: Exchange) -> asyncio.Transport:
    transport: asyncio.Transport | None = call.scope.get("extensions", {}).get(TRANSPORT_KEY)
    if transport is None:
        raise RuntimeError("connections can only be cut under engage_pipelines.sandbox.server")
    return transport


async def reset(call: Exchange) -> None:
    """Tear the connection down with a TCP reset.

    Raises:
        RuntimeError: the server is not the sandbox's own, so there is no connection to tear.
    """
    transport = _wire(call)
    # With linger 0 the kernel sends RST instead of the polite FIN.
    wire = transport.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _gone(call.receive)


async def close(call: Exchange) -> None:
    """Close the connection once everything written has left."""
    _wire(call).close()
    await _gone(call.receive)


async def _status(fault: Fault, call: Exchange) -> None:
    if fault.handled:
        await handle(call)
    response = answer({"message": fault.message}, fault.status or 500, retry_after_header(fault.retry_after))
    await response(call.scope, replay(b""), call.send)


async def _down(fault: Fault, call: Exchange) -> None:
    response = answer({"message": "Service Unavailable"}, fault.status or 503, retry_after_header(fault.retry_after))
    await response(call.scope, replay(b""), call.send)


async def _forbidden(fault: Fault, call: Exchange) -> None:
    response = answer({"message": "Forbidden"}, 403, retry_after_header(fault.retry_after))
    await response(call.scope, replay(b""), call.send)


async def _slow(fault: Fault, call: Exchange) -> None:
    done = await handle(call)
    try:
        async with asyncio.timeout(fault.seconds):
            await _gone(call.receive)
    except TimeoutError:
        await done.leave(call.send)


async def _reset_before(_: Fault, call: Exchange) -> None:
    await reset(call)


async def _reset_after(_: Fault, call: Exchange) -> None:
    await handle(call)
    await close(call)


async def _half_body(_: Fault, call: Exchange) -> None:
    done = await handle(call)
    if not done.body:
        # Nothing to halve but the headers.
        _wire(call).write(f"HTTP/1.1 {done.status} ".encode())
        await close(call)
        return
    start = done.with_body(done.body)
    await call.send({"type": "http.response.start", "status": start.status, "headers": start.headers})
    await call.send({
        "type": "http.response.body", "body": done.body[: len(done.body) // 2], "more_body": True,
    })  # fmt: skip
    await close(call)


async def _broken_json(_: Fault, call: Exchange) -> None:
    done = await handle(call)
    await done.with_body(done.body[: len(done.body) // 2] or b"{").leave(call.send)


ON_THE_WIRE: dict[str, Callable[[Fault, Exchange], Awaitable[None]]] = {
    "status": _status, "down": _down, "unreachable": _reset_before, "forbidden_throttle": _forbidden,
    "slow": _slow, "reset_before": _reset_before,
    "reset_after": _reset_after, "half_body": _half_body, "broken_json": _broken_json,
}  # fmt: skip


def plain_failure(fault: Fault) -> Response:
    """Failure for stand-ins that have no form of their own: an `errors` list."""
    if fault.kind == "expired_token":
        problem = {"category": "AUTHENTICATION_ERROR", "code": "ACCESS_TOKEN_EXPIRED", "detail": fault.message}
        return answer({"errors": [problem]}, 401)
    return answer({"errors": [{"category": "API_ERROR", "code": "INTERNAL_SERVER_ERROR", "detail": fault.message}]})


async def leave_rows_out(fault: Fault, call: Exchange) -> None:
    """Do the work, then send the answer with some rows missing from its lists."""
    done = await handle(call)
    value = read_json(done.body) if done.body else None
    lists = [rows for rows in _lists_in(value) if rows]
    # Without keys the first list is meant: "two rows" are not two of each list.
    for rows in lists if fault.keys else lists[:1]:
        rows[:] = [row for index, row in enumerate(rows) if not fault.strikes_row(index, _row_key(row))]
    await done.with_body(write_json(value)).leave(call.send)


def _lists_in(value: Any) -> list[list[Any]]:
    if isinstance(value, list):
        return [value]
    if not isinstance(value, dict):
        return []
    return [rows for part in value.values() for rows in _lists_in(part)]


def _row_key(row: Any) -> str:
    names = ("request_code", "externalId", "contactID", "id", "order_id", "catalog_object_id")
    return str(next((row[name] for name in names if name in row), "")) if isinstance(row, dict) else ""
