"""Several batches under way at once, and when to stop starting more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from engage_pipelines.delivery.batches import PlannedBatch
from engage_pipelines.delivery.bisection import Sent
from engage_pipelines.delivery.sending import Lane, discard, prepare, send_batch
from engage_pipelines.errors import (
    BudgetSpentError,
    ConfigError,
    CredentialsError,
    EngageError,
    RejectedError,
    RetryableError,
)

# Batches beyond those that may be called at once: while these wait for their answers, those are noted before and after.
_NOTED_MEANWHILE = 2
# A platform that fails this often in a row is down: the rest waits for the next run.
_FAILURES_IN_A_ROW = 3
# A platform that refuses this many records and takes none has something against us, not against them.
_REFUSED_AT_FIRST = 100


@dataclass(slots=True)
class Tally:
    """What came of the batches so far, and whether to start another one."""

    flow: str
    counts: dict[str, int] = field(default_factory=dict)
    done: int = 0
    failures: int = 0
    error: EngageError | None = None
    is_over: bool = False

    def add(self, sent: Sent) -> None:
        """Count the outcomes of a batch and decide whether to go on."""
        for settlement in sent.settlements:
            self.counts[settlement.state] = self.counts.get(settlement.state, 0) + 1
        self.done += len(sent.settlements)
        self.failures = self.failures + 1 if sent.error else 0
        refusal = self._refuses_everything()
        self.is_over = refusal is not None
        self.error = _to_tell(self.error, sent.error or refusal)
        if self.error and (not _may_go_on(self.error) or self.failures >= _FAILURES_IN_A_ROW):
            self.is_over = True

    def _refuses_everything(self) -> RejectedError | None:
        refused = self.counts.get("rejected", 0)
        if refused < max(self.done, _REFUSED_AT_FIRST):
            return None
        return RejectedError(
            f"{self.flow}: the first {refused:,} records were all refused, so the rest waits. Look at "
            "`engage rejected list`; once the cause is gone, `engage rejected replay --all` sends them again"
        )


def side_by_side(
    lane: Lane, batches: Iterator[PlannedBatch], in_flight: int, *, may_start: Callable[[], bool]
) -> Iterator[Sent]:
    """Send batches with a bounded number under way; yields each as it ends, also those under way at a stop.

    The next one is read, and its file written, while those before it are under way. Where several may be called at
    once a few more are under way, so that calls do not wait for the ledger: the client keeps the number of calls.
    """
    most = in_flight + _NOTED_MEANWHILE if in_flight > 1 else 1
    under_way: set[Future[Sent]] = set()
    with ThreadPoolExecutor(max_workers=most) as pool:
        for batch in batches:
            body = prepare(lane, batch)
            while len(under_way) >= most:
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
            if not may_start():
                discard(body)
                break
            under_way.add(pool.submit(send_batch, lane, batch, body))
        while under_way:
            ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended)


def _to_tell(first: EngageError | None, latest: EngageError | None) -> EngageError | None:
    """The first error of a run, or one of the same kind that knows better when there is a point in trying again."""
    if not (isinstance(first, RetryableError) and isinstance(latest, RetryableError) and latest.retry_at):
        return first or latest
    return latest if first.retry_at is None or latest.retry_at > first.retry_at else first


def _may_go_on(error: EngageError) -> bool:
    """True if other batches may still succeed: a refused key or a spent budget ends the run at once."""
    return not isinstance(error, CredentialsError | ConfigError | BudgetSpentError)
