"""Sending one batch: the three steps, and halving what a vendor refuses as a whole.

Step 1 commits `sending`, step 2 calls, step 3 commits one outcome per record. Nothing here retries: the
client does, for seconds; a record that goes back to `pending` waits for the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engage_pipelines.connector import Batch, Outcome, Stream
from engage_pipelines.delivery.batches import PlannedBatch
from engage_pipelines.errors import ContractError, EngageError, RejectedError, UnknownOutcomeError
from engage_pipelines.state import Ledger, Settlement
from engage_pipelines.warehouse import Renderer


@dataclass(frozen=True, slots=True)
class Lane:
    """Everything that sending a stream's batches needs.

    Attributes:
        destination: its name.
        stream: the declaration.
        session: what the destination's `connect` gave.
        ledger: where the steps are noted.
        run_id: the run they belong to.
        now: the clock.
        outbox: folder for rendered files.
        renderer: for file streams.
    """

    destination: str
    stream: Stream
    session: Any
    ledger: Ledger
    run_id: str
    now: Callable[[], datetime]
    outbox: Path
    renderer: Renderer | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Outcomes of one batch, and the error that ended it early, if any."""

    settlements: tuple[Settlement, ...]
    error: EngageError | None = None


def send_batch(lane: Lane, planned: PlannedBatch) -> Sent:
    """Take one batch through the three steps."""
    rows = zip(planned.keys, planned.hashes, strict=True)
    lane.ledger.begin(lane.destination, lane.stream.ledger_name, planned.id, lane.run_id, rows, lane.now())
    sent = _call(lane, planned)
    lane.ledger.settle(lane.destination, lane.stream.ledger_name, sent.settlements, lane.now())
    return sent


def _call(lane: Lane, planned: PlannedBatch) -> Sent:
    try:
        return Sent(_match(planned, lane.stream.send(lane.session, _body(lane, planned)), lane))
    except RejectedError as error:
        return _halve(lane, planned, error)
    except (UnknownOutcomeError, ContractError) as error:
        # A vendor that breaks its contract, or a connector that counts wrong, may have done the work.
        return _all(planned, "in_doubt", error)
    except EngageError as error:
        return _all(planned, "pending", error)


def _body(lane: Lane, planned: PlannedBatch) -> Batch:
    if lane.renderer is None:
        return Batch(planned.id, planned.keys, planned.payloads)
    lane.outbox.mkdir(parents=True, exist_ok=True)
    file = lane.outbox / f"{planned.id}.csv"
    lines = lane.renderer.render(planned.table(), file)
    return Batch(planned.id, planned.keys, planned.payloads, file, lines)


def _halve(lane: Lane, planned: PlannedBatch, error: RejectedError) -> Sent:
    """Refused as a whole without saying which: halve until the bad records are alone."""
    if len(planned.keys) == 1:
        refused = Settlement(planned.keys[0], "rejected", str(error), error.vendor_code)
        return Sent((refused,))
    settlements: list[Settlement] = []
    for half in planned.halves():
        sent = _call(lane, half)
        settlements += sent.settlements
        if sent.error:
            left = set(planned.keys) - {s.record_key for s in settlements}
            settlements += [Settlement(key, "pending", str(sent.error)) for key in planned.keys if key in left]
            return Sent(tuple(settlements), sent.error)
    return Sent(tuple(settlements))


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
