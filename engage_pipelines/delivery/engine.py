"""Delivering a stream: settle what is in doubt, plan, guard, send side by side, count."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from engage_pipelines.connector import BatchLimits, Destination, Policy, Stream
from engage_pipelines.delivery.batches import count_rows, cut_batches, minimal_calls
from engage_pipelines.delivery.corrections import diverged_keys, plan_returns, returns_among, taken_back, too_many
from engage_pipelines.delivery.doubt import look_up, policy_of, read_sent, settlements_of
from engage_pipelines.delivery.guard import Bounds, find_jumps, refuse_a_jump
from engage_pipelines.delivery.masking import mask
from engage_pipelines.delivery.results import Delivered, Preview, added, delivered_of, preview_of, run_counts
from engage_pipelines.delivery.sending import Lane, sweep_prepared
from engage_pipelines.delivery.side_by_side import Tally, side_by_side
from engage_pipelines.errors import BudgetSpentError, ConfigError, EngageError, WarehouseBusyError
from engage_pipelines.http_client import Limits
from engage_pipelines.on_use import pc
from engage_pipelines.state import Ledger, PlanSize, Queue, Runs
from engage_pipelines.warehouse import PlanRequest, PlanResult, Renderer, Selection, Warehouse, write_plan

Progress = Callable[[int, int], None]
_PREVIEW = "preview-"
# Seconds after which a preview's plan is nobody's any more: its process has died.
_PREVIEWED = 3600.0
# Payloads that a preview shows.
_FIRST = 3


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
        queue: what waits for a person.
        runs: where runs are noted.
        store_names: store_id -> name at the destination.
        batch_items: records per call by stream, where engage.toml says so.
        policies: what happens to records in doubt by stream, where engage.toml says so.
        limits: the rates of the account.
        bounds: guard rails.
        outbox: folder for plans and rendered files.
        now: the clock.
    """

    destination: Destination
    options: Any
    warehouse: Warehouse
    ledger: Ledger
    queue: Queue
    runs: Runs
    store_names: Mapping[str, str]
    batch_items: Mapping[str, int]
    outbox: Path
    policies: Mapping[str, Policy] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    bounds: Bounds = field(default_factory=Bounds)
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
        plan, file = self._plan(stream, selection, folder, read_sent(self.outbox, ()))
        limits = self._limits(stream)
        calls = minimal_calls(file, limits)
        batches = cut_batches(file, limits)
        records = ((key, payload) for batch in batches for key, payload in zip(batch.keys, batch.payloads, strict=True))
        first = {key: mask(payload, stream.personal) for key, payload in islice(records, _FIRST)}
        warnings = find_jumps(plan, *self._sizes(stream, plan, selection), self.bounds)
        if self._corrects(stream) and too_many(self.flow(stream), plan.counts.get("diverged", 0), self.bounds.floor):
            warnings.append(f"{plan.counts['diverged']:,} records would be taken back")
        _clear(folder)
        return preview_of(self.flow(stream), plan, calls, self.limits, first, tuple(warnings))

    def run(
        self,
        stream: Stream,
        session: Any,
        selection: Selection,
        progress: Progress = _no_progress,
        *,
        yes_really: bool = False,
    ) -> Delivered:
        """Deliver a stream.

        Args:
            stream: its declaration.
            session: what the destination's `connect` gave.
            selection: rows to consider.
            progress: hears of (done, total) after each batch.
            yes_really: deliver a plan even if it is out of bounds.

        Raises:
            GuardError: the plan is out of bounds; nothing was sent.
            EngageError: the first error that stopped the run, after everything that ended is noted.
        """
        policy = policy_of(self.destination.name, stream, self.policies)
        session.client.repeats_the_unknown = policy == "resend"
        with self._alone(stream):
            originals = self._settle_doubts(stream, session)
            result, error = self._once(stream, session, selection, originals, progress, yes_really=yes_really)
            if error is None and self._corrects(stream):
                result, error = self._correct(stream, session, originals, result, yes_really=yes_really)
            self._sweep(stream)
        if error is not None and not isinstance(error, BudgetSpentError):
            raise error
        return result

    def _once(
        self,
        stream: Stream,
        session: Any,
        selection: Selection,
        originals: pa.Table,
        progress: Progress = _no_progress,
        *,
        yes_really: bool,
    ) -> tuple[Delivered, EngageError | None]:
        """Plan, guard, send and count; gives what was done, and the error that ended it early, if any."""
        began, calls = time.monotonic(), session.client.calls
        folder = self._folder(stream) / uuid.uuid4().hex[:12]
        plan, file = self._plan(stream, selection, folder, originals)
        self._open(stream, folder, plan, selection, yes_really=yes_really)
        counts, error = self._send(stream, session, folder, file, plan.to_send, progress)
        # A file that is handed over is the call of a file stream.
        made = session.client.calls - calls + len(list(folder.glob("*.csv")))
        least = minimal_calls(file, self._limits(stream))
        seconds = time.monotonic() - began
        result = delivered_of(self.flow(stream), plan, counts, calls=made, minimal_calls=least, seconds=seconds)
        self.runs.close(folder.name, run_counts(result), self.now())
        return result, error

    def _corrects(self, stream: Stream) -> bool:
        return stream.correction is not None and bool(getattr(self.options, "correct_diverged", False))

    def _correct(
        self, stream: Stream, session: Any, originals: pa.Table, result: Delivered, *, yes_really: bool
    ) -> tuple[Delivered, EngageError | None]:
        """Take back what has diverged, then send those records as they are now."""
        again, calls = returns_among(originals), session.client.calls
        diverged = self._diverged(stream)
        if not diverged and not again.num_rows:
            return result, None
        folder = self._folder(stream) / uuid.uuid4().hex[:12]
        file = folder / "plan.parquet"
        returns = plan_returns(
            self.destination, stream, self.ledger, diverged, again=again, outbox=self.outbox,
            variables=self.options.model_dump(), file=file,
        )  # fmt: skip
        refusal = too_many(self.flow(stream), len(returns), self.bounds.floor)
        if refusal is not None and not yes_really:
            _clear(folder)
            return result, refusal
        size = PlanSize(len(returns), reach="keys")
        self.runs.open(folder.name, self.destination.name, stream.name, size, self.now())
        counts, error = self._send(stream, session, folder, file, len(returns), _no_progress)
        back = taken_back(self.ledger, self.destination.name, stream, returns)
        made = session.client.calls - calls + len(list(folder.glob("*.csv")))
        done = delivered_of(
            self.flow(stream), PlanResult({"send_new": len(returns)}, {}), counts, calls=made,
            minimal_calls=minimal_calls(file, self._limits(stream)), seconds=0.0,
        )  # fmt: skip
        self.runs.close(folder.name, run_counts(done), self.now())
        result = replace(result, corrected=len(back), calls=result.calls + made)
        if error is not None or not back:
            return result, error
        anew, error = self._once(stream, session, Selection(keys=tuple(back)), originals, yes_really=True)
        return added(result, anew), error

    def _diverged(self, stream: Stream) -> tuple[str, ...]:
        """The diverged records that this stream carries; the ledger may know some of another channel."""
        keys = diverged_keys(self.ledger, self.destination.name, stream)
        if not keys:
            return ()
        folder = self._folder(stream) / f"{_PREVIEW}{uuid.uuid4().hex[:8]}"
        plan, _ = self._plan(stream, Selection(keys=tuple(keys)), folder, read_sent(self.outbox, ()))
        _clear(folder)
        return plan.diverged

    def flow(self, stream: Stream) -> str:
        """The stream's name in messages: `<destination>/<stream>`."""
        return f"{self.destination.name}/{stream.name}"

    def _settle_doubts(self, stream: Stream, session: Any) -> pa.Table:
        """Look up what a dead run left between sending and noting, if that is the policy.

        Gives what may be sent again exactly as it was: `record_key, payload_hash, payload`.
        """
        here = (self.destination.name, stream.ledger_name)
        doubts = self.ledger.find_in_doubt(*here)
        sent = read_sent(self.outbox / self.destination.name, doubts)
        policy = policy_of(self.destination.name, stream, self.policies)
        if policy != "verify":
            return sent if policy == "resend" else sent.slice(0, 0)
        absent: list[str] = []
        for verdicts in look_up(stream, session, sent):
            self.ledger.settle_doubts(*here, settlements_of(stream, verdicts), self.now())
            absent += [key for key, verdict in verdicts.items() if verdict == "absent"]
        return sent.filter(pc.is_in(sent["record_key"], pa.array(absent, pa.string())))

    def _plan(self, stream: Stream, selection: Selection, folder: Path, originals: pa.Table) -> tuple[PlanResult, Path]:
        here = (self.destination.name, stream.ledger_name)
        request = PlanRequest(
            stream=stream,
            policy=policy_of(self.destination.name, stream, self.policies),
            folder=self.destination.folder,
            selection=selection,
            known=lambda keys: self.ledger.known(*here, keys),
            held=lambda: self.ledger.held(*here),
            special=self.ledger.special(*here),
            needed=lambda keys: self.ledger.known(self.destination.name, self._needed_ledger(stream), keys),
            fixes=self.queue.fixes(*here),
            originals=originals,
            variables=self.options.model_dump(),
            store_names=self.store_names,
            file=folder / "plan.parquet",
        )
        return write_plan(self.warehouse, request), request.file

    def _needed_ledger(self, stream: Stream) -> str:
        return self.stream(stream.needs).ledger_name if stream.needs else stream.ledger_name

    def _sizes(self, stream: Stream, plan: PlanResult, selection: Selection) -> tuple[PlanSize, PlanSize | None]:
        last = self.runs.last_good_size(self.destination.name, stream.name)
        return PlanSize(plan.to_send, plan.amounts, selection.days, selection.reach), last

    def _open(self, stream: Stream, folder: Path, plan: PlanResult, selection: Selection, *, yes_really: bool) -> None:
        """Check the plan against the guard rails, then note the run and what needs no call."""
        size, last = self._sizes(stream, plan, selection)
        if not yes_really:
            try:
                refuse_a_jump(self.flow(stream), plan, size, last, self.bounds)
            except EngageError:
                _clear(folder)
                raise
        here = (self.destination.name, stream.ledger_name)
        self.runs.open(folder.name, self.destination.name, stream.name, size, self.now())
        self.queue.keep(*here, ((n.record_key, n.payload_hash, n.payload) for n in plan.notes if n.payload))
        self.ledger.note(*here, ((n.record_key, n.state, n.payload_hash, n.reason) for n in plan.notes), self.now())

    def _send(
        self, stream: Stream, session: Any, folder: Path, file: Path, total: int, progress: Progress
    ) -> tuple[dict[str, int], EngageError | None]:
        renderer = Renderer(self.destination.folder / stream.rows) if stream.rows else None
        lane = Lane(
            self.destination.name, stream, session, self.ledger, self.queue, folder.name, self.now, folder, renderer
        )  # fmt: skip
        batches = cut_batches(file, self._limits(stream))
        in_flight = 1 if stream.rows else session.client.limits.in_flight
        tally = Tally(self.flow(stream))
        try:
            for sent in side_by_side(lane, batches, in_flight, may_start=lambda: not tally.is_over):
                tally.add(sent)
                progress(tally.done, total)
        finally:
            if renderer:
                renderer.close()
        # What was not reached stays as it was: new records are found again by the next plan.
        pending = tally.counts.get("pending", 0) + total - tally.done
        return {**tally.counts, "pending": pending}, tally.error

    def _sweep(self, stream: Stream) -> None:
        """Remove what is not needed any more: it holds payloads.

        What an immutable stream sent stays: a later change is told from it. So does what is in doubt.
        """
        here = (self.destination.name, stream.ledger_name)
        self.queue.sweep(*here)
        sweep_prepared(self._folder(stream))
        needed = {doubt.run_id for doubt in self.ledger.find_in_doubt(*here)}
        for plan in self._folder(stream).glob("*/plan.parquet"):
            if plan.parent.name not in needed and not _is_to_stay(stream, plan):
                _clear(plan.parent)

    def _limits(self, stream: Stream) -> BatchLimits:
        items = self.batch_items.get(stream.name)
        return replace(stream.limits, items=items) if items else stream.limits

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
            raise WarehouseBusyError(f"{self.flow(stream)}: another run has been delivering it for 600 s") from error


def _is_to_stay(stream: Stream, plan: Path) -> bool:
    """True for what an immutable stream has sent, and for a preview that may still be under way."""
    if plan.parent.name.startswith(_PREVIEW):
        return time.time() - plan.stat().st_mtime < _PREVIEWED
    return stream.immutable and count_rows(plan) > 0


def _clear(folder: Path) -> None:
    """Remove a run's plan; rendered files and their manifests stay, they are evidence."""
    (folder / "plan.parquet").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
