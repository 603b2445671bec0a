"""Serves the sandbox: in this process, in a thread of it, or in a process of its own.

    python -m engage_pipelines.sandbox.server --state DIR --port 8400

prints one JSON line on stdout when it answers (`{"url", "sftp_port", "sftp_host_key"}`) and, while it fills the
shop, `filling <n>/<total>` on stderr.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from engage_pipelines.sandbox.acting import TRANSPORT_KEY
from engage_pipelines.sandbox.app import StandIn, VendorFrame, create_app
from engage_pipelines.sandbox.clock import SandboxClock
from engage_pipelines.sandbox.door_faults import open_relay
from engage_pipelines.sandbox.faults import read_fault
from engage_pipelines.sandbox.process import SandboxProcess, arguments, start_sandbox_process
from engage_pipelines.sandbox.shop_choice import Shop, fill_shop
from engage_pipelines.sandbox.voyado import VoyadoStandIn
from engage_pipelines.sandbox.voyado.sftp import SftpDoor, open_door

__all__ = [
    "VENDORS", "Sandbox", "SandboxProcess", "build_stand_ins", "running_app", "running_sandbox", "serve",
    "start_sandbox_process",
]  # fmt: skip

VENDORS = ("square", "aiq", "crmcom", "voyado")
_START_SECONDS = 30.0


class SandboxProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """uvicorn's HTTP protocol, which also tells the application its connection so that a fault can cut it."""

    app: ASGIApp

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Note the connection of all requests to come."""
        self.app = _telling_transport(self.app, transport)
        super().connection_made(transport)


def _telling_transport(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[TRANSPORT_KEY] = transport
        await app(scope, receive, send)

    return telling


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def main_loop(self) -> None:
        # uvicorn looks ten times a second whether it should end; tests start and end many servers.
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            await asyncio.sleep(0.01)


@dataclass(slots=True)
class Sandbox:
    """A sandbox that answers.

    Attributes:
        url: where it listens; a vendor is at `<url>/<name>`, the inspection API at `<url>/_sandbox/`.
        stand_ins: the vendors by name.
        sftp_port: where the SFTP server listens, 0 without Voyado.
        sftp_host_key: its public host key, to pin.
        frames: what is around each vendor: fault book, limits, counts, journal.
        clock: the sandbox's clock; vendors that were made with a clock of their own keep to that.
    """

    url: str
    stand_ins: dict[str, StandIn]
    sftp_port: int = 0
    sftp_host_key: str = ""
    frames: Mapping[str, VendorFrame] = field(default_factory=dict)
    clock: SandboxClock = field(default_factory=SandboxClock)

    def add_fault(self, vendor: str, **rule: Any) -> None:
        """Add a rule to the vendor's fault book, see `faults.Fault`."""
        self.frames[vendor].faults.add(read_fault(rule))

    def clear_faults(self, vendor: str) -> None:
        """Forget all rules of the vendor's fault book."""
        self.frames[vendor].faults.clear()


def build_stand_ins(
    state: Path,
    *,
    vendors: Sequence[str] = VENDORS,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    clock: SandboxClock | None = None,
) -> list[StandIn]:
    """Make stand-ins over the state folder; `options` are constructor arguments by vendor."""
    makers: dict[str, Callable[..., StandIn]] = {}
    from engage_pipelines.sandbox.aiq import AiqStandIn
    from engage_pipelines.sandbox.crmcom import CrmComStandIn

    makers.update(aiq=AiqStandIn, crmcom=CrmComStandIn, voyado=VoyadoStandIn)
    clocks: dict[str, Callable[[], Any]] = {}
    if clock:
        # Square tells the time in moments, the others in seconds.
        clocks = {**dict.fromkeys(vendors, clock), "square": clock.moment}
    if "square" in vendors:
        from engage_pipelines.sandbox.square import SquareStandIn

        makers["square"] = SquareStandIn
    given = {name: {"clock": clocks[name]} if clocks else {} for name in vendors}
    return [makers[name](state / name, **{**given[name], **(options or {}).get(name, {})}) for name in vendors]


