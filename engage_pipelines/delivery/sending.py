"""Sending one batch: the three steps.

Step 1 commits `sending`, step 2 calls, step 3 commits one outcome per record. Nothing here retries: the
client does, for seconds; a record that goes back to `pending` waits for the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from engage_pipelines.connector import Batch, Outcome, Stream
from engage_pipelines.delivery.batches import PlannedBatch
from engage_pipelines.delivery.bisection import Sent, isolate
from engage_pipelines.errors import ContractError, EngageError, RejectedError, UnknownOutcomeError
from engage_pipelines.http_client import Exchange
from engage_pipelines.state import BatchEnd, Ledger, Queue, Settlement
from engage_pipelines.warehouse import Renderer


@dataclass(frozen=True, slots=True)
class Lane:
    """Everything that sending a stream's batches needs.

    Attributes:
        destination: its name.
        stream: the declaration.
        session: what the destination's `connect` gave.
        ledger: where the steps are noted.
        queue: where payloads of refused records are kept.
        run_id: the run they belong to.
        now: the clock.
        outbox: folder for rendered files.
        renderer: for file streams.
    """

    destination: str
    stream: Stream
    session: Any
    ledger: Ledger
    queue: Queue
    run_id: str
    now: Callable[[], datetime]
    outbox: Path
    renderer: Renderer | None = None


# A file that is written and not yet on its way; `*.csv` are those that are or were.
_READY = ".ready"


def prepare(lane: Lane, planned: PlannedBatch) -> Batch:
    """Make what the connector is given; a file is written here, before anything is noted."""
    if lane.renderer is None:
        return Batch(planned.id, planned.keys, planned.payloads)
    lane.outbox.mkdir(parents=True, exist_ok=True)
    file = lane.outbox / f"{planned.id}.csv{_READY}"
    lines = lane.renderer.render(planned.table(), file)
    return Batch(planned.id, planned.keys, planned.payloads, file, lines)


def sweep_prepared(folder: Path) -> None:
    """Remove files that a dead run wrote and never sent, from the folders of a stream's runs: they hold payloads."""
    for file in folder.glob(f"*/*{_READY}"):
        file.unlink(missing_ok=True)


def discard(body: Batch) -> None:
    """Forget what was prepared and is not sent after all."""
    if body.file is not None:
        body.file.unlink(missing_ok=True)


def send_batch(lane: Lane, planned: PlannedBatch, body: Batch) -> Sent:
    """Take one prepared batch through the three steps."""
    here = (lane.destination, lane.stream.ledger_name)
    rows = zip(planned.keys, planned.hashes, strict=True)
    attempt = lane.ledger.begin(*here, planned.id, lane.run_id, rows, lane.now())
    with lane.session.client.listening() as heard:
        sent = _told_apart(planned, _send(lane, planned, body))
    _keep_refused(lane, planned, sent)
    lane.ledger.settle(attempt, sent.settlements, lane.now(), _end(lane, sent, heard))
    return sent


def _send(lane: Lane, planned: PlannedBatch, body: Batch) -> Sent:
    answer = _call(lane, planned, body)
    if isinstance(answer, RejectedError):
        return isolate(planned, answer, lambda part: _call(lane, part, prepare(lane, part)))
    return answer


def _call(lane: Lane, planned: PlannedBatch, body: Batch) -> Sent | RejectedError:
    try:
        return Sent(_match(planned, lane.stream.send(lane.session, _on_its_way(body)), lane))
    except RejectedError as error:
        return error
    except (UnknownOutcomeError, ContractError) as error:
        # A vendor that breaks its contract, or a connector that counts wrong, may have done the work.
        return _all(planned, "in_doubt", error)
    except EngageError as error:
        return _all(planned, "in_doubt" if error.may_be_done else "pending", error)


def _told_apart(planned: PlannedBatch, sent: Sent) -> Sent:
    """What is special about records that went again.

    That this attempt did nothing tells nothing of the one before, which may have arrived. And an older form that has
    arrived now is not the present one.
    """
    if not planned.in_doubt:
        return sent
    return replace(sent, settlements=tuple(_of_a_repeat(planned, s) for s in sent.settlements))


def _of_a_repeat(planned: PlannedBatch, settlement: Settlement) -> Settlement:
    if settlement.state == "pending" and settlement.record_key in planned.in_doubt:
        return replace(settlement, state="in_doubt")
    return replace(settlement, changed_to=planned.changed_to.get(settlement.record_key))


def _keep_refused(lane: Lane, planned: PlannedBatch, sent: Sent) -> None:
    refused = {s.record_key for s in sent.settlements if s.state == "rejected"}
    if refused:
        records = zip(planned.keys, planned.hashes, planned.payloads, strict=True)
        kept = [(key, payload_hash, payload.decode()) for key, payload_hash, payload in records if key in refused]
        lane.queue.keep(lane.destination, lane.stream.ledger_name, kept)


def _end(lane: Lane, sent: Sent, heard: Sequence[Exchange]) -> BatchEnd:
    answer = next((s.reason for s in sent.settlements if s.state != "delivered" and s.reason), None)
    if not heard:
        return BatchEnd(int(lane.renderer is not None), answer=answer)
    last = heard[-1]
    return BatchEnd(len(heard), f"{last.method} {last.path}", last.status, last.request_id, answer)


def _on_its_way(body: Batch) -> Batch:
    return body if body.file is None else replace(body, file=body.file.replace(body.file.with_suffix("")))


def _all(planned: PlannedBatch, state: str, error: EngageError) -> Sent:
    code = getattr(error, "vendor_code", None)
    return Sent(tuple(Settlement(key, state, str(error), code) for key in planned.keys), error)


def _match(planned: PlannedBatch, outcomes: Sequence[Outcome], lane: Lane) -> tuple[Settlement, ...]:
    if len(outcomes) != len(planned.keys):
        raise ContractError(
            f"{lane.destination}/{lane.stream.name}: the connector gave {len(outcomes)} outcomes "
            f"for {len(planned.keys)} records; every record needs exactly one"
        )
    return tuple(
        Settlement(key, outcome.state, outcome.reason, outcome.vendor_code, outcome.vendor_id)
        for key, outcome in zip(planned.keys, outcomes, strict=True)
    )
