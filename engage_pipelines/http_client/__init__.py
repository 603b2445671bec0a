"""One HTTP client for all vendors: pacing, retry, rests, time-outs, connection reuse, redaction, status -> error.

What belongs here: everything about making one call well. What does not: what the call means (that is
the connector), and what happens hours later (that is the ledger). Retries are decided in `retries.py`.
"""

from engage_pipelines.http_client.answers import Answer
from engage_pipelines.http_client.breaker import Breaker
from engage_pipelines.http_client.client import VendorClient
from engage_pipelines.http_client.exchanges import Exchange
from engage_pipelines.http_client.limits import Limits, Rate, parse_rate
from engage_pipelines.http_client.memory import Memory
from engage_pipelines.http_client.pacing import Pacer
from engage_pipelines.http_client.redaction import redact
from engage_pipelines.http_client.retries import RetryPolicy

__all__ = [
    "Answer", "Breaker", "Exchange", "Limits", "Memory", "Pacer", "Rate", "RetryPolicy", "VendorClient", "parse_rate",
    "redact",
]  # fmt: skip
