"""Planning a stream: what is new or changed against the ledger, what is not to be sent and why.

The stream's SQL runs inside the warehouse, its payloads are hashed and joined with the ledger there, and
only what has to be sent leaves, as a Parquet file. So the warehouse is free again before the first call.

Many receipts are planned in slices, some side by side (see `slices.py`). What all slices share lies in tables of the
frame, what is of one slice in temporary ones of its cursor.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue

import pyarrow as pa

from engage_pipelines.on_use import pc
from engage_pipelines.process_memory import give_back_early
from engage_pipelines.warehouse.corrections import rename_corrected
from engage_pipelines.warehouse.database import Connection, Warehouse, bare, count_of, quoted, set_variables
from engage_pipelines.warehouse.plan_request import Note, PlanRequest, PlanResult
from engage_pipelines.warehouse.slices import (
    ROW_GROUP,
    Slice,
    find_cuts,
    find_slices,
    look_at,
    narrow,
    pass_over_other_loads,
    pieces,
    within,
)

# Records that the ledger is asked for at once.
_LOOKUP = 50_000
_KEYS = {
    "transactions": "transaction_id", "customers": "customer_id", "products": "product_id", "stores": "store_id",
}  # fmt: skip
_SOLD = "business_on >= getvariable('first_day') and business_on < getvariable('end_day')"
_TOUCHED = (
    "load_id in (select load_id from ops.loads where window_end_at > getvariable('touched_from') "
    "and window_start_at < getvariable('touched_to'))"
)
# What an earlier day could not deliver is taken up again, whatever its day.
_OWED = "(select record_key from special where state in ('pending', 'sending', 'in_doubt'))"
_WITHDRAWN = (
    "select count(*) from compared where action = 'diverged' and skipped_reason is not null "
    "and known_state is distinct from 'diverged'"
)
# Typed beforehand: a reason that is null in every row has no type of its own, and some columns need not be there.
_SHAPED = {
    "record_key": "varchar", "payload": "varchar", "skipped_reason": "varchar", "rejected_reason": "varchar",
    "weight": "integer", "needs_key": "varchar",
}  # fmt: skip
_CAST = ", ".join(f"{name}::{kind} as {name}" for name, kind in _SHAPED.items())
_UNTYPED = f"select {', '.join(f'null as {name}' for name in _SHAPED)} where false"
_TO_SEND = (
    "select record_key, payload, payload_hash, weight, strlen(payload) as byte_count, is_in_doubt, changed_to "
    "from {compared} "
    "where starts_with(action, 'send_') order by record_key"
)
_HELD = "k uhugeint, h uhugeint"
# What is still asked of a record after its slice: the columns of `compare.sql` that notes and counts read.
_COMPARED = (
    "record_key varchar, action varchar, payload varchar, payload_hash varchar, known_state varchar, "
    "known_hash varchar, skipped_reason varchar, rejected_reason varchar, is_elsewhere boolean, is_simply_held boolean"
)
_KEPT = (
    "record_key, action, if(action = 'rejected', payload, null) as payload, "
    "if(starts_with(action, 'send_'), null, payload_hash) as payload_hash, known_state, known_hash, skipped_reason, "
    "rejected_reason, is_elsewhere, is_simply_held"
)
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class _Plan:
    """A plan in the making.

    Attributes:
        request: what is asked for.
        condition: which rows of the core table are considered.
        asked: keys of needed records that were asked for already, by whichever slice.
        turn: held by whoever asks.
    """

    request: PlanRequest
    condition: str
    asked: set[str] = field(default_factory=set)
    turn: threading.Lock = field(default_factory=threading.Lock)


def write_plan(warehouse: Warehouse, request: PlanRequest) -> PlanResult:
    """Plan a stream and write the records to send to `request.file`."""
    with warehouse.connection() as connection:
        _set_variables(connection, request)
        for name in ("special", "fixes", "originals"):
            _take(connection, name, getattr(request, name))
        _name_stores(connection, request.store_names)
        connection.execute("create table needed (needs_key varchar, is_there boolean)")
        plan = _Plan(request, _select(connection, request))
        if request.selection.is_everything:
            _hold_everything(connection, request)
        is_of_receipts = request.stream.selects == "transactions"
        if is_of_receipts:
            pass_over_other_loads(connection)
        slices = find_slices(connection, plan.condition) if is_of_receipts else []
        request.file.parent.mkdir(parents=True, exist_ok=True)
        if slices:
            _plan_in_slices(connection, plan, slices, warehouse.temporary)
        else:
            _plan_at_once(connection, plan)
        return _result(connection, request)


def _plan_at_once(connection: Connection, plan: _Plan) -> None:
    connection.execute("create temp view selected as from considered")
    _shape(connection, plan)
    # What is written on the right of a join is looked up there: digests fit into memory, payloads would not.
    connection.execute("set disabled_optimizers = 'build_side_probe_side'")
    # Whoever needs an order asks for it; keeping one takes memory.
    connection.execute("set preserve_insertion_order = false")
    _compare(connection, "compared")
    connection.execute("reset disabled_optimizers")
    connection.execute(
        f"copy ({_TO_SEND.format(compared='compared')}) to {quoted(plan.request.file)} "
        f"(format parquet, compression zstd, row_group_size {ROW_GROUP})"
    )


def _plan_in_slices(connection: Connection, plan: _Plan, slices: list[Slice], temporary: Path) -> None:
    give_back_early()
    narrow(connection)
    connection.execute(f"create table compared ({_COMPARED})")
    # Whoever needs an order asks for it; keeping one takes memory.
    connection.execute("set preserve_insertion_order = false")
    # A slice is too small for several threads of the database: instead, several slices have one each.
    threads = count_of(connection, "select current_setting('threads')")
    cursors: SimpleQueue[Connection] = SimpleQueue()
    for _ in range(threads):
        cursors.put(_cursor(connection, plan))
    cuts = find_cuts(connection, len(slices))
    connection.execute("set threads = 1")
    with pieces(temporary, cuts) as found, ThreadPoolExecutor(threads) as pool:

        def work(part: Slice) -> None:
            cursor = cursors.get()
            try:
                found.put(part.number, _plan_slice(cursor, plan, part))
            finally:
                cursors.put(cursor)

        for _ in pool.map(work, slices):
            pass
        found.merge(plan.request.file, len(slices))
    connection.execute(f"set threads = {threads}")


def _cursor(connection: Connection, plan: _Plan) -> Connection:
    """One more session of the frame, which sees one slice at a time."""
    cursor = connection.cursor()
    cursor.execute("set TimeZone = 'UTC'")
    _set_variables(cursor, plan.request)
    cursor.execute(
        f"create temp view selected as select * from warehouse.core.transactions "
        f"where {within('transactions')} and ({plan.condition})"
    )
    return cursor


def _plan_slice(cursor: Connection, plan: _Plan, part: Slice) -> pa.Table:
    """Plan a slice; gives what has to be sent of it, and leaves a note of every record in `compared`."""
    look_at(cursor, part)
    _shape(cursor, plan)
    _compare(cursor, "judged")
    # What goes out is written: neither payload nor hash needs to stay.
    cursor.execute(f"insert into compared by name select {_KEPT} from judged")
    records = cursor.sql(_TO_SEND.format(compared="judged")).to_arrow_table()
    for name in ("shaped", "held", "corrected", "renamed", "judged"):
        cursor.execute(f"drop table if exists temp.{name}")
    return records


def _shape(connection: Connection, plan: _Plan) -> None:
    """Shape what `selected` shows, and ask the ledger about it."""
    request = plan.request
    _run_sql(connection, request)
    if request.selection.keys is not None:
        connection.execute("delete from shaped where record_key not in (select key from wanted)")
    if not request.selection.is_everything:
        _hold_shaped(connection, request)
    # Where nothing was ever corrected, not even the question is asked.
    if pc.any(pc.greater(request.special["correction_count"], 0)).as_py():
        rename_corrected(connection, request.stream, request.folder)
    _find_needed(connection, plan)


def _set_variables(connection: Connection, request: PlanRequest) -> None:
    own = {
        "channel": "history" if request.stream.history else "api", "elsewhere": request.stream.elsewhere,
        "policy": request.policy, "is_immutable": request.stream.immutable,
    }  # fmt: skip
    set_variables(connection, {**request.variables, **own})
    selection = request.selection
    if selection.business is not None:
        set_variables(connection, dict(zip(("first_day", "end_day"), selection.business, strict=True)))
    if selection.touched is not None:
        for name, moment in zip(("touched_from", "touched_to"), selection.touched, strict=True):
            connection.execute(f"set variable {name} = ?::timestamptz", [moment])


def _take(connection: Connection, name: str, rows: pa.Table) -> None:
    connection.register("taken", rows)
    connection.execute(f"create table {name} as from taken")
    connection.unregister("taken")


def _hold_everything(connection: Connection, request: PlanRequest) -> None:
    """Fetch all that the ledger knows as simply held."""
    # Digests, not texts: ten million records fit into memory.
    connection.execute(f"create table held ({_HELD})")
    with request.held() as rows:
        _hold(connection, rows)


def _hold_shaped(connection: Connection, request: PlanRequest) -> None:
    """Fetch what the ledger knows of the shaped records only."""
    connection.execute(f"create temp table held ({_HELD})")
    # Made here: the first array of a process brings pandas with it, which most commands do not need.
    plain = pa.array(["delivered", "accepted"])
    # In the ledger's order: neighbours are found together.
    query = "select distinct record_key from shaped order by record_key"
    keys = connection.execute(query).fetchnumpy()["record_key"].tolist()
    for start in range(0, len(keys), _LOOKUP):
        # The special ones among them are there already.
        known = request.known(keys[start : start + _LOOKUP])
        is_plain = pc.and_(pc.is_in(known["state"], plain), pc.equal(known["correction_count"], 0))
        _hold(connection, known.filter(is_plain).select(["record_key", "delivered_hash"]))


def _find_needed(connection: Connection, plan: _Plan) -> None:
    """Find out which of the records that these ones need are there."""
    if plan.request.stream.needs is None:
        return
    query = "select distinct needs_key from shaped where needs_key is not null and skipped_reason is null order by all"
    # Until they are noted nobody else asks: whoever needs the same must find them.
    with plan.turn:
        keys = connection.execute(query).fetchnumpy()["needs_key"].tolist()
        new = [key for key in keys if key not in plan.asked]
        plan.asked.update(new)
        for start in range(0, len(new), _LOOKUP):
            connection.register("taken", plan.request.needed(new[start : start + _LOOKUP]))
            connection.execute(
                "insert into needed select record_key, delivered_hash is not null from taken "
                "where delivered_hash is not null or state in ('rejected', 'discarded')"
            )
            connection.unregister("taken")


def _hold(connection: Connection, rows: pa.Table | pa.RecordBatchReader) -> None:
    connection.register("taken", rows)
    connection.execute("insert into held select md5_number(record_key), md5_number(delivered_hash) from taken")
    connection.unregister("taken")


def _name_stores(connection: Connection, names: Mapping[str, str]) -> None:
    connection.execute(
        "create table store_names as select unnest(?::varchar[]) as store_id, unnest(?::varchar[]) as store_name",
        [list(names), list(names.values())],
    )


def _select(connection: Connection, request: PlanRequest) -> str:
    """Make the view of all rows that are considered; gives their condition."""
    table, selection = request.stream.selects, request.selection
    condition = "true"
    if selection.keys is not None:
        connection.execute("create table wanted as select unnest(?::varchar[]) as key", [list(selection.keys)])
        if table in _KEYS:
            condition = f"{_KEYS[table]} in (select key from wanted)"
    elif selection.business is not None:
        sold_to = f"customer_id in (select customer_id from core.transactions where {_SOLD})"
        condition = _SOLD if table == "transactions" else sold_to
    elif selection.touched is not None:
        condition = f"{_TOUCHED} or {_KEYS[table]} in {_OWED}"
    connection.execute(f"create temp view considered as select * from core.{table} where {condition}")
    return condition


def _run_sql(connection: Connection, request: PlanRequest) -> None:
    """Run the stream's SQL over `selected`."""
    sql = bare((request.folder / request.stream.sql).read_text())
    # Not a table where it is read once: the payloads of ten million records would go to disk and back.
    kind = "view" if _is_read_once(request) else "table"
    connection.execute(f"create temp {kind} shaped as select {_CAST} from ({_UNTYPED} union all by name ({sql}))")


