"""Planning a stream: what is new or changed against the ledger, what is not to be sent and why.

The stream's SQL runs inside the warehouse, its payloads are hashed and joined with the ledger there, and
only what has to be sent leaves, as a Parquet file. So the warehouse is free again before the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from engage_pipelines.connector import Stream
from engage_pipelines.warehouse.database import Connection, Warehouse, quoted, set_variables

# Receipts shaped at once; lists of lines cannot leave memory while they are gathered.
_SLICE = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a run considers: everything, those touched by loads of a time range, or business days.

    Attributes:
        touched: range of modification time `[start, end)`; rows of loads that overlap it.
        business: range of business days `[first, end)`.
    """

    touched: tuple[datetime, datetime] | None = None
    business: tuple[date, date] | None = None


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to plan.

    Attributes:
        stream: its declaration.
        folder: where the destination's SQL files are.
        selection: rows to consider.
        ledger: Arrow table `record_key, state, payload_hash, delivered_hash` of the stream.
        variables: the destination's options.
        store_names: store_id -> name at the destination.
        file: Parquet file to write: `record_key, payload, payload_hash, weight`, in key order.
    """

    stream: Stream
    folder: Path
    selection: Selection
    ledger: pa.Table
    variables: Mapping[str, Any]
    store_names: Mapping[str, str]
    file: Path


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What a plan found.

    Attributes:
        counts: action -> records; actions are `send_new`, `send_changed`, `send_again`, `unchanged`,
            `rejected`, `diverged`, `held` and `skipped`.
        skipped: reason -> records.
        notes: records the ledger must note without a call: `record_key, state, payload_hash, reason`.
        source_records: records the stream's SQL gave.
    """

    counts: dict[str, int]
    skipped: dict[str, int]
    notes: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def source_records(self) -> int:
        """Records considered in all."""
        return sum(self.counts.values())

    @property
    def to_send(self) -> int:
        """Records that need a call."""
        return sum(self.counts.get(action, 0) for action in ("send_new", "send_changed", "send_again"))


def write_plan(warehouse: Warehouse, request: PlanRequest) -> PlanResult:
    """Plan a stream and write the records to send to `request.file`."""
    with warehouse.connection() as connection:
        channel = "history" if request.stream.history else "api"
        own = {"channel": channel, "elsewhere": request.stream.elsewhere}
        set_variables(connection, {**request.variables, **own})
        connection.register("ledger_rows", request.ledger)
        connection.execute("create temp table ledger as select * from ledger_rows")
        _name_stores(connection, request.store_names)
        _select(connection, request)
        _shape(connection, request)
        _compare(connection, request)
        _write(connection, request.file)
        return _result(connection)


def _name_stores(connection: Connection, names: Mapping[str, str]) -> None:
    connection.execute(
        "create temp table store_names as select unnest(?::varchar[]) as store_id, unnest(?::varchar[]) as store_name",
        [list(names), list(names.values())],
    )


def _select(connection: Connection, request: PlanRequest) -> None:
    table = request.stream.selects
    if request.selection.business is not None:
        first, end = request.selection.business
        set_variables(connection, {"first_day": first, "end_day": end})
        condition = {
            "transactions": "business_on >= getvariable('first_day') and business_on < getvariable('end_day')",
            "customers": "customer_id in (select customer_id from core.transactions where business_on >= "
            "getvariable('first_day') and business_on < getvariable('end_day'))",
        }[table]
    elif request.selection.touched is not None:
        start, end_at = request.selection.touched
        connection.execute("set variable touched_from = ?::timestamptz", [start])
        connection.execute("set variable touched_to = ?::timestamptz", [end_at])
        key = {"transactions": "transaction_id", "customers": "customer_id"}[table]
        # What an earlier day could not deliver is taken up again, whatever its day.
        condition = (
            "load_id in (select load_id from ops.loads where window_end_at > getvariable('touched_from') "
            "and window_start_at < getvariable('touched_to')) "
            f"or {key} in (select record_key from ledger where state in ('pending', 'sending', 'in_doubt'))"
        )
    else:
        condition = "true"
    connection.execute(f"create temp view considered as select * from core.{table} where {condition}")


