"""The product's verbs on a set of settings: what an asset or a command calls.

Here settings become plain objects (clients, warehouse, ledger) and one function of an engine is called with
them. No business is decided here, and nothing of Dagster or of a terminal is known.
"""

from engage_pipelines.operations.books import Books, FlowStanding, keep_books
from engage_pipelines.operations.desk import Desk
from engage_pipelines.operations.status import Status, look

__all__ = ["Books", "Desk", "FlowStanding", "Status", "keep_books", "look"]
