"""The two commits around a call, as few statements as the databases allow: they must never cap delivery.

Step 1 notes a batch with all its records in one row. Step 3 writes the rows of the records, each once. What a dead run
left open is known from the batch alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from engage_pipelines.state.database import SETTLED_STATES
from engage_pipelines.state.returns import returned_by

# The same batch of the same run again is another attempt.
_BEGIN = sa.text(
    "insert into delivery_batches (batch_id, run_id, destination, stream, record_count, started_at, sending) "
    "values (:batch_id, :run_id, :destination, :stream, :record_count, :started_at, :sending) "
    "on conflict (batch_id, run_id) do update set sending = excluded.sending"
)
# Written out: putting these together anew for every batch would cost more than running them.
_END = sa.text(
    "update delivery_batches set sending = null, ended_at = :ended_at, call_count = :call_count, route = :route, "
    "status = :status, request_id = :request_id, outcomes = :outcomes, answer = :answer "
    "where batch_id = :batch_id and run_id = :run_id"
)
_CLOSE = sa.text("update delivery_batches set sending = null where batch_id = :batch_id and run_id = :run_id")
# All rows of a batch travel as one parameter. `where true`: SQLite wants it between `from` and `on conflict`.
_NOTE = """
insert into deliveries (destination, stream, record_key, payload_hash, state, reason, vendor_code, vendor_id,
    delivered_hash, delivered_at, delivered_batch_id, batch_id, run_id, attempt_count,
    first_attempt_at, last_attempt_at, settled_at)
select :destination, :stream, {record_key}, {payload_hash}, {state}, {reason}, {vendor_code}, {vendor_id},
    case when {state} in ('delivered', 'accepted') then {payload_hash} end,
    case when {state} in ('delivered', 'accepted') then :now end,
    case when {state} in ('delivered', 'accepted') then :batch_id end,
    :batch_id, :run_id, 1, :started_at, :started_at, :now
from {rows} where true
on conflict (destination, stream, record_key) do update set
    payload_hash = excluded.payload_hash, state = excluded.state, reason = excluded.reason,
    vendor_code = excluded.vendor_code, vendor_id = coalesce(excluded.vendor_id, deliveries.vendor_id),
    delivered_hash = coalesce(excluded.delivered_hash, deliveries.delivered_hash),
    delivered_at = coalesce(excluded.delivered_at, deliveries.delivered_at),
    delivered_batch_id = coalesce(excluded.delivered_batch_id, deliveries.delivered_batch_id),
    batch_id = excluded.batch_id, run_id = excluded.run_id, attempt_count = deliveries.attempt_count + 1,
    first_attempt_at = coalesce(deliveries.first_attempt_at, excluded.first_attempt_at),
    last_attempt_at = excluded.last_attempt_at, settled_at = excluded.settled_at
"""
_ROW = {
    "sqlite": ("value ->> {}", "json_each(:rows)"),
    "postgresql": ("given.value ->> {}", "json_array_elements(cast(:rows as json)) as given(value)"),
}
_SETTLE = sa.text(
    "update deliveries set state = :state, reason = :reason, vendor_code = :vendor_code, "
    "vendor_id = coalesce(:vendor_id, vendor_id), settled_at = :now, "
    "delivered_hash = case when :state in ('delivered', 'accepted') then payload_hash else delivered_hash end, "
    "delivered_at = case when :state in ('delivered', 'accepted') then :now else delivered_at end, "
    "delivered_batch_id = case when :state in ('delivered', 'accepted') then batch_id else delivered_batch_id end "
    "where destination = :destination and stream = :stream and record_key = :record_key"
)
_TAKEN_BACK = sa.text(
    "update deliveries set state = 'pending', delivered_hash = null, delivered_at = null, delivered_batch_id = null, "
    "correction_count = :correction_count, reason = 'changed after delivery, taken back by a return', "
    "settled_at = :now where destination = :destination and stream = :stream and record_key = :record_key "
    "and correction_count < :correction_count"
)
_DIVERGED = sa.text(
    "update deliveries set state = 'diverged', payload_hash = :payload_hash, reason = 'changed after delivery', "
    "settled_at = :now where destination = :destination and stream = :stream and record_key = :record_key"
)
_OUTCOME = ("state", "reason", "vendor_code", "vendor_id")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A batch on its way: what step 1 has noted.

    Attributes:
        rows: (record_key, payload_hash) of its records.
        started_at: when it was noted.
    """

    destination: str
    stream: str
    batch_id: str
    run_id: str
    rows: Sequence[tuple[str, str]]
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one record's attempt.

    Attributes:
        changed_to: hash of the record's present form, if what was sent is an older one that had to be sent again;
            once that is there, the record has diverged.
    """

    record_key: str
    state: str
    reason: str | None = None
    vendor_code: str | None = None
    vendor_id: str | None = None
    changed_to: str | None = None


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """How a batch ended.

    Attributes:
        call_count: calls made, repeats included.
        route: method and path of the last one.
        status: HTTP status of the last one; None without an answer.
        request_id: the platform's id of the last one, where it tells.
        answer: one sentence on what went wrong, if anything.
    """

    call_count: int = 0
    route: str | None = None
    status: int | None = None
    request_id: str | None = None
    answer: str | None = None


def note_sending(connection: sa.Connection, attempt: Attempt) -> None:
    """Note a batch as being sent."""
    values = {**_of(attempt), "record_count": len(attempt.rows), "sending": _text(attempt.rows)}
    connection.execute(_BEGIN, values)


def note_outcomes(connection: sa.Connection, attempt: Attempt, outcomes: Sequence[Settlement], now: datetime) -> None:
    """Write the rows of an attempt's records: what became of them."""
    hashes = dict(attempt.rows)
    moment = {**_of(attempt), "now": _moment(now)}
    if all(_is_alike(outcome, outcomes[0]) for outcome in outcomes):
        rows: list[Any] = [(outcome.record_key, hashes[outcome.record_key]) for outcome in outcomes]
        connection.execute(
            _note_in(connection.dialect.name, is_alike=True), {**moment, **_bounded(outcomes[0]), "rows": _text(rows)}
        )
    else:
        rows = [(o.record_key, hashes[o.record_key], *_bounded(o).values()) for o in outcomes]
        connection.execute(_note_in(connection.dialect.name, is_alike=False), {**moment, "rows": _text(rows)})
    _note_consequences(connection, (attempt.destination, attempt.stream), outcomes, now)


