"""The stand-in as the sandbox mounts it: the gate in front of the routes, and the till behind them."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engage_pipelines.sandbox.square import catalog, inventory, orders, payments, people_and_places, shop_changes
from engage_pipelines.sandbox.square.holdings import report
from engage_pipelines.sandbox.square.refusals import SquareRefusedError, rate_limited, unauthorized
from engage_pipelines.sandbox.square.store import DocumentStore
from engage_pipelines.sandbox.square.till import Call, Till

Handler = Callable[[Till, Call], Response]

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v2/orders/search", orders.search_orders),
    ("POST", "/v2/orders/batch-retrieve", orders.retrieve_orders),
    ("GET", "/v2/orders/{order_id}", orders.retrieve_order),
    ("GET", "/v2/payments", payments.list_payments),
    ("GET", "/v2/refunds", payments.list_refunds),
    ("GET", "/v2/catalog/list", catalog.list_catalog),
    ("POST", "/v2/catalog/search", catalog.search_catalog),
    ("POST", "/v2/inventory/counts/batch-retrieve", inventory.retrieve_counts),
    ("POST", "/v2/customers/search", people_and_places.search_customers),
    ("GET", "/v2/customers", people_and_places.list_customers),
    ("GET", "/v2/locations", people_and_places.list_locations),
)


class SquareStandIn:
    """A Square seller's till on this machine.

    Args:
        directory: Where its state is kept (`square.sqlite`); it survives a restart.
        access_token: The only bearer token that is let in.
        clock: Gives the present, for ranges without an end.
        order_page_limit: Orders in a page at most, although 1,000 may be asked for.
    """

    name = "square"
    rates: tuple[tuple[int, float], ...] = ((400, 1.0),)
    in_flight: int = 8

    def __init__(
        self,
        directory: Path,
        *,
        access_token: str = "sandbox-square-token",  # noqa: S107 - opens a stand-in, nothing else
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        order_page_limit: int = 500,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.store = DocumentStore(directory / "square.sqlite")
        self._till = Till(self.store, clock, order_page_limit)
        self._access_token = access_token

    def routes(self) -> list[Route]:
        """All routes, relative to where the stand-in is mounted."""
        vendor = [Route(path, self._endpoint(handler), methods=[verb]) for verb, path, handler in _ROUTES]
        change = self._endpoint(shop_changes.change_shop, guarded=False)
        return [*vendor, Route("/_shop/{name}", change, methods=["POST"])]

    def throttled(self, retry_after: float | None) -> Response:
        """Square's answer to too many calls, with `Retry-After` when there is a time to wait."""
        response = rate_limited().response()
        if retry_after is not None:
            response.headers["Retry-After"] = f"{retry_after:g}"
        return response

    def report(self) -> dict[str, Any]:
        """What the till holds; see `holdings.report`."""
        return report(self.store)

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def _endpoint(self, handler: Handler, *, guarded: bool = True) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                if guarded:
                    check_token(request, self._access_token)
                    check_version(request)
                call = Call(request.path_params, request.query_params, _body(request, await request.body()))
                return await run_in_threadpool(handler, self._till, call)
            except SquareRefusedError as refusal:
                return refusal.response()

        return endpoint


def check_token(request: Request, access_token: str) -> None:
    """Let in the bearer of the token only."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), access_token.encode()):
        raise unauthorized()


def check_version(request: Request) -> None:
    """Ask for a version: Square would take that of the application, and an unpinned caller breaks one day."""
    version = request.headers.get("square-version", "")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", version):
        detail = "Send a Square-Version header of the form YYYY-MM-DD."
        raise SquareRefusedError("INVALID_SQUARE_VERSION_FORMAT", detail)


def _body(request: Request, content: bytes) -> dict[str, Any]:
    if request.method != "POST":
        return {}
    try:
        return msgspec.json.decode(content or b"{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SquareRefusedError("EXPECTED_JSON_BODY", "The body must be a JSON object.") from error
