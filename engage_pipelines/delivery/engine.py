"""Delivering a stream: settle what is in doubt, plan, send side by side, count."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from engage_pipelines.connector import BatchLimits, Destination, Stream
from engage_pipelines.delivery.batches import PlannedBatch, cut_batches, minimal_calls
from engage_pipelines.delivery.sending import Lane, Sent, send_batch
from engage_pipelines.errors import BudgetSpentError, ConfigError, CredentialsError, EngageError, WarehouseBusyError
from engage_pipelines.state import Ledger, RunCounts, Settlement
from engage_pipelines.warehouse import PlanRequest, PlanResult, Renderer, Selection, Warehouse, write_plan

Progress = Callable[[int, int], None]
# A vendor that fails this often in a row is down: the rest waits for the next run.
_FAILURES_IN_A_ROW = 3
_PREVIEW = "preview-"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a run of a stream did; `source_records` is the sum of all the counts below it."""

    flow: str
    source_records: int = 0
    delivered: int = 0
    accepted: int = 0
    rejected: int = 0
    pending: int = 0
    in_doubt: int = 0
    diverged: int = 0
    unchanged: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    minimal_calls: int = 0
    seconds: float = 0.0

    @property
    def is_balanced(self) -> bool:
        """True if every record considered ended in exactly one place."""
        ended = self.delivered + self.accepted + self.rejected + self.pending + self.in_doubt
        return self.source_records == ended + self.diverged + self.unchanged + sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do, without doing it."""

    flow: str
    source_records: int
    new: int
    changed: int
    again: int
    unchanged: int
    rejected: int
    diverged: int
    in_doubt: int
    skipped: Mapping[str, int]
    calls: int


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _no_progress(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True, slots=True)
class Delivery:
    """One destination with everything that delivering its streams needs.

    Attributes:
        destination: the declaration.
        options: its checked options.
        warehouse: where records come from.
        ledger: where outcomes go.
        store_names: store_id -> name at the destination.
        batch_items: records per call by stream, where engage.toml says so.
        outbox: folder for plans and rendered files.
        now: the clock.
    """

    destination: Destination
    options: Any
    warehouse: Warehouse
    ledger: Ledger
    store_names: Mapping[str, str]
    batch_items: Mapping[str, int]
    outbox: Path
    now: Callable[[], datetime] = _utc_now

    def stream(self, name: str) -> Stream:
        """The declaration of a stream.

        Raises:
            ConfigError: there is none of that name; says which there are.
        """
        for stream in self.destination.streams:
            if stream.name == name:
                return stream
        names = ", ".join(s.name for s in self.destination.streams)
        raise ConfigError(f"{self.destination.name} has no stream {name!r}; there are: {names}")

    def preview(self, stream: Stream, selection: Selection) -> Preview:
        """Plan a stream and say what a run would do; sends nothing and notes nothing."""
        folder = self._folder(stream) / f"{_PREVIEW}{uuid.uuid4().hex[:8]}"
        plan, file = self._plan(stream, selection, folder)
        calls = minimal_calls(file, self._limits(stream))
        file.unlink()
        folder.rmdir()
        return Preview(
            flow=self._flow(stream), source_records=plan.source_records, new=plan.counts.get("send_new", 0),
            changed=plan.counts.get("send_changed", 0), again=plan.counts.get("send_again", 0),
            unchanged=plan.counts.get("unchanged", 0), rejected=plan.counts.get("rejected", 0),
            diverged=plan.counts.get("diverged", 0), in_doubt=plan.counts.get("held", 0),
            skipped=plan.skipped, calls=calls,
        )  # fmt: skip

    def run(self, stream: Stream, session: Any, selection: Selection, progress: Progress = _no_progress) -> Delivered:
        """Deliver a stream.

        Raises:
            EngageError: the first error that stopped the run, after everything that ended is noted.
        """
        began, calls = time.monotonic(), session.client.calls
        with self._alone(stream):
            _sweep(self._folder(stream))
            self._settle_in_doubt(stream)
            folder = self._folder(stream) / uuid.uuid4().hex[:12]
            plan, file = self._plan(stream, selection, folder)
            name = stream.ledger_name
            self.ledger.open_run(folder.name, self.destination.name, stream.name, self.now())
            self.ledger.note(self.destination.name, name, plan.notes, self.now())
            counts, error = self._send(stream, session, folder, file, plan.to_send, progress)
            least = minimal_calls(file, self._limits(stream))
            # A file that is handed over is the call of a file stream.
            made = session.client.calls - calls + len(list(folder.glob("*.csv")))
            result = self._result(stream, plan, counts, least, made, began)
            self.ledger.close_run(folder.name, _run_counts(result), self.now())
            _clear(folder)
        if error is not None and not isinstance(error, BudgetSpentError):
            raise error
        return result

    def _plan(self, stream: Stream, selection: Selection, folder: Path) -> tuple[PlanResult, Path]:
        file = folder / "plan.parquet"
        request = PlanRequest(
            stream=stream,
            folder=self.destination.folder,
            selection=selection,
            ledger=self.ledger.known(self.destination.name, stream.ledger_name),
            variables=self.options.model_dump(),
            store_names=self.store_names,
            file=file,
        )
        return write_plan(self.warehouse, request), file

    def _settle_in_doubt(self, stream: Stream) -> None:
        """Apply the stream's policy to what a dead run left between sending and noting."""
        keys = self.ledger.find_in_doubt(self.destination.name, stream.ledger_name)
        if keys and stream.in_doubt.policy == "resend":
            reason = f"in doubt, sent again: {stream.in_doubt.reason}"
            again = [Settlement(key, "pending", reason) for key in keys]
            self.ledger.settle(self.destination.name, stream.ledger_name, again, self.now())

    def _send(
        self, stream: Stream, session: Any, folder: Path, file: Path, total: int, progress: Progress
    ) -> tuple[dict[str, int], EngageError | None]:
        renderer = Renderer(self.destination.folder / stream.rows) if stream.rows else None
        lane = Lane(
            self.destination.name, stream, session, self.ledger, folder.name, self.now, folder, renderer
        )  # fmt: skip
        batches = cut_batches(file, self._limits(stream))
        in_flight = 1 if stream.rows else session.client.limits.in_flight
        tally = _Tally()
        try:
            for sent in _side_by_side(lane, batches, in_flight, may_start=lambda: not tally.is_over):
                tally.add(sent)
                progress(tally.done, total)
        finally:
            if renderer:
                renderer.close()
        # What was not reached stays as it was: new records are found again by the next plan.
        pending = tally.counts.get("pending", 0) + total - tally.done
        return {**tally.counts, "pending": pending}, tally.error

    def _result(
        self, stream: Stream, plan: PlanResult, counts: dict[str, int], least: int, calls: int, began: float
    ) -> Delivered:
        return Delivered(
            flow=self._flow(stream), source_records=plan.source_records,
            delivered=counts.get("delivered", 0), accepted=counts.get("accepted", 0),
            rejected=counts.get("rejected", 0) + plan.counts.get("rejected", 0),
            pending=counts.get("pending", 0),
            in_doubt=counts.get("in_doubt", 0) + plan.counts.get("held", 0),
            diverged=plan.counts.get("diverged", 0), unchanged=plan.counts.get("unchanged", 0),
            skipped=plan.skipped, calls=calls, minimal_calls=least, seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip

    def _limits(self, stream: Stream) -> BatchLimits:
        items = self.batch_items.get(stream.name)
        return replace(stream.limits, items=items) if items else stream.limits

    def _flow(self, stream: Stream) -> str:
        return f"{self.destination.name}/{stream.name}"

    def _folder(self, stream: Stream) -> Path:
        return self.outbox / self.destination.name / stream.name

    @contextmanager
    def _alone(self, stream: Stream) -> Iterator[None]:
        """One run of a ledger stream at a time, on this machine; the lock dies with its process."""
        lock = self.outbox / f"{self.destination.name}.{stream.ledger_name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=600):
                yield
        except Timeout as error:
            raise WarehouseBusyError(f"{self._flow(stream)}: another run has been delivering it for 600 s") from error


@dataclass(slots=True)
class _Tally:
    """What came of the batches so far, and whether to start another one."""

    counts: dict[str, int] = field(default_factory=dict)
    done: int = 0
    failures: int = 0
    error: EngageError | None = None
    is_over: bool = False

    def add(self, sent: Sent) -> None:
        for settlement in sent.settlements:
            self.counts[settlement.state] = self.counts.get(settlement.state, 0) + 1
        self.done += len(sent.settlements)
        self.failures = self.failures + 1 if sent.error else 0
        self.error = self.error or sent.error
        if sent.error and (not _may_go_on(sent.error) or self.failures >= _FAILURES_IN_A_ROW):
            self.is_over = True


def _side_by_side(
    lane: Lane, batches: Iterator[PlannedBatch], in_flight: int, *, may_start: Callable[[], bool]
) -> Iterator[Sent]:
    """Send batches with a bounded number under way; yields each as it ends, also those under way at a stop."""
    under_way: set[Future[Sent]] = set()
    with ThreadPoolExecutor(max_workers=in_flight) as pool:
        for batch in batches:
            if not may_start():
                break
            under_way.add(pool.submit(send_batch, lane, batch))
            if len(under_way) >= in_flight:
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        while under_way:
            ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended)


def _may_go_on(error: EngageError) -> bool:
    """True if other batches may still succeed: a refused key or a spent budget ends the run at once."""
    return not isinstance(error, CredentialsError | ConfigError | BudgetSpentError)


def _run_counts(result: Delivered) -> RunCounts:
    return RunCounts(
        source_record_count=result.source_records, delivered_count=result.delivered,
        accepted_count=result.accepted, rejected_count=result.rejected, pending_count=result.pending,
        in_doubt_count=result.in_doubt, diverged_count=result.diverged, unchanged_count=result.unchanged,
        skipped_count=sum(result.skipped.values()), call_count=result.calls, minimal_call_count=result.minimal_calls,
        skipped=dict(result.skipped),
    )  # fmt: skip


def _sweep(folder: Path) -> None:
    """Remove the plans of runs that died; they hold payloads, and nobody reads them any more."""
    for plan in folder.glob("*/plan.parquet"):
        if not plan.parent.name.startswith(_PREVIEW):
            _clear(plan.parent)


def _clear(folder: Path) -> None:
    """Remove a run's plan; rendered files and their manifests stay, they are evidence."""
    (folder / "plan.parquet").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
