"""The frame around the stand-ins: mounting, counting, limits and faults. No vendor knowledge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Match, Mount, Route
from starlette.types import Message, Receive, Scope, Send

from engage_pipelines.sandbox.acting import (
    ON_THE_WIRE,
    TRANSPORT_KEY,
    Exchange,
    leave_rows_out,
    plain_failure,
    read_body,
    replay,
)
from engage_pipelines.sandbox.clock import SandboxClock
from engage_pipelines.sandbox.faults import OUTAGES, Fault, FaultBook, Struck
from engage_pipelines.sandbox.handling import FAULT_KEY, answer
from engage_pipelines.sandbox.inspection import inspection_routes
from engage_pipelines.sandbox.journal import Journal
from engage_pipelines.sandbox.limits import OpenCalls, SlidingWindows
from engage_pipelines.sandbox.rows import ROWS, Rows, SentRows
from engage_pipelines.sandbox.sense import kinds_for
from engage_pipelines.sandbox.stand_in import ActsOutFaults, HasSwitches, HoldsRecords, NamesRows, StandIn
from engage_pipelines.sandbox.work import CALL_KEY, SENT_KEY, Work

__all__ = ["ActsOutFaults", "HasSwitches", "HoldsRecords", "StandIn", "VendorFrame", "create_app"]


class VendorFrame:
    """One stand-in as an ASGI application: counts calls, applies the fault book, enforces the rates.

    Args:
        stand_in: the vendor.
        journals: folder of the journals.
        clock: the sandbox's clock.
    """

    def __init__(self, stand_in: StandIn, journals: Path, clock: SandboxClock) -> None:
        self.stand_in = stand_in
        self.faults = FaultBook(clock)
        self.windows = SlidingWindows(stand_in.rates, clock=clock.elapsed)
        self.retry_after: float | None = None
        self.calls: Counter[tuple[str, str]] = Counter()
        self.open_calls = OpenCalls()
        self.journal = Journal(journals, stand_in.name)
        self.rows: Mapping[str, Rows] = (
            stand_in.rows() if isinstance(stand_in, NamesRows) else ROWS.get(stand_in.name, {})
        )
        # An application of its own, so that its 404 and 405 pass through here and are counted.
        self._api = Starlette(routes=stand_in.routes())
        self._work = Work(stand_in, self._api, self.faults, self.journal)

    @property
    def most_in_flight(self) -> int:
        """Most calls that were open at once."""
        return self.open_calls.most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        route, path = self._route_of(scope)
        seen: list[str] = []
        try:
            if _path_below_mount(scope).startswith("/_"):
                # A lever of the sandbox, which no vendor has: no fault, no limit.
                await self._api(scope, receive, _noting_status(send, seen))
                return
            with self.open_calls.one_more(scope.get("extensions", {}).get(TRANSPORT_KEY), self.stand_in.in_flight):
                await self._answer(scope, receive, _noting_status(send, seen), route, path)
        finally:
            self.calls[route, seen[0] if seen else "no answer"] += 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send, route: str, path: Mapping[str, str]) -> None:
        # Read to the end before anything else: a reset must hit the waiting caller, not the sending one.
        body = await read_body(receive)
        sent = scope[SENT_KEY] = SentRows(self.rows.get(route), path, body)
        call = scope[CALL_KEY] = Struck(f"{scope['method']} {_path_below_mount(scope)}", sent.keys)
        is_admitted = self.windows.admit()
        kinds = kinds_for(self.stand_in.name, route, sent.rows) if is_admitted else OUTAGES
        fault = self.faults.strike(call, kinds - {"poison"})
        exchange = Exchange(self._work, scope, receive, send, body)
        if fault:
            await self._suffer(fault, exchange, sent)
        elif is_admitted:
            await self._work(scope, replay(body), send)
        else:
            await self.stand_in.throttled(self.retry_after)(scope, replay(b""), send)

    async def _suffer(self, fault: Fault, call: Exchange, sent: SentRows) -> None:
        if fault.kind in ON_THE_WIRE:
            await ON_THE_WIRE[fault.kind](fault, call)
        elif fault.kind == "missing_rows":
            await leave_rows_out(fault, call)
        elif fault.kind == "row_errors":
            call.scope[FAULT_KEY] = fault
            await self._work(call.scope, replay(call.body), call.send)
        else:
            await self._said(fault, sent)(call.scope, replay(b""), call.send)

    def _said(self, fault: Fault, sent: SentRows) -> Response:
        if fault.kind == "throttle":
            return self.stand_in.throttled(fault.retry_after)
        if fault.kind == "accept_and_forget" and sent.rows and sent.rows.accepted:
            status, body = sent.rows.accepted
            return Response(status_code=status) if body is None else answer(body, status)
        own = self.stand_in.fault_answer if isinstance(self.stand_in, ActsOutFaults) else plain_failure
        return own(fault)

    def _route_of(self, scope: Scope) -> tuple[str, Mapping[str, str]]:
        # The template and not the path: ids would make every call its own row.
        for route in self._api.routes:
            if isinstance(route, Route):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    return f"{scope['method']} {route.path}", found["path_params"]
        return f"{scope['method']} (unknown route)", {}

    def close(self) -> None:
        """Close the stand-in and the journal."""
        self.stand_in.close()
        self.journal.close()


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


def create_app(
    stand_ins: Sequence[StandIn], state: Path, *, clock: SandboxClock, lifespan: Lifespan | None = None
) -> Starlette:
    """Mount stand-ins at `/<name>` and the inspection API at `/_sandbox/`; `state` keeps their journals."""
    make = partial(VendorFrame, journals=state / "journals", clock=clock)
    frames = {stand_in.name: make(stand_in) for stand_in in stand_ins}
    app = Starlette(
        routes=[
            Mount("/_sandbox", routes=inspection_routes(frames, clock)),
            *(Mount(f"/{name}", app=frame) for name, frame in frames.items()),
        ],
        lifespan=lifespan,
    )
    app.state.frames = frames
    return app
