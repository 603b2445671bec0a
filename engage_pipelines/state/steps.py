"""The two commits around a call, as few statements as the databases allow: they must never cap delivery."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from engage_pipelines.state.database import DELIVERY_BATCHES, SETTLED_STATES
from engage_pipelines.state.returns import returned_by

# All rows of a batch travel as one parameter. `where true`: SQLite wants it between `from` and `on conflict`.
_BEGIN = """
insert into deliveries (destination, stream, record_key, state, payload_hash, batch_id, run_id, attempt_count,
    first_attempt_at, last_attempt_at)
select :destination, :stream, {key}, 'sending', {payload_hash}, :batch_id, :run_id, 1, :now, :now
from {rows} where true
on conflict (destination, stream, record_key) do update set
    state = excluded.state, payload_hash = excluded.payload_hash, batch_id = excluded.batch_id,
    run_id = excluded.run_id, attempt_count = deliveries.attempt_count + 1,
    first_attempt_at = coalesce(deliveries.first_attempt_at, excluded.first_attempt_at),
    last_attempt_at = excluded.last_attempt_at, reason = null, vendor_code = null
"""
_BEGIN_IN = {
    "sqlite": sa.text(_BEGIN.format(key="value ->> 0", payload_hash="value ->> 1", rows="json_each(:rows)")),
    "postgresql": sa.text(
        _BEGIN.format(
            key="given.value ->> 0", payload_hash="given.value ->> 1",
            rows="json_array_elements(cast(:rows as json)) as given(value)",
        )
    ),
}  # fmt: skip
_BATCH = sa.text(
    "insert into delivery_batches (batch_id, run_id, destination, stream, record_count, started_at) "
    "values (:batch_id, :run_id, :destination, :stream, :record_count, :now) on conflict do nothing"
)
_SETTLED = """
state = {state}, reason = {reason}, vendor_code = {vendor_code}, vendor_id = coalesce({vendor_id}, {d}vendor_id),
delivered_hash = case when {state} in ('delivered', 'accepted') then {d}payload_hash else {d}delivered_hash end,
delivered_at = case when {state} in ('delivered', 'accepted') then :now else {d}delivered_at end,
delivered_batch_id = case when {state} in ('delivered', 'accepted') then {d}batch_id else {d}delivered_batch_id end,
settled_at = :now
"""
_GIVEN = {name: f"given.{name}" for name in ("state", "reason", "vendor_code", "vendor_id")}
_BOUND = {name: f":{name}" for name in _GIVEN}
_SETTLE_IN = {
    # Here an update from a list of rows would read the whole stream for each.
    "sqlite": f"update deliveries set {_SETTLED.format(d='', **_BOUND)} "
    "where destination = :destination and stream = :stream and record_key = :record_key",
    "postgresql": f"update deliveries set {_SETTLED.format(d='deliveries.', **_GIVEN)} "
    "from json_to_recordset(cast(:rows as json)) as given "
    "(record_key text, state text, reason text, vendor_code text, vendor_id text) "
    "where destination = :destination and stream = :stream and deliveries.record_key = given.record_key",
}
# What became of all of them is the same, as with a file that was handed over: one statement for the whole batch.
_SETTLE_ALIKE = (
    f"update deliveries set {_SETTLED.format(d='', **_BOUND)} where destination = :destination and stream = :stream "
    "and record_key in (select value from json_each(:keys))"
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
        batch_id: its id.
        run_id: the run it belongs to.
        call_count: calls made, repeats included.
        route: method and path of the last one.
        status: HTTP status of the last one; None without an answer.
        request_id: the platform's id of the last one, where it tells.
        answer: one sentence on what went wrong, if anything.
    """

    batch_id: str
    run_id: str
    call_count: int = 0
    route: str | None = None
    status: int | None = None
    request_id: str | None = None
    answer: str | None = None


