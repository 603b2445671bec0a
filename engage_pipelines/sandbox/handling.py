"""How stand-ins read requests and write answers: JSON with exact numbers, handlers in threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from engage_pipelines.sandbox.faults import Fault

FAULT_KEY = "engage.fault"
_EXACT = msgspec.json.Decoder(float_hook=Decimal)
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder(decimal_format="number")

Handler = Callable[[Request, bytes], Response]


class UnreadableError(ValueError):
    """The body is not the JSON that was asked for."""


def read_json(text: bytes | msgspec.Raw | str) -> Any:
    """Decode JSON; numbers with a fraction come as Decimal, exactly as written.

    Raises:
        UnreadableError: it is not JSON.
    """
    try:
        return _EXACT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError("the body is not JSON") from error


def write_json(value: Any) -> bytes:
    """Encode JSON; Decimal becomes a number with all its digits."""
    return _ENCODER.encode(value)


def read_elements(text: bytes) -> list[bytes]:
    """Split a JSON array into the texts of its elements, as the sender wrote them.

    Raises:
        UnreadableError: it is not a JSON array.
    """
    try:
        return [bytes(element) for element in _ELEMENTS.decode(text)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError("the body is not a JSON array") from error


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; Decimal becomes a number, `msgspec.Raw` goes out as it came in."""
    return Response(write_json(value), status, headers=dict(headers or {}), media_type="application/json")


def retry_after_header(seconds: float | None) -> dict[str, str]:
    """The Retry-After header in whole seconds, as vendors send it."""
    return {} if seconds is None else {"Retry-After": f"{seconds:g}"}


def threaded(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that reads the body and runs `handler` in a thread, so that no vendor blocks another."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(handler, request, body)

    return endpoint


def fault_in(request: Request, kind: str) -> Fault | None:
    """The fault of that kind that this call suffers, for kinds that only the vendor can act out."""
    fault: Fault | None = request.scope.get(FAULT_KEY)
    return fault if fault and fault.kind == kind else None


def page_numbers(request: Request) -> tuple[int, int]:
    """Offset and limit of a listing, 0 and 100 unless asked otherwise.

    Raises:
        UnreadableError: they are no numbers.
    """
    try:
        offset = int(request.query_params.get("offset", "0"))
        limit = int(request.query_params.get("limit", "100"))
    except ValueError as error:
        raise UnreadableError("offset and limit are whole numbers") from error
    return max(offset, 0), max(limit, 0)


def listing(kind: str, total: int, records: Sequence[Any]) -> dict[str, Any]:
    """One page of records in the form of the inspection API."""
    return {"kind": kind, "total": total, "records": list(records)}
