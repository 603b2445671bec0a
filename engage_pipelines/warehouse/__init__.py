"""The DuckDB file, and the only room that imports duckdb: load, plan, publish, books.

Writers own `engage.duckdb` (and `private.duckdb`, which holds the columns that identify people) and open
them only for one transaction or a few seconds of them, never across a network call. Analysts open the published copy.
"""

from engage_pipelines.warehouse.books import (
    Totals,
    core_totals,
    delivered_totals,
    duplicate_keys,
    earliest_window_loaded_since,
    incomplete_windows,
    payments_apart,
    quarantine_counts,
    receipts_out_of_balance,
)
from engage_pipelines.warehouse.corrections import ReturnRequest, write_returns
from engage_pipelines.warehouse.database import Warehouse
from engage_pipelines.warehouse.load import load_window, load_windows
from engage_pipelines.warehouse.load_notes import loaded_already
from engage_pipelines.warehouse.load_request import LoadRequest, LoadResult
from engage_pipelines.warehouse.plan import write_plan
from engage_pipelines.warehouse.plan_request import Note, PlanRequest, PlanResult, Selection
from engage_pipelines.warehouse.publish import Published, publish
from engage_pipelines.warehouse.render import Renderer
from engage_pipelines.warehouse.trace import Receipt, Version, find_receipt

__all__ = [
    "LoadRequest",
    "LoadResult",
    "Note",
    "PlanRequest",
    "PlanResult",
    "Published",
    "Receipt",
    "Renderer",
    "ReturnRequest",
    "Selection",
    "Totals",
    "Version",
    "Warehouse",
    "core_totals",
    "delivered_totals",
    "duplicate_keys",
    "earliest_window_loaded_since",
    "find_receipt",
    "incomplete_windows",
    "load_window",
    "load_windows",
    "loaded_already",
    "payments_apart",
    "publish",
    "quarantine_counts",
    "receipts_out_of_balance",
    "write_plan",
    "write_returns",
]
