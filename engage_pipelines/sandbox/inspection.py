"""The inspection API below `/_sandbox/`: what each vendor received, and levers for faults and limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from engage_pipelines.sandbox.faults import read_fault
from engage_pipelines.sandbox.handling import UnreadableError, answer, page_numbers
from engage_pipelines.sandbox.stand_in import HasSwitches, HoldsRecords

if TYPE_CHECKING:
    from engage_pipelines.sandbox.app import VendorFrame

Endpoint = Callable[[Request], Awaitable[Response]]


def inspection_routes(frames: Mapping[str, VendorFrame]) -> list[Route | Mount]:
    """All routes below `/_sandbox`."""

    async def overview(_: Request) -> Response:
        return answer({"vendors": {name: _standing(frame) for name, frame in frames.items()}})

    vendors = [route for name, frame in frames.items() for route in _vendor_routes(f"/{name}", frame)]
    return [Route("/", overview), *vendors]


def _vendor_routes(at: str, frame: VendorFrame) -> list[Route | Mount]:
    own = frame.stand_in.switches() if isinstance(frame.stand_in, HasSwitches) else []
    return [
        Route(at, _report(frame)), Route(f"{at}/calls", _calls(frame)),
        Route(f"{at}/limits", _limits(frame)), Route(f"{at}/limits", _change_limits(frame), methods=["PUT"]),
        Route(f"{at}/faults", _faults(frame)), Route(f"{at}/faults", _add_faults(frame), methods=["POST"]),
        Route(f"{at}/faults", _clear_faults(frame), methods=["DELETE"]),
        Route(f"{at}/records/{{kind}}", _records(frame)),
        Mount(at, routes=own),
    ]  # fmt: skip


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
        "most_in_flight": frame.most_in_flight,
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
    async def endpoint(_: Request) -> Response:
        frame.faults.clear()
        return answer({"faults": []})

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
