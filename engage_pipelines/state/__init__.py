"""Operational memory, in SQLAlchemy (SQLite in WAL mode, or Postgres by URL): bookmarks, ledger, runs, queue.

What belongs here: what must survive a crash of any run. What does not: business data (the warehouse).
"""

from engage_pipelines.state.bookmarks import Bookmarks
from engage_pipelines.state.database import open_state
from engage_pipelines.state.ledger import Doubt, Ledger
from engage_pipelines.state.queue import Queue, Waiting
from engage_pipelines.state.returns import return_key, returned_by
from engage_pipelines.state.runs import PlanSize, RunCounts, Runs
from engage_pipelines.state.steps import Attempt, BatchEnd, Settlement

__all__ = [
    "Attempt",
    "BatchEnd",
    "Bookmarks",
    "Doubt",
    "Ledger",
    "PlanSize",
    "Queue",
    "RunCounts",
    "Runs",
    "Settlement",
    "Waiting",
    "open_state",
    "return_key",
    "returned_by",
]
