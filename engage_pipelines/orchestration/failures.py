"""Turning our errors into Dagster failures: what happened, and whether running again can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from engage_pipelines.errors import EngageError, RetryableError, WarehouseBusyError

_WAY_OUT = {
    "ConfigError": "fix the setting and run again",
    "CredentialsError": "a person must set or renew the key; running again is useless before that",
    "RetryableError": "nothing was done; run again later",
    "UnknownOutcomeError": "see `engage status`: the records in doubt are settled by the next run or by a person",
    "ContractError": "the connector needs a look: the vendor's answer is not what its documents say",
    "GuardError": "look at what would be sent (preview: true); if it is right, run again with yes_really: true",
    "RejectedError": "see `engage rejected list`; once the cause is gone, `engage rejected replay`",
    "IncompleteError": "run the same days again",
    "WarehouseBusyError": "another process holds the warehouse; run again when it has ended",
}


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Raise our errors as failures with the way out in the metadata."""
    try:
        yield
    except EngageError as error:
        kind = type(error).__name__
        raise dg.Failure(
            description=f"{kind}: {error}",
            metadata={"error": kind, "what_to_do": _WAY_OUT.get(kind, "see the message")},
            allow_retries=isinstance(error, RetryableError | WarehouseBusyError),
        ) from error
