"""The pacer keeps an account's rates and the pauses that its vendor asks for.

A vendor counts requests in several windows at once (5 a second and 120 a minute and 2,000 an hour).
The pacer remembers when requests left and says how long the next one has to wait, so that no window
of any length is ever overdrawn. It also holds the pause that a vendor asks for with Retry-After.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from engage_pipelines.errors import BudgetSpentError, RetryableError
from engage_pipelines.http_client.limits import Rate
from engage_pipelines.http_client.memory import Memory

_DAY = 86_400.0
# Seconds between being let go and being sent that the margin of a window takes in its stride.
_AT_ONCE = 0.002


def _utc_now() -> datetime:
    return datetime.now(UTC)


def window(rate: Rate) -> float:
    """Seconds that a request stays in the rate's window, with a margin.

    The vendor counts when a request arrives: the older one may have arrived later after leaving, the newer one
    sooner, so a window that is exactly full here may be overfull there.
    """
    return rate.seconds * 1.01 + 0.005


class Departure(NamedTuple):
    """That a request may leave.

    Attributes:
        number: in the account's memory.
        at: reading of the memory's clock.
        waited: seconds.
    """

    number: int
    at: float
    waited: float


class Pacer:
    """Keeps several rates at once for one vendor account, across threads and, with a file, across processes.

    A request reserves its own departure in the account's memory, lets go and waits: the lock is never held while
    waiting, and a process that dies leaves nothing behind but a departure that nobody uses.

    Args:
        memory: of the account.
        sleep: how to wait.
        now: the wall clock, for messages.
        patience: longest pause, in seconds, that a request waits for in place.
        name: of the vendor, for messages.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = _utc_now,
        patience: float = math.inf,
        name: str = "the vendor",
    ) -> None:
        self._memory = memory
        self._sleep = sleep
        self._now = now
        self._patience = patience
        self._name = name

    def wait(self) -> Departure:
        """Wait until a request may leave, and count it.

        Raises:
            BudgetSpentError: a budget of a day or longer is spent; says when it resets. Nothing is counted.
            RetryableError: the vendor asked for a pause that is longer than our patience, and it is not over.
        """
        with self._memory.held() as now:
            self._refuse_a_long_pause(now)
            self._refuse_a_spent_budget(now)
            leaves_at = self._earliest(self._memory.next_number, now)
            number, pauses = self._memory.append(leaves_at), self._memory.pauses
        waited = 0.0
        while leaves_at > now:
            self._sleep(leaves_at - now)
            waited += leaves_at - now
            with self._memory.held() as now:
                if pauses == self._memory.pauses:
                    # It leaves now, however late this machine has let it wake up: the next ones are counted from here.
                    if now > self._memory.departure(number) > -math.inf:
                        self._memory.move(number, now)
                    break
                self._refuse_a_long_pause(now)
                number, pauses = self._moved(number, now), self._memory.pauses
                leaves_at = self._memory.departure(number)
        return Departure(number, max(leaves_at, now), waited)

    def is_sent(self, departure: Departure) -> None:
        """Count a request from now: a new connection or a busy machine may have kept it from leaving when it could.

        Its vendor counts it when it arrives. Taken for older than it is, it would let a later one go too soon.
        """
        if self._memory.clock() - departure.at < _AT_ONCE:
            return
        with self._memory.held() as now:
            if now > self._memory.departure(departure.number) > -math.inf:
                self._memory.move(departure.number, now)

    def pause(self, seconds: float) -> None:
        """Hold all requests of this account back for `seconds` (Retry-After), also those that wait already."""
        with self._memory.held() as now:
            if now + seconds <= self._memory.paused_until:
                return
            self._memory.pause(now + seconds)
            for number in range(self._first_waiting(now), self._memory.next_number):
                self._memory.move(number, self._earliest(number, self._memory.departure(number)))

    def _moved(self, number: int, now: float) -> int:
        """The number of a departure after a pause that came while it was waited for."""
        if self._memory.departure(number) >= self._memory.paused_until:
            return number
        # It was due just then, so `pause` took it for gone.
        return self._memory.append(self._earliest(self._memory.next_number, now))

    def _earliest(self, number: int, at_least: float) -> float:
        """When departure `number` may be: a window is full while the request `requests` before it is inside."""
        free = (
            self._memory.departure(number - rate.requests) + window(rate) for rate in self._memory.rates
        )  # fmt: skip
        return max(at_least, self._memory.paused_until, *free)

    def _first_waiting(self, now: float) -> int:
        number = self._memory.next_number
        while number > self._memory.oldest_to_move and self._memory.departure(number - 1) > now:
            number -= 1
        return number

    def _refuse_a_long_pause(self, now: float) -> None:
        left = self._memory.paused_until - now
        if left > self._patience:
            moment = self._now() + timedelta(seconds=left)
            message = f"{self._name} asked to be left alone until {moment:%Y-%m-%d %H:%M:%S %Z}"
            raise RetryableError(message, retry_at=moment)

    def _refuse_a_spent_budget(self, now: float) -> None:
        for rate in self._memory.rates:
            left = self._memory.departure(self._memory.next_number - rate.requests) + window(rate) - now
            if rate.seconds >= _DAY and left > 0:
                reset = self._now() + timedelta(seconds=left)
                message = f"{self._name}: the budget of {rate} is spent until {reset:%Y-%m-%d %H:%M:%S %Z}"
                raise BudgetSpentError(message, retry_at=reset)