def _is_read_once(request: PlanRequest) -> bool:
    """True if nothing but the comparison reads the shaped records."""
    stream = request.stream
    is_plain = stream.correction is None and stream.needs is None and stream.selects != "transactions"
    return request.selection.is_everything and is_plain


def _compare(connection: Connection, compared: str) -> None:
    connection.execute(f"create temp table {compared} as {bare((_HERE / 'compare.sql').read_text())}")


def _result(connection: Connection, request: PlanRequest) -> PlanResult:
    notes = connection.execute((_HERE / "notes.sql").read_text()).fetchall()
    return PlanResult(
        counts=_counts(connection, "select action, count(*) from compared group by action"),
        skipped=_counts(connection, _reasons("skipped", "skipped_reason")),
        rejected=_counts(connection, _reasons("rejected", "coalesce(rejected_reason, 'refused by the platform')")),
        notes=[Note(*row) for row in notes],
        amounts=_amounts(connection) if request.stream.selects == "transactions" else {},
        gone=_gone(connection) if request.selection.is_everything else 0,
        withdrawn=count_of(connection, _WITHDRAWN),
        is_everything=request.selection.is_everything,
        diverged=_diverged(connection) if request.selection.keys is not None else (),
    )


def _diverged(connection: Connection) -> tuple[str, ...]:
    rows = connection.execute("select record_key from compared where action = 'diverged' order by 1").fetchall()
    return tuple(row[0] for row in rows)


def _counts(connection: Connection, sql: str) -> dict[str, int]:
    return dict(connection.execute(sql).fetchall())


def _reasons(action: str, reason: str) -> str:
    return f"select {reason}, count(*) from compared where action = '{action}' group by all order by 2 desc, 1"


def _amounts(connection: Connection) -> dict[str, Decimal]:
    return dict(
        connection.execute(
            "select t.currency, cast(sum(t.total_amount) as decimal(38, 4)) from compared as c join considered as t "
            "on t.transaction_id = c.record_key where starts_with(c.action, 'send_') group by t.currency"
        ).fetchall()
    )


def _gone(connection: Connection) -> int:
    """Records that the platform holds and that were not shaped; a record is shaped once."""
    return count_of(
        connection,
        "select (select count(*) from held) - (select count(*) from compared where is_simply_held) + "
        "(select count(*) from special where delivered_hash is not null and record_key not in "
        "(select record_key from compared where record_key is not null))",
    )
