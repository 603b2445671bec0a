"""One HTTP client for all vendors: pacing, retry, time-outs, connection reuse, redaction, status -> error.

What belongs here: everything about making one call well. What does not: what the call means (that is
the connector), and what happens hours later (that is the ledger). Retries are decided in `retries.py`.
"""

from engage_pipelines.http_client.client import Answer, VendorClient
from engage_pipelines.http_client.pacing import Limits, Pacer, Rate, parse_rate
from engage_pipelines.http_client.redaction import redact
from engage_pipelines.http_client.retries import RetryPolicy

__all__ = ["Answer", "Limits", "Pacer", "Rate", "RetryPolicy", "VendorClient", "parse_rate", "redact"]
