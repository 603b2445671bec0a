"""The breaker leaves a vendor alone that has failed several times in a row.

Failures ("5xx or no answer") are counted for the account, across threads and processes. After a number of them in a
row nobody calls for a while; then one request goes as a probe, and its answer decides: everybody goes on, or the
vendor is left alone for twice as long. How many and how long is the retry policy's business.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from engage_pipelines.errors import RetryableError
from engage_pipelines.http_client.memory import Memory, Outage
from engage_pipelines.http_client.retries import RetryPolicy

_LOG = logging.getLogger(__name__)
# Seconds between two looks at somebody else's probe.
_LOOK = 0.25


class Breaker:
    """Guards one vendor account; one per client, all of an account on the same memory.

    Args:
        memory: of the account.
        sleep: how to wait.
        now: the wall clock, for messages.
        name: of the vendor, for messages.
    """

    def __init__(
        self, memory: Memory, *, sleep: Callable[[float], None], now: Callable[[], datetime], name: str
    ) -> None:
        self._memory = memory
        self._sleep = sleep
        self._now = now
        self._name = name
        self._met_at: float | None = None
        self._told = -math.inf

    def wait(self, policy: RetryPolicy) -> None:
        """Wait while the vendor is left alone.

        All calls of a client wait `patience` seconds in all for one outage. A vendor that is down for hours so costs
        a run half an hour and not half an hour per batch, and the next run still waits for the next probe.

        Raises:
            RetryableError: the next try is later than that; says when it is.
        """
        while True:
            seconds, news = self._seconds_to_wait(policy)
            if seconds <= 0:
                return
            if news:
                _LOG.warning("%s", news)
            self._sleep(seconds)

    def admit(self, lease: float) -> bool | None:
        """Let a request go: True if it is the probe, False if no probe is needed, None if it must wait again.

        Args:
            lease: seconds after which a probe of which nothing was heard counts as lost.
        """
        if not self._memory.failures:
            return False
        with self._memory.held() as now:
            outage = self._memory.outage
            if not outage.is_open:
                return False
            if now < max(outage.open_until, outage.probe_until):
                return None
            self._memory.outage = outage._replace(probe_until=now + lease)
            return True

    def note_answer(self) -> None:
        """The vendor answered like somebody who is well: the row of failures has ended."""
        if not self._memory.failures:
            return
        with self._memory.held():
            outage, self._memory.outage = self._memory.outage, Outage()
        if outage.is_open:
            _LOG.warning("%s: answers again, after %d failures in a row", self._name, outage.failures)

    def note_failure(self, seen: str, policy: RetryPolicy, *, probe: bool) -> None:
        """The vendor failed: `seen` says how."""
        with self._memory.held() as now:
            outage = self._memory.outage
            if outage.is_open and (not probe or now < outage.open_until):
                # It left before the vendor was left alone, or somebody else's probe has failed as well.
                return
            failures = outage.failures + 1
            outage = Outage(failures, outage.rests, seen, outage.open_until)
            if outage.is_open or failures >= policy.failures_in_a_row:
                rest = policy.rest(outage.rests)
                outage = outage._replace(rests=outage.rests + 1, open_until=now + rest)
            self._memory.outage = outage

    def release_probe(self) -> None:
        """The probe told nothing about the vendor: the next request is one."""
        with self._memory.held():
            self._memory.outage = self._memory.outage._replace(probe_until=-math.inf)

    def next_try_at(self) -> datetime | None:
        """When somebody may call again, if the vendor is being left alone."""
        with self._memory.held() as now:
            outage = self._memory.outage
            return self._moment(outage.open_until, now) if outage.is_open else None

    def _seconds_to_wait(self, policy: RetryPolicy) -> tuple[float, str | None]:
        """Seconds until it is worth looking again, and what has not been logged about it yet."""
        if not self._memory.failures:
            self._met_at = None
            return 0.0, None
        with self._memory.held() as now:
            outage = self._memory.outage
            if not outage.is_open:
                self._met_at = None
                return 0.0, None
            if now < outage.open_until:
                waits_until = self._refuse_a_late_try(outage, now, policy.patience)
                return outage.open_until - now, self._news(outage, now, waits_until)
            return min(_LOOK, outage.probe_until - now), None

    def _refuse_a_late_try(self, outage: Outage, now: float, patience: float) -> float:
        """Raise if the next try is later than this client waits; gives until when it does."""
        # Never later than now: the clock may have been set back since.
        self._met_at = min(now, now if self._met_at is None else self._met_at)
        if outage.open_until > self._met_at + patience:
            raise RetryableError(self._message(outage, now), retry_at=self._moment(outage.open_until, now))
        return self._met_at + patience

    def _news(self, outage: Outage, now: float, waits_until: float) -> str | None:
        """Once per rest: until when nobody calls, and when whoever waits here gives up."""
        if outage.open_until == self._told:
            return None
        self._told = outage.open_until
        return f"{self._message(outage, now)}; given up by {self._moment(waits_until, now):%H:%M:%S %Z}"

    def _message(self, outage: Outage, now: float) -> str:
        return (
            f"{self._name}: failed {outage.failures} times in a row ({outage.seen}); "
            f"left alone until {self._moment(outage.open_until, now):%Y-%m-%d %H:%M:%S %Z}"
        )

    def _moment(self, at: float, now: float) -> datetime:
        return self._now() + timedelta(seconds=at - now)