def _shape(connection: Connection, request: PlanRequest) -> None:
    """Run the stream's SQL: at once, or receipt by receipt in slices, so that memory does not grow with history."""
    # Typed beforehand: a reason that is null in every row of a slice has no type of its own.
    connection.execute(
        "create temp table shaped (record_key varchar, payload varchar, skipped_reason varchar, "
        "rejected_reason varchar, weight integer)"
    )
    sql = (request.folder / request.stream.sql).read_text().strip().rstrip(";")
    shape = f"insert into shaped by name select * from ({sql})"
    if request.stream.selects != "transactions":
        connection.execute("create temp view selected as from considered")
        connection.execute(shape)
        return
    connection.execute(
        "create temp table sliced as select *, (row_number() over (order by business_on, transaction_id) - 1) "
        f"// {_SLICE} as slice from considered"
    )
    connection.execute("set variable slice = 0::bigint")
    connection.execute("create temp view selected as select * exclude (slice) from sliced where slice = "
                       "getvariable('slice')")  # fmt: skip
    connection.execute(shape)
    last = connection.execute("select max(slice) from sliced").fetchone()
    for number in range(1, ((last[0] or 0) if last else 0) + 1):
        connection.execute("set variable slice = ?", [number])
        connection.execute(shape)


def _compare(connection: Connection, request: PlanRequest) -> None:
    changed = "diverged" if request.stream.immutable else "send_changed"
    # A preview may meet rows that a run would settle by the stream's policy before it plans.
    held = "l.state in ('in_doubt', 'sending')" if request.stream.in_doubt.policy == "hold" else "false"
    connection.execute(
        f"""
        create temp table compared as
        with hashed as (
            select record_key, payload, skipped_reason, rejected_reason, coalesce(weight, 1) as weight,
                md5(coalesce(payload, '')) as payload_hash
            from shaped
        )
        select h.*,
            case
                when {held} then 'held'
                -- The platform holds it, but it should not be there any more (voided, closed down): visible, even if
                -- what would be sent is still the same.
                when h.skipped_reason is not null and l.delivered_hash is not null
                    and h.skipped_reason is distinct from getvariable('elsewhere') then 'diverged'
                -- After an attempt with something else that was in doubt, the platform may hold that.
                when l.delivered_hash = h.payload_hash
                    and (l.state not in ('pending', 'sending', 'in_doubt') or l.payload_hash = h.payload_hash)
                    then 'unchanged'
                when h.skipped_reason is not null then 'skipped'
                when h.rejected_reason is not null then 'rejected'
                when l.state = 'rejected' and l.payload_hash = h.payload_hash then 'rejected'
                when l.delivered_hash is not null then '{changed}'
                when l.state is null then 'send_new'
                else 'send_again'
            end as action,
            l.state as known_state, l.payload_hash as known_hash
        from hashed as h
        left join ledger as l using (record_key)
        """
    )


def _write(connection: Connection, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Row groups stay small: the sender reads them one after the other and must not hold the whole plan.
    connection.execute(
        f"copy (select record_key, payload, payload_hash, weight "
        f"from compared where starts_with(action, 'send_') order by record_key) to {quoted(file)} "
        "(format parquet, compression zstd, row_group_size 4096)"
    )


def _result(connection: Connection) -> PlanResult:
    counts = dict(connection.execute("select action, count(*) from compared group by action").fetchall())
    skipped = dict(
        connection.execute(
            "select skipped_reason, count(*) from compared where action = 'skipped' group by all order by 2 desc"
        ).fetchall()
    )
    notes = connection.execute(
        "select record_key, action, payload_hash, coalesce(rejected_reason, 'delivered, now: ' || skipped_reason, "
        "'changed after delivery; the platform cannot change it') from compared "
        "where action in ('rejected', 'diverged') "
        "and (known_state is distinct from action or known_hash is distinct from payload_hash)"
    ).fetchall()
    return PlanResult(counts, skipped, notes)
