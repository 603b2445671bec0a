"""The product's verbs on a set of settings: what an asset or a command calls.

Here settings become plain objects (clients, warehouse, ledger) and one function of an engine is called with
them. No business is decided here, and nothing of Dagster or of a terminal is known.
"""

from engage_pipelines.operations.alerts import send_alert, send_heartbeat
from engage_pipelines.operations.books import Books, FlowStanding, keep_books
from engage_pipelines.operations.casework import Case, discard, find_cases, fix, replay, resolve
from engage_pipelines.operations.desk import Desk
from engage_pipelines.operations.status import Status, look
from engage_pipelines.operations.trace import Trace, trace

__all__ = [
    "Books",
    "Case",
    "Desk",
    "FlowStanding",
    "Status",
    "Trace",
    "discard",
    "find_cases",
    "fix",
    "keep_books",
    "look",
    "replay",
    "resolve",
    "send_alert",
    "send_heartbeat",
    "trace",
]