def note_sending(
    connection: sa.Connection, here: tuple[str, str], batch_id: str, run_id: str,
    rows: Iterable[tuple[str, str]], now: datetime,
) -> None:  # fmt: skip
    """Note (record_key, payload_hash) rows of a stream as being sent, and their batch."""
    listed = [list(row) for row in rows]
    if not listed:
        return
    values = {
        "destination": here[0], "stream": here[1], "batch_id": batch_id, "run_id": run_id, "now": _moment(now),
    }  # fmt: skip
    connection.execute(_BEGIN_IN[connection.dialect.name], {**values, "rows": json.dumps(listed)})
    connection.execute(_BATCH, {**values, "record_count": len(listed)})


def note_outcomes(
    connection: sa.Connection, here: tuple[str, str], outcomes: Sequence[Settlement], now: datetime
) -> None:
    """Note what became of records of a stream."""
    common = {"destination": here[0], "stream": here[1], "now": _moment(now)}
    statement = _SETTLE_IN[connection.dialect.name]
    if connection.dialect.name == "postgresql":
        rows = [_bounded(outcome) for outcome in outcomes]
        connection.execute(sa.text(statement), {**common, "rows": json.dumps(rows)})
    elif len(outcomes) > 1 and all(_is_alike(outcome, outcomes[0]) for outcome in outcomes):
        keys = json.dumps([outcome.record_key for outcome in outcomes])
        connection.exec_driver_sql(_SETTLE_ALIKE, {**common, **_bounded(outcomes[0]), "keys": keys})
    else:
        # The driver's own form: naming the parameters of each row anew would cost more than the update.
        connection.exec_driver_sql(statement, [{**common, **_bounded(outcome)} for outcome in outcomes])
    take_back(connection, here, [o.record_key for o in outcomes if o.state in SETTLED_STATES], now)
    changed = [(o.record_key, o.changed_to) for o in outcomes if o.changed_to and o.state in SETTLED_STATES]
    if changed:
        rows = [{**common, "record_key": key, "payload_hash": payload_hash} for key, payload_hash in changed]
        connection.execute(_DIVERGED, rows)


def take_back(connection: sa.Connection, here: tuple[str, str], keys: Sequence[str], now: datetime) -> None:
    """Note for each return among these keys, now that it is there, that the platform holds its record no more.

    In one commit with the return's own outcome, so that no crash comes in between. The record goes out anew.
    """
    returns = [found for key in keys if (found := returned_by(key))]
    if returns:
        common = {"destination": here[0], "stream": here[1], "now": _moment(now)}
        rows = [{**common, "record_key": key, "correction_count": number} for key, number in returns]
        connection.execute(_TAKEN_BACK, rows)


def note_batch_end(connection: sa.Connection, end: BatchEnd, outcomes: Sequence[Settlement], now: datetime) -> None:
    """Note how a batch ended."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
    b = DELIVERY_BATCHES.c
    connection.execute(
        sa.update(DELIVERY_BATCHES)
        .where(b.batch_id == end.batch_id, b.run_id == end.run_id)
        .values(
            ended_at=now, call_count=end.call_count, route=_cut(end.route, 200), status=end.status,
            request_id=_cut(end.request_id, 64), outcomes=json.dumps(counts, sort_keys=True),
            answer=_cut(end.answer, 400),
        )
    )  # fmt: skip


def _bounded(outcome: Settlement) -> dict[str, Any]:
    return {
        "record_key": outcome.record_key, "state": outcome.state, "reason": _cut(outcome.reason, 400),
        "vendor_code": _cut(outcome.vendor_code, 64), "vendor_id": _cut(outcome.vendor_id, 128),
    }  # fmt: skip


def _is_alike(one: Settlement, other: Settlement) -> bool:
    return (one.state, one.reason, one.vendor_code, one.vendor_id) == (
        other.state, other.reason, other.vendor_code, other.vendor_id
    )  # fmt: skip


def _cut(text: str | None, length: int) -> str | None:
    # Postgres cannot keep a zero byte in a text.
    return text.replace("\x00", "")[:length] or None if text else None


def _moment(now: datetime) -> str:
    """As `UtcTime` writes it; these statements bypass its type."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")
