"""The calls to Square: one pull function per entity. Paging is in `paging`, the declaration in `__init__`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engage_pipelines.connector import Scope
from engage_pipelines.errors import ContractError, CredentialsError, IncompleteError
from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.sources.square.options import SquareOptions
from engage_pipelines.sources.square.paging import (
    Page,
    envelope,
    last_moment_before,
    moment,
    read_page,
    walk,
    walk_in_order,
)

TOKEN = "SQUARE_ACCESS_TOKEN"  # noqa: S105 - the variable's name, not its value

# Page sizes by Square's documents. Orders are documented up to 1,000, but 500 is what arrives.
_ORDERS_SEEN_CAP = 500
_ENTRIES_CAP = 1000
_MONEY_CAP = 100
_CUSTOMERS_CAP = 100
_CATALOG_CAP = 1000
_COUNTS_CAP = 1000

_SHAPES = {
    name: envelope(name)
    for name in (
        "locations",
        "objects",
        "customers",
        "counts",
        "orders",
        "order_entries",
        "payments",
        "refunds",
    )
}


class _Identified(msgspec.Struct):
    id: str


def connect(options: SquareOptions, secrets: Mapping[str, str], limits: Limits) -> VendorClient:
    """Build the client of a Square account.

    Raises:
        CredentialsError: the token is not set.
    """
    token = secrets.get(TOKEN, "").strip()
    if not token:
        raise CredentialsError(f"square: {TOKEN} is not set")
    headers = {"Authorization": f"Bearer {token}", "Square-Version": options.api_version}
    return VendorClient("square", options.base_url, headers=headers, limits=limits, secrets=(token,))


def location_ids(client: VendorClient, _: SquareOptions) -> tuple[str, ...]:
    """Give the ids of all locations, closed ones too: their old orders still change."""
    records = _get(client, "v2/locations", "locations", {}).records
    try:
        return tuple(msgspec.json.decode(record, type=_Identified).id for record in records)
    except msgspec.DecodeError as error:
        raise ContractError(f"square: a location without id: {error}") from error


def pull_locations(client: VendorClient, _: Scope) -> Iterator[Sequence[bytes]]:
    """Yield all locations; Square lists them in one answer."""
    yield _get(client, "v2/locations", "locations", {}).records


def pull_catalog(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    """Yield the whole catalogue as it is now, deleted objects included (the plain list leaves them out)."""
    path = "v2/catalog/search"
    query = {
        "object_types": ["ITEM", "ITEM_VARIATION", "CATEGORY"],
        "include_deleted_objects": True,
        "limit": min(scope.options.page_size, _CATALOG_CAP),
    }
    for page in walk(f"square: {path}", lambda cursor: _post(client, path, "objects", query, cursor)):
        yield page.records


def pull_inventory_counts(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    """Yield what is in stock now, at all locations."""
    path = "v2/inventory/counts/batch-retrieve"
    query = {"states": ["IN_STOCK"], "limit": min(scope.options.page_size, _COUNTS_CAP)}
    for page in walk(f"square: {path}", lambda cursor: _post(client, path, "counts", query, cursor)):
        yield page.records


def pull_customers(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    """Yield the customers changed in the window.

    Square cannot sort customers by change, so a full last page is judged by the total it counts itself.

    Raises:
        IncompleteError: fewer customers were listed than Square counts.
    """
    path = "v2/customers/search"
    query = {
        "limit": min(scope.options.page_size, _CUSTOMERS_CAP),
        "count": True,
        "query": {
            # No document says whether the end belongs to the range. The window's own end is safe either
            # way: at worst a border record is read twice.
            "filter": {"updated_at": {"start_at": moment(scope.window.start), "end_at": moment(scope.window.end)}},
            "sort": {"field": "CREATED_AT", "order": "ASC"},
        },
    }
    listed, counted = 0, None
    for page in walk(f"square: {path}", lambda cursor: _post(client, path, "customers", query, cursor)):
        listed, counted = listed + len(page.records), page.count
        yield page.records
    if counted is not None and listed < counted:
        raise IncompleteError(f"square: {path} listed {listed} customers of {counted}")


def pull_orders(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    """Yield the orders changed in the window at up to ten locations, oldest change first."""
    limit = scope.options.page_size
    start, end = moment(scope.window.start), last_moment_before(scope.window.end)

    def ask(start_at: str, cursor: str | None) -> Page:
        query = _orders_query(scope, start_at, end, limit)
        return _post(client, "v2/orders/search", "orders", query, cursor)

    yield from walk_in_order("square: v2/orders/search", start, end, min(limit, _ORDERS_SEEN_CAP), ask)


def prove_orders(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    """Yield id, version and location of the same orders, in pages of another size than the pull's."""
    start, end = moment(scope.window.start), last_moment_before(scope.window.end)
    query = {
        **_orders_query(scope, start, end, min(2 * scope.options.page_size, _ENTRIES_CAP)),
        "return_entries": True,
    }
    path = "v2/orders/search"
    for page in walk(f"square: {path}", lambda cursor: _post(client, path, "order_entries", query, cursor)):
        yield page.records


def _orders_query(scope: Scope, start_at: str, end_at: str, limit: int) -> dict[str, Any]:
    return {
        "location_ids": list(scope.location_ids),
        "limit": limit,
        "query": {
            "filter": {"date_time_filter": {"updated_at": {"start_at": start_at, "end_at": end_at}}},
            "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"},
        },
    }


def pull_payments(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    """Yield the payments changed in the window, location by location."""
    yield from _pull_money(client, scope, "payments")


def pull_refunds(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    """Yield the refunds changed in the window, location by location."""
    yield from _pull_money(client, scope, "refunds")


def _pull_money(client: VendorClient, scope: Scope, field: str) -> Iterator[Sequence[bytes]]:
    limit = min(scope.options.page_size, _MONEY_CAP)
    start, end = moment(scope.window.start), moment(scope.window.end)
    for location_id in scope.location_ids:
        fixed: dict[str, Any] = {
            "location_id": location_id,
            # Without it Square starts at "created in the last year", which hides late changes of old ones.
            "begin_time": moment(scope.options.created_from),
            "updated_at_end_time": end,
            "sort_field": "UPDATED_AT",
            "sort_order": "ASC",
            "limit": limit,
        }

        def ask(start_at: str, cursor: str | None, fixed: dict[str, Any] = fixed) -> Page:
            asked = {**fixed, "updated_at_begin_time": start_at, **({"cursor": cursor} if cursor else {})}
            return _get(client, f"v2/{field}", field, asked)

        yield from walk_in_order(f"square: v2/{field}", start, end, limit, ask)


def _get(client: VendorClient, path: str, field: str, params: Mapping[str, Any]) -> Page:
    return read_page(client, path, client.call("GET", path, params=params or None), _SHAPES[field])


def _post(client: VendorClient, path: str, field: str, query: Mapping[str, Any], cursor: str | None) -> Page:
    # Square wants the whole query again with every cursor.
    body = {**query, "cursor": cursor} if cursor else query
    return read_page(client, path, client.call("POST", path, json=body), _SHAPES[field])
