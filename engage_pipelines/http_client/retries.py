"""THE place where it is decided whether and when a call is repeated.

Seconds are decided here; hours are the ledger's business (a record goes back to `pending` and the next
run takes it up). Dagster retries crashed runs only.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# 5xx without 501 (never going to work), plus time-out, too early and throttled. Not "any 4xx".
RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529})
# Longer than this is a slip of the vendor's; a moment that far away may not even have a date.
_FOREVER = 366 * 86400.0
# The vendor answered without doing anything: repeating is safe even for calls that create something.
NOT_DONE_STATUSES = frozenset({408, 425, 429, 503})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait before the next try; None means give up.

    Attributes:
        attempts: calls in all, the first one included; failed probes (see `probes`) are extra.
        first_wait: seconds before the second call; doubles from there, with full jitter.
        longest_wait: cap of one backoff wait. A Retry-After is never capped.
        patience: longest Retry-After (seconds) that is waited for in place, and how long one client waits in all
            for a vendor that is down; beyond it the call ends with `retry_at`, and the rest is for the ledger.
        failures_in_a_row: of the account, after which its vendor is left alone.
        first_rest: seconds for which it is left alone at first; doubles from there. Never more than sixty first
            waits: who repeats without waiting does not want to rest either.
        longest_rest: cap of one rest.
        probes: failed tries after a rest that one call makes. Bounded, because a record that the vendor cannot
            digest looks like a vendor that is down as long as nothing else is sent.
    """

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0
    patience: float = 1800.0
    failures_in_a_row: int = 5
    first_rest: float = 30.0
    longest_rest: float = 900.0
    probes: int = 3
    jitter: Callable[[], float] = field(default=random.random, compare=False)

    def next_wait(self, attempt: int, retry_after: float | None) -> float | None:
        """Seconds until try number `attempt + 1` (attempts count from 1), or None to give up."""
        if attempt >= self.attempts:
            return None
        if retry_after is not None:
            return None if retry_after > self.patience else retry_after
        backoff = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1))
        return backoff * (0.5 + self.jitter() / 2)

    def rest(self, number: int) -> float:
        """Seconds for which a vendor is left alone for the `number`th time in one outage (from 0)."""
        first = min(self.first_rest, 60.0 * self.first_wait)
        return min(self.longest_rest, first * 2.0 ** min(number, 30))


def is_failure(status: int | None) -> bool:
    """True if the vendor itself is in trouble: a 5xx, or no answer at all."""
    return status is None or status >= 500


def is_throttled(status: int | None, headers: Mapping[str, str], *, key_worked: bool) -> bool:
    """True if the vendor has had enough of us for now: 429, or the 403 that some gateways say instead.

    A wrong key is refused from the first call on and without a word about later; a 403 with Retry-After or after
    calls that went well means throttling.
    """
    return status == 429 or (status == 403 and (key_worked or "retry-after" in headers))


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read Retry-After in seconds or as an HTTP date; None when absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return min(float(value), _FOREVER)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), _FOREVER)
