"""What becomes of a call that was tried: an answer, another try, or the error that says what to do next."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import httpx

from engage_pipelines.errors import (
    ContractError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client.answers import Answer, vendor_code
from engage_pipelines.http_client.retries import NOT_DONE_STATUSES, RETRYABLE_STATUSES, is_failure


@dataclass(frozen=True, slots=True)
class Tried:
    """One try: an answer or a problem, and what it says about the vendor.

    Attributes:
        answer: the vendor's.
        problem: why there is none.
        was_probe: it was sent to see how a vendor is that had been left alone.
        is_throttled: the vendor has had enough of us for now.
    """

    answer: Answer | None
    problem: httpx.RequestError | None
    was_probe: bool
    is_throttled: bool

    @property
    def status(self) -> int | None:
        """Of the answer; None if there was none."""
        return self.answer.status if self.answer else None

    @property
    def is_failure(self) -> bool:
        """True if the vendor is in trouble, whatever the call was."""
        return is_failure(self.status)

    @property
    def seen(self) -> str:
        """For messages: the status, or the name of the problem."""
        return f"status {self.answer.status}" if self.answer else type(self.problem).__name__


@dataclass(slots=True)
class Call:
    """One call under way.

    Attributes:
        what: its name for messages, redacted.
        method: HTTP verb.
        path: as called, without query, redacted.
        expect: statuses outside 2xx that the caller reads itself.
        repeatable: False if doing it twice does harm.
        changes: False if it leaves nothing at the vendor that anybody would miss, or find twice.
        attempts: tries so far, failed probes excluded.
        probes: tries that were to show whether the vendor is well again, and showed that it is not.
        may_be_done: a try may have done its work although no answer says so; reading does none.
    """

    what: str
    method: str
    path: str
    expect: Collection[int]
    repeatable: bool
    changes: bool
    attempts: int = 0
    probes: int = 0
    may_be_done: bool = False

    def count(self, tried: Tried) -> None:
        """Count a try."""
        # A probe that fails tells more about the vendor than about the call.
        if tried.was_probe and tried.is_failure:
            self.probes += 1
        else:
            self.attempts += 1

    @property
    def tries(self) -> str:
        """For messages: how many tries there were."""
        count = self.attempts + self.probes
        return f"{count} {'try' if count == 1 else 'tries'}"


def is_wanted(answer: Answer, expect: Collection[int]) -> bool:
    """True if the answer is what the caller called for."""
    return 200 <= answer.status < 300 or answer.status in expect


def raise_if_final(call: Call, tried: Tried) -> None:
    """Raise what ends the call at once; a return means that another try may help.

    Raises:
        CredentialsError: a person must look at the key.
        RejectedError: the vendor refuses this call for good.
        ContractError: the vendor says something that is not foreseen.
        UnknownOutcomeError: it may have been done and must not be done twice.
    """
    answer, what = tried.answer, call.what
    if answer is None:
        never_left = isinstance(tried.problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        call.may_be_done |= not never_left and call.changes
        if not call.repeatable and not never_left:
            raise UnknownOutcomeError(f"{what}: no answer ({tried.seen})") from tried.problem
        return
    if tried.is_throttled:
        return
    if answer.status in {401, 403}:
        raise CredentialsError(f"{what}: refused with {answer.status}; check the key and its rights")
    if answer.status not in RETRYABLE_STATUSES:
        raise _refusal(what, answer)
    call.may_be_done |= answer.status not in NOT_DONE_STATUSES and call.changes
    if not call.repeatable and answer.status not in NOT_DONE_STATUSES:
        raise UnknownOutcomeError(f"{what}: status {answer.status}, it may have been done")


def last_word(
    call: Call, tried: Tried, comes_back: datetime | None, rests_until: datetime | None
) -> CredentialsError | RetryableError:
    """The error of a call that is given up.

    Args:
        call: the call.
        tried: its last try.
        comes_back: when the vendor asked to come back.
        rests_until: how long the vendor is left alone, if it is.
    """
    if tried.answer and tried.status == 403 and "retry-after" not in tried.answer.headers:
        return CredentialsError(f"{call.what}: refused with 403 after {call.tries}; check the key and its rights")
    message = f"{call.what}: {tried.seen} after {call.tries}"
    if rests_until:
        message += f"; left alone until {rests_until:%Y-%m-%d %H:%M:%S %Z}"
    if comes_back:
        message += f"; the vendor asks to come back at {comes_back:%Y-%m-%d %H:%M:%S %Z}"
    moments = [moment for moment in (rests_until, comes_back) if moment]
    return RetryableError(message, retry_at=max(moments, default=None))


def _refusal(what: str, answer: Answer) -> ContractError | RejectedError:
    if answer.status >= 500 or answer.status < 400:
        return ContractError(f"{what}: unexpected status {answer.status}")
    code = vendor_code(answer.content)
    return RejectedError(f"{what}: refused with {answer.status}" + (f" {code}" if code else ""), vendor_code=code)
