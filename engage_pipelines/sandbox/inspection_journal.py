"""The journal's pages of the inspection API: sums, lists of keys, and which of given keys never arrived."""

from __future__ import annotations

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engage_pipelines.sandbox.handling import UnreadableError, answer, page_numbers
from engage_pipelines.sandbox.journal import PICKS, Journal


class _Keys(msgspec.Struct):
    keys: list[str]


def read_keys(body: bytes) -> list[str]:
    """The keys in a body of the form `{"keys": [...]}`.

    Raises:
        UnreadableError: it has another form.
    """
    try:
        return msgspec.json.decode(body, type=_Keys).keys
    except msgspec.DecodeError as error:
        raise UnreadableError(f"keys is a list of texts: {error}") from error


def journal_routes(at: str, journal: Journal) -> list[Route]:
    """The pages of one vendor's journal."""

    async def sums(_: Request) -> Response:
        return answer({"kinds": await run_in_threadpool(journal.sums)})

    async def listing(request: Request) -> Response:
        pick = request.query_params.get("pick", "all")
        if pick not in PICKS:
            return answer({"message": f"pick is one of {', '.join(PICKS)}"}, 400)
        try:
            offset, limit = page_numbers(request)
        except UnreadableError as error:
            return answer({"message": str(error)}, 400)
        return answer(await run_in_threadpool(journal.listing, request.path_params["kind"], pick, offset, limit))

    async def missing(request: Request) -> Response:
        try:
            keys = read_keys(await request.body())
        except UnreadableError as error:
            return answer({"message": str(error)}, 400)
        found = await run_in_threadpool(journal.missing, request.path_params["kind"], keys)
        return answer({"asked": len(keys), "missing": found})

    async def forget(_: Request) -> Response:
        await run_in_threadpool(journal.forget)
        return answer({"kinds": {}})

    return [
        Route(at, sums), Route(at, forget, methods=["DELETE"]), Route(f"{at}/{{kind}}", listing),
        Route(f"{at}/{{kind}}/missing", missing, methods=["POST"]),
    ]  # fmt: skip
