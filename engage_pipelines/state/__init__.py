"""Operational memory, in SQLAlchemy (SQLite in WAL mode, or Postgres by URL): bookmarks and the ledger.

What belongs here: what must survive a crash of any run. What does not: business data (the warehouse).
"""

from engage_pipelines.state.bookmarks import Bookmarks
from engage_pipelines.state.database import open_state
from engage_pipelines.state.ledger import Ledger, RunCounts, Settlement

__all__ = ["Bookmarks", "Ledger", "RunCounts", "Settlement", "open_state"]