def note_doubt(connection: sa.Connection, attempt: Attempt) -> None:
    """Write the rows of an attempt that nobody ended: its records may or may not have arrived."""
    doubt = Settlement("", "in_doubt", "the run ended between sending and noting")
    values = {**_of(attempt), **_bounded(doubt), "now": None, "rows": _text(attempt.rows)}
    connection.execute(_note_in(connection.dialect.name, is_alike=True), values)
    connection.execute(_CLOSE, {"batch_id": attempt.batch_id, "run_id": attempt.run_id})


def note_found(connection: sa.Connection, here: tuple[str, str], outcomes: Sequence[Settlement], now: datetime) -> None:
    """Note what was found out about records that have rows already."""
    common = {"destination": here[0], "stream": here[1], "now": _moment(now)}
    connection.execute(_SETTLE, [{**common, "record_key": o.record_key, **_bounded(o)} for o in outcomes])
    _note_consequences(connection, here, outcomes, now)


def take_back(connection: sa.Connection, here: tuple[str, str], keys: Sequence[str], now: datetime) -> None:
    """Note for each return among these keys, now that it is there, that the platform holds its record no more.

    In one commit with the return's own outcome, so that no crash comes in between. The record goes out anew.
    """
    returns = [found for key in keys if (found := returned_by(key))]
    if returns:
        common = {"destination": here[0], "stream": here[1], "now": _moment(now)}
        rows = [{**common, "record_key": key, "correction_count": number} for key, number in returns]
        connection.execute(_TAKEN_BACK, rows)


def note_batch_end(
    connection: sa.Connection, attempt: Attempt, end: BatchEnd, outcomes: Sequence[Settlement], now: datetime
) -> None:
    """Note how a batch ended; its records have rows now."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
    values = {
        "batch_id": attempt.batch_id, "run_id": attempt.run_id, "ended_at": _moment(now),
        "call_count": end.call_count, "route": _cut(end.route, 200), "status": end.status,
        "request_id": _cut(end.request_id, 64), "outcomes": json.dumps(counts, sort_keys=True),
        "answer": _cut(end.answer, 400),
    }  # fmt: skip
    connection.execute(_END, values)


def _note_consequences(
    connection: sa.Connection, here: tuple[str, str], outcomes: Sequence[Settlement], now: datetime
) -> None:
    take_back(connection, here, [o.record_key for o in outcomes if o.state in SETTLED_STATES], now)
    changed = [(o.record_key, o.changed_to) for o in outcomes if o.changed_to and o.state in SETTLED_STATES]
    if changed:
        common = {"destination": here[0], "stream": here[1], "now": _moment(now)}
        rows = [{**common, "record_key": key, "payload_hash": payload_hash} for key, payload_hash in changed]
        connection.execute(_DIVERGED, rows)


@cache
def _note_in(dialect: str, *, is_alike: bool) -> sa.TextClause:
    """The statement that writes rows: what became of them is one thing for all, or stands in each."""
    place, rows = _ROW[dialect]
    given = {name: place.format(number) for number, name in enumerate(("record_key", "payload_hash", *_OUTCOME))}
    bound = {name: f":{name}" for name in _OUTCOME} if is_alike else {}
    return sa.text(_NOTE.format(rows=rows, **{**given, **bound}))


def _of(attempt: Attempt) -> dict[str, Any]:
    return {
        "destination": attempt.destination, "stream": attempt.stream, "batch_id": attempt.batch_id,
        "run_id": attempt.run_id, "started_at": _moment(attempt.started_at),
    }  # fmt: skip


def _bounded(outcome: Settlement) -> dict[str, Any]:
    return {
        "state": outcome.state, "reason": _cut(outcome.reason, 400), "vendor_code": _cut(outcome.vendor_code, 64),
        "vendor_id": _cut(outcome.vendor_id, 128),
    }  # fmt: skip


def _is_alike(one: Settlement, other: Settlement) -> bool:
    return (one.state, one.reason, one.vendor_code, one.vendor_id) == (
        other.state, other.reason, other.vendor_code, other.vendor_id
    )  # fmt: skip


def _text(rows: Sequence[Any]) -> str:
    return msgspec.json.encode(rows).decode()


def _cut(text: str | None, length: int) -> str | None:
    # Postgres cannot keep a zero byte in a text.
    return text.replace("\x00", "")[:length] or None if text else None


def _moment(now: datetime) -> str:
    """As `UtcTime` writes it; these statements bypass its type."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")