class _Served:
    """The application, its socket and its SFTP door, put together."""

    def __init__(
        self, stand_ins: Sequence[StandIn], state: Path, clock: SandboxClock, host: str, port: int, sftp_port: int
    ) -> None:  # fmt: skip
        self.stand_ins = {stand_in.name: stand_in for stand_in in stand_ins}
        self._clock = clock
        self._state = state
        self._sftp_port = sftp_port
        self._door = SftpDoor(0, "")
        self.app = create_app(stand_ins, state, clock=clock, lifespan=self._life)
        self.socket = socket.create_server((host, port))
        self._url = f"http://{host}:{self.socket.getsockname()[1]}"

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        try:
            voyado = self.stand_ins.get("voyado")
            if isinstance(voyado, VoyadoStandIn):
                faults = self.app.state.frames["voyado"].faults
                async with (
                    open_door(self._state, voyado.drop) as door,
                    open_relay(door.port, faults, port=self._sftp_port) as port,
                ):
                    self._door = SftpDoor(port, door.host_key)
                    yield
            else:
                yield
        finally:
            for frame in self.app.state.frames.values():
                frame.close()

    def server(self, on_ready: Callable[[], None]) -> _Server:
        # Connections stay open longer than callers keep theirs: who hangs up first is the caller.
        config = uvicorn.Config(
            self.app, http=SandboxProtocol, ws="none", lifespan="on", log_level="warning", access_log=False,
            timeout_keep_alive=75, timeout_graceful_shutdown=3,
        )  # fmt: skip
        return _Server(config, on_ready)

    def sandbox(self) -> Sandbox:
        return Sandbox(
            self._url, self.stand_ins, self._door.port, self._door.host_key, self.app.state.frames, self._clock
        )


@contextmanager
def running_app(
    stand_ins: Sequence[StandIn],
    state: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sftp_port: int = 0,
    clock: SandboxClock | None = None,
) -> Iterator[Sandbox]:
    """Serve these stand-ins in a thread while the context is open; they are closed with it.

    Raises:
        RuntimeError: it did not start or stop in time.
    """
    served = _Served(stand_ins, state, clock or SandboxClock(), host, port, sftp_port)
    ready = threading.Event()
    server = served.server(ready.set)
    thread = threading.Thread(target=server.run, args=([served.socket],), name="sandbox", daemon=True)
    thread.start()
    try:
        if not ready.wait(_START_SECONDS):
            raise RuntimeError("the sandbox did not start in time")
        yield served.sandbox()
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)
    if thread.is_alive():
        raise RuntimeError("the sandbox did not stop in time")


@contextmanager
def running_sandbox(
    state: Path,
    *,
    vendors: Sequence[str] = VENDORS,
    shop: str = "none",
    receipts: int = 20_000,
    seed: int = 7,
    retail_parquet: Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    port: int = 0,
    sftp_port: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Sandbox]:
    """Build stand-ins over `state`, fill Square's shop if it is empty and one is wanted, serve in a thread."""
    clock = SandboxClock()
    stand_ins = build_stand_ins(state, vendors=vendors, options=options, clock=clock)
    fill_shop(stand_ins, Shop(shop, receipts, seed, retail_parquet), progress)
    with running_app(stand_ins, state, port=port, sftp_port=sftp_port, clock=clock) as sandbox:
        yield sandbox


def _print_progress(done: int, total: int) -> None:
    sys.stderr.write(f"filling {done}/{total}\n")
    sys.stderr.flush()


def serve(
    state: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sftp_port: int = 0,
    vendors: Sequence[str] = VENDORS,
    shop: str = "none",
    receipts: int = 20_000,
    seed: int = 7,
    retail_parquet: Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    stop_with_stdin: bool = False,
) -> None:
    """Serve until a signal comes (or standard input closes); prints the ready line on stdout."""
    clock = SandboxClock()
    stand_ins = build_stand_ins(state, vendors=vendors, options=options, clock=clock)
    fill_shop(stand_ins, Shop(shop, receipts, seed, retail_parquet), _print_progress)
    served = _Served(stand_ins, state, clock, host, port, sftp_port)

    def say_ready() -> None:
        here = served.sandbox()
        line = {"url": here.url, "sftp_port": here.sftp_port, "sftp_host_key": here.sftp_host_key}
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()

    server = served.server(say_ready)
    if stop_with_stdin:
        threading.Thread(target=_stop_with_stdin, args=(server,), daemon=True).start()
    server.run([served.socket])


def _stop_with_stdin(server: uvicorn.Server) -> None:
    # The parent holds the other end: however it dies, this one goes with it.
    # Below Python's buffer: its lock would still be held when the interpreter ends.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True


def main(argv: Sequence[str] | None = None) -> None:
    """Serve as the command line says."""
    given = arguments().parse_args(argv)
    serve(
        given.state, host=given.host, port=given.port, sftp_port=given.sftp_port, vendors=given.vendor or VENDORS,
        shop=given.shop, receipts=given.receipts, seed=given.seed, retail_parquet=given.retail_parquet,
        stop_with_stdin=given.stop_with_stdin,
    )  # fmt: skip


if __name__ == "__main__":
    main()
