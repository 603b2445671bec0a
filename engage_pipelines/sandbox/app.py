"""The frame around the stand-ins: mounting, counting, limits and faults. No vendor knowledge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.routing import Match, Mount, Route
from starlette.types import Message, Receive, Scope, Send

from engage_pipelines.sandbox.acting import (
    ON_THE_WIRE,
    Exchange,
    leave_rows_out,
    plain_failure,
    read_body,
    replay,
)
from engage_pipelines.sandbox.faults import Fault, FaultBook
from engage_pipelines.sandbox.handling import FAULT_KEY
from engage_pipelines.sandbox.inspection import inspection_routes
from engage_pipelines.sandbox.limits import SlidingWindows
from engage_pipelines.sandbox.stand_in import ActsOutFaults, HasSwitches, HoldsRecords, StandIn

__all__ = ["ActsOutFaults", "HasSwitches", "HoldsRecords", "StandIn", "VendorFrame", "create_app"]


class VendorFrame:
    """One stand-in as an ASGI application: counts calls, applies the fault book, enforces the rates."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.faults = FaultBook()
        self.windows = SlidingWindows(stand_in.rates)
        self.retry_after: float | None = None
        self.calls: Counter[tuple[str, str]] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        # An application of its own, so that its 404 and 405 pass through here and are counted.
        self._api = Starlette(routes=stand_in.routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        seen: list[str] = []
        try:
            await self._answer(scope, receive, _noting_status(send, seen))
        finally:
            self.in_flight -= 1
            self.calls[self._route_of(scope), seen[0] if seen else "no answer"] += 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Read to the end before anything else: a reset must hit the waiting caller, not the sending one.
        body = await read_body(receive)
        if not self.windows.admit():
            await self.stand_in.throttled(self.retry_after)(scope, replay(b""), send)
            return
        fault = self.faults.strike(scope["method"], _path_below_mount(scope))
        call = Exchange(self._api, scope, receive, send, body)
        if fault:
            await self._suffer(fault, call)
        else:
            await self._api(scope, replay(body), send)

    async def _suffer(self, fault: Fault, call: Exchange) -> None:
        if fault.kind in ON_THE_WIRE:
            await ON_THE_WIRE[fault.kind](fault, call)
        elif fault.kind == "throttle":
            await self.stand_in.throttled(fault.retry_after)(call.scope, replay(b""), call.send)
        elif fault.kind in {"ok_with_failure", "expired_token"}:
            own = self.stand_in.fault_answer if isinstance(self.stand_in, ActsOutFaults) else plain_failure
            await own(fault)(call.scope, replay(b""), call.send)
        elif fault.kind == "missing_rows":
            await leave_rows_out(fault, call)
        else:
            call.scope[FAULT_KEY] = fault
            await self._api(call.scope, replay(call.body), call.send)

    def _route_of(self, scope: Scope) -> str:
        # The template and not the path: ids would make every call its own row.
        for route in self._api.routes:
            if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL:
                return f"{scope['method']} {route.path}"
        return f"{scope['method']} (unknown route)"


def _path_below_mount(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _noting_status(send: Send, seen: list[str]) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.append(str(message["status"]))
        await send(message)

    return noting


Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def create_app(stand_ins: Sequence[StandIn], *, lifespan: Lifespan | None = None) -> Starlette:
    """Mount stand-ins at `/<name>` and the inspection API at `/_sandbox/`."""
    frames = {stand_in.name: VendorFrame(stand_in) for stand_in in stand_ins}
    app = Starlette(
        routes=[
            Mount("/_sandbox", routes=inspection_routes(frames)),
            *(Mount(f"/{name}", app=frame) for name, frame in frames.items()),
        ],
        lifespan=lifespan,
    )
    app.state.frames = frames
    return app
