"""What every route works with: the store, the clock and the page sizes; and the call it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engage_pipelines.sandbox.square.store import DocumentStore


@dataclass(frozen=True)
class Till:
    """The till behind the routes.

    Args:
        store: What the till holds.
        clock: Gives the present, for ranges without an end.
        order_page_limit: Orders in a page at most, although more may be asked for.
        count_page_default: Inventory counts in a page when the caller names no limit.
    """

    store: DocumentStore
    clock: Callable[[], datetime]
    order_page_limit: int = 500
    count_page_default: int = 100


@dataclass(frozen=True)
class Call:
    """A request after the gate: what stands in the path, in the query string and in the JSON body."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
