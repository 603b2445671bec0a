"""The inspection API below `/_sandbox/`: what each vendor received, and levers for faults, limits and the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from engage_pipelines.sandbox.clock import SandboxClock, read_moment
from engage_pipelines.sandbox.faults import read_fault
from engage_pipelines.sandbox.handling import UnreadableError, answer, page_numbers
from engage_pipelines.sandbox.inspection_journal import journal_routes, read_keys
from engage_pipelines.sandbox.stand_in import HasSwitches, HoldsRecords

if TYPE_CHECKING:
    from engage_pipelines.sandbox.app import VendorFrame

Endpoint = Callable[[Request], Awaitable[Response]]


def inspection_routes(frames: Mapping[str, VendorFrame], clock: SandboxClock) -> list[Route | Mount]:
    """All routes below `/_sandbox`."""

    async def overview(_: Request) -> Response:
        vendors = {name: _standing(frame) for name, frame in frames.items()}
        return answer({"clock": clock.standing(), "vendors": vendors})

    async def time(_: Request) -> Response:
        return answer(clock.standing())

    vendors = [route for name, frame in frames.items() for route in _vendor_routes(f"/{name}", frame)]
    clocks = [Route("/clock", time), Route("/clock", _change_clock(clock), methods=["PUT"])]
    return [Route("/", overview), *clocks, *vendors]


def _vendor_routes(at: str, frame: VendorFrame) -> list[Route | Mount]:
    own = frame.stand_in.switches() if isinstance(frame.stand_in, HasSwitches) else []
    return [
        Route(at, _report(frame)), Route(f"{at}/calls", _calls(frame)),
        Route(f"{at}/limits", _limits(frame)), Route(f"{at}/limits", _change_limits(frame), methods=["PUT"]),
        Route(f"{at}/faults", _faults(frame)), Route(f"{at}/faults", _add_faults(frame), methods=["POST"]),
        Route(f"{at}/faults", _clear_faults(frame), methods=["DELETE"]),
        Route(f"{at}/faults/summary", _struck(frame)), Route(f"{at}/faults/poisoned", _poisoned(frame)),
        Route(f"{at}/faults/poisoned", _poison_among(frame), methods=["POST"]),
        Route(f"{at}/records/{{kind}}", _records(frame)),
        *journal_routes(f"{at}/journal", frame.journal),
        Mount(at, routes=own),
    ]  # fmt: skip


def _change_clock(clock: SandboxClock) -> Endpoint:
    """`advance` in seconds, `now` as epoch seconds or a moment, `running` true or false; any of them."""

    async def endpoint(request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await request.body(), type=dict[str, Any])
            if unknown := set(wanted) - {"advance", "now", "running"}:
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}")  # noqa: TRY301  one exit for all reasons
            if "running" in wanted:
                clock.run(running=bool(wanted["running"]))
            if "now" in wanted:
                clock.set(read_moment(wanted["now"]))
            clock.advance(float(wanted.get("advance", 0)))
        except (ValueError, TypeError) as error:
            return answer({"message": str(error)}, 400)
        return answer(clock.standing())

    return endpoint


def _standing(frame: VendorFrame) -> dict[str, Any]:
    return {
        "path": f"/{frame.stand_in.name}", "calls": sum(frame.calls.values()), **_limits_now(frame),
    }  # fmt: skip


def _limits_now(frame: VendorFrame) -> dict[str, Any]:
    return {
        "rates": [list(rate) for rate in frame.windows.rates],
        "in_flight": frame.stand_in.in_flight,
        "retry_after": frame.retry_after,
        "times_exceeded": frame.windows.exceeded,
        "let_through": frame.windows.let_through,
        "enforced": frame.windows.enforced,
        "most_in_flight": frame.open_calls.most,
        "times_in_flight_exceeded": frame.open_calls.exceeded,
    }


def _report(frame: VendorFrame) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return answer(await run_in_threadpool(frame.stand_in.report))

    return endpoint


def _calls(frame: VendorFrame) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        by_route: dict[str, dict[str, int]] = {}
        for (route, status), count in sorted(frame.calls.items()):
            by_route.setdefault(route, {})[status] = count
        return answer({"calls": sum(frame.calls.values()), "routes": by_route})

    return endpoint


def _limits(frame: VendorFrame) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return answer(_limits_now(frame))

    return endpoint


def _change_limits(frame: VendorFrame) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await request.body())
            frame.windows.change([(int(one), float(seconds)) for one, seconds in wanted["rates"]])
        except (ValueError, TypeError, KeyError) as error:
            return answer({"message": f"rates is a list of [requests, seconds]: {error}"}, 400)
        frame.windows.enforced = bool(wanted.get("enforced", frame.windows.enforced))
        pause = wanted.get("retry_after")
        frame.retry_after = None if pause is None else float(pause)
        frame.stand_in.in_flight = int(wanted.get("in_flight", frame.stand_in.in_flight))
        return answer(_limits_now(frame))

    return endpoint


def _faults(frame: VendorFrame) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return answer({"faults": frame.faults.listing()})

    return endpoint


def _add_faults(frame: VendorFrame) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await request.body())
            faults = [read_fault(rule) for rule in (wanted if isinstance(wanted, list) else [wanted])]
        except (ValueError, TypeError, AttributeError) as error:
            return answer({"message": str(error)}, 400)
        for fault in faults:
            frame.faults.add(fault)
        return answer({"faults": frame.faults.listing()}, 201)

    return endpoint


def _clear_faults(frame: VendorFrame) -> Endpoint:
    """`kind` forgets the rules of that kind only."""

    async def endpoint(request: Request) -> Response:
        frame.faults.clear(request.query_params.get("kind"))
        return answer({"faults": frame.faults.listing()})

    return endpoint


def _struck(frame: VendorFrame) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        struck = dict(sorted(frame.faults.struck_by_kind.items()))
        return answer({"struck": struck, "total": sum(struck.values())})

    return endpoint


def _poisoned(frame: VendorFrame) -> Endpoint:
    """Keys of poison that calls have brought."""

    async def endpoint(_: Request) -> Response:
        return answer({"poisoned": sorted(frame.faults.poisoned)})

    return endpoint


def _poison_among(frame: VendorFrame) -> Endpoint:
    """Which of the `keys` in the body the rules of poison mean."""

    async def endpoint(request: Request) -> Response:
        try:
            keys = read_keys(await request.body())
        except UnreadableError as error:
            return answer({"message": str(error)}, 400)
        return answer({"poisoned": await run_in_threadpool(frame.faults.poison_among, keys)})

    return endpoint


def _records(frame: VendorFrame) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        stand_in = frame.stand_in
        if not isinstance(stand_in, HoldsRecords):
            return answer({"message": f"{stand_in.name} lists no records"}, 404)
        try:
            offset, limit = page_numbers(request)
        except UnreadableError as error:
            return answer({"message": str(error)}, 400)
        page = await run_in_threadpool(stand_in.records, request.path_params["kind"], offset, limit)
        return answer({"message": "no such kind of record"}, 404) if page is None else answer(page)

    return endpoint
