"""Every error of the product, grouped by what to do next.

    EngageError
    ├── ConfigError            fix engage.toml (or the command) and run again
    ├── CredentialsError       a person must act: a key is missing, wrong or lacks a right
    ├── RetryableError         nothing was done; the same call may succeed later
    │   └── BudgetSpentError   the vendor's budget is spent until a known time
    ├── UnknownOutcomeError    the vendor may or may not have done it: look before repeating
    ├── RejectedError          the vendor refused this record or batch; never send the same again
    ├── ContractError          the vendor's answer is not what its documents say
    ├── GuardError             a delivery jumps beyond what is usual: look at it, then allow it or fix it
    ├── IncompleteError        fewer records landed than the vendor says it has
    └── WarehouseBusyError     another process holds the warehouse; wait or find it

A message says what was tried, on what, and what the other side answered (status and code). It never
carries a body, a token or personal data: it ends up in logs, in the UI and in tickets.
"""

from __future__ import annotations

from datetime import datetime


class EngageError(Exception):
    """Base of every error this product raises on purpose.

    Attributes:
        may_be_done: True if an earlier try of the same call may have done its work, whatever the last one says.
    """

    may_be_done: bool = False


class ConfigError(EngageError):
    """A setting or an argument is wrong: fix it and run again."""


class CredentialsError(EngageError):
    """A key is missing, wrong or lacks a right: a person must act, repeating is useless."""


class RetryableError(EngageError):
    """Nothing was done at the other side; the same call may succeed later.

    Attributes:
        retry_at: when the vendor said to come back (UTC), or None when it did not say.
    """

    def __init__(self, message: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class BudgetSpentError(RetryableError):
    """The vendor's budget is spent until `retry_at`; no failure, the rest goes on after the reset."""


class UnknownOutcomeError(EngageError):
    """The call left, no answer came back: the vendor may have done it. Verify before repeating."""


class RejectedError(EngageError):
    """The vendor refused this record (or this batch as a whole) for good.

    Attributes:
        vendor_code: the vendor's own code for the refusal, when it gave one.
    """

    def __init__(self, message: str, *, vendor_code: str | None = None) -> None:
        super().__init__(message)
        self.vendor_code = vendor_code


class ContractError(EngageError):
    """The vendor's answer is not what its documents say: the connector needs a look."""


class GuardError(EngageError):
    """A delivery is far larger, or changes far more, than is usual: nothing was sent, a person must look."""


class IncompleteError(EngageError):
    """Fewer records landed than the vendor says it has: the window stays open and is pulled again."""


class WarehouseBusyError(EngageError):
    """Another process held the warehouse longer than the configured wait."""
