"""Faults at the door of a file drop: a relay in front of the SFTP server that refuses, delays or cuts connections.

The fault book sees a connection as the call `SFTP /`. What it carries is encrypted, so only these kinds can be acted
out here: `down`, `unreachable` and `reset_before` (reset at once, nothing arrives), `slow` (nothing goes through for
`seconds`), and `half_body` (cut once the sender has sent `after_bytes`: a part of a file is left behind). A connection
that stands when a rule begins is not touched.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from engage_pipelines.sandbox.faults import Fault, FaultBook, Struck

CONNECTION = Struck("SFTP /")
_REFUSING = frozenset({"down", "unreachable", "reset_before"})
KINDS_AT_THE_DOOR = _REFUSING | {"slow", "half_body"}


@asynccontextmanager
async def open_relay(door: int, faults: FaultBook, *, port: int = 0) -> AsyncIterator[int]:
    """Relay connections to the SFTP server at port `door`; gives the port to connect to, a free one for 0."""
    carried: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_carry(reader, writer, door, faults))
        carried.add(task)
        task.add_done_callback(carried.discard)

    server = await asyncio.start_server(carry, "127.0.0.1", port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)
        await server.wait_closed()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: int, faults: FaultBook) -> None:
    fault = faults.strike(CONNECTION, KINDS_AT_THE_DOOR)
    try:
        if fault and fault.kind in _REFUSING:
            _reset(writer)
            return
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        # A caller that went away in the meantime is nobody's error.
        with suppress(OSError):
            await _join(reader, writer, door, _bytes_until_cut(fault))
    finally:
        writer.close()


def _bytes_until_cut(fault: Fault | None) -> int | None:
    return fault.after_bytes if fault and fault.kind == "half_body" else None


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: int, cut_after: int | None) -> None:
    back_reader, back_writer = await asyncio.open_connection("127.0.0.1", door)
    ways = [
        asyncio.create_task(_pump(reader, back_writer, cut_after)),
        asyncio.create_task(_pump(back_reader, writer, None)),
    ]
    try:
        # Neither side of SSH speaks on after the other has closed.
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        back_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_after: int | None) -> None:
    left = cut_after
    while data := await reader.read(65_536 if left is None else min(left, 65_536)):
        writer.write(data)
        await writer.drain()
        if left is not None:
            left -= len(data)
            if left <= 0:
                return


def _reset(writer: asyncio.StreamWriter) -> None:
    wire: socket.socket = writer.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
