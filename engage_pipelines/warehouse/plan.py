"""Planning a stream: what is new or changed against the ledger, what is not to be sent and why.

The stream's SQL runs inside the warehouse, its payloads are hashed and joined with the ledger there, and
only what has to be sent leaves, as a Parquet file. So the warehouse is free again before the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from engage_pipelines.warehouse.corrections import rename_corrected
from engage_pipelines.warehouse.database import Connection, Warehouse, bare, count_of, quoted, set_variables
from engage_pipelines.warehouse.plan_request import Note, PlanRequest, PlanResult

# Receipts shaped at once; lists of lines cannot leave memory while they are gathered.
_SLICE = 10_000
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
_HERE = Path(__file__).parent


def write_plan(warehouse: Warehouse, request: PlanRequest) -> PlanResult:
    """Plan a stream and write the records to send to `request.file`."""
    with warehouse.connection() as connection:
        channel = "history" if request.stream.history else "api"
        own = {
            "channel": channel, "elsewhere": request.stream.elsewhere, "policy": request.policy,
            "is_immutable": request.stream.immutable,
        }  # fmt: skip
        set_variables(connection, {**request.variables, **own})
        for name in ("special", "fixes", "originals"):
            _take(connection, name, getattr(request, name))
        _name_stores(connection, request.store_names)
        _select(connection, request)
        _shape(connection, request)
        if request.selection.keys is not None:
            connection.execute("delete from shaped where record_key not in (select key from wanted)")
        _know(connection, request)
        rename_corrected(connection, request.stream, request.folder)
        _find_needed(connection, request)
        _compare(connection)
        _write(connection, request.file)
        return _result(connection, request)


def _take(connection: Connection, name: str, rows: pa.Table) -> None:
    connection.register("taken", rows)
    connection.execute(f"create temp table {name} as from taken")
    connection.unregister("taken")


def _know(connection: Connection, request: PlanRequest) -> None:
    """Fetch what the ledger knows: all of it for a whole stream, else of the shaped records only."""
    # Digests, not texts: ten million records fit into memory.
    connection.execute("create temp table held (k uhugeint, h uhugeint)")
    if request.selection.is_everything:
        with request.held() as rows:
            _hold(connection, rows)
        return
    # Made here: the first array of a process brings pandas with it, which most commands do not need.
    plain = pa.array(["delivered", "accepted"])
    keys = connection.execute("select distinct record_key from shaped").fetchnumpy()["record_key"].tolist()
    for start in range(0, len(keys), _LOOKUP):
        # The special ones among them are there already.
        known = request.known(keys[start : start + _LOOKUP])
        is_plain = pc.and_(pc.is_in(known["state"], plain), pc.equal(known["correction_count"], 0))
        _hold(connection, known.filter(is_plain).select(["record_key", "delivered_hash"]))


def _find_needed(connection: Connection, request: PlanRequest) -> None:
    """Find out which of the records that these ones need are there."""
    connection.execute("create temp table needed (needs_key varchar, is_there boolean)")
    if request.stream.needs is None:
        return
    query = "select distinct needs_key from shaped where needs_key is not null and skipped_reason is null"
    keys = connection.execute(query).fetchnumpy()["needs_key"].tolist()
    for start in range(0, len(keys), _LOOKUP):
        known = request.needed(keys[start : start + _LOOKUP])
        connection.register("taken", known)
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
        "create temp table store_names as select unnest(?::varchar[]) as store_id, unnest(?::varchar[]) as store_name",
        [list(names), list(names.values())],
    )


def _select(connection: Connection, request: PlanRequest) -> None:
    table, selection = request.stream.selects, request.selection
    condition = "true"
    if selection.keys is not None:
        connection.execute("create temp table wanted as select unnest(?::varchar[]) as key", [list(selection.keys)])
        if table in _KEYS:
            condition = f"{_KEYS[table]} in (select key from wanted)"
    elif selection.business is not None:
        set_variables(connection, dict(zip(("first_day", "end_day"), selection.business, strict=True)))
        sold_to = f"customer_id in (select customer_id from core.transactions where {_SOLD})"
        condition = _SOLD if table == "transactions" else sold_to
    elif selection.touched is not None:
        for name, moment in zip(("touched_from", "touched_to"), selection.touched, strict=True):
            connection.execute(f"set variable {name} = ?::timestamptz", [moment])
        condition = f"{_TOUCHED} or {_KEYS[table]} in {_OWED}"
    connection.execute(f"create temp view considered as select * from core.{table} where {condition}")


def _shape(connection: Connection, request: PlanRequest) -> None:
    """Run the stream's SQL: at once, or receipt by receipt in slices, so that memory does not grow with history."""
    sql = bare((request.folder / request.stream.sql).read_text())
    if _is_read_once(request):
        # Not a table: the payloads of ten million records would go to disk and back.
        connection.execute("create temp view selected as from considered")
        connection.execute(f"create temp view shaped as select {_CAST} from ({_UNTYPED} union all by name ({sql}))")
        return
    connection.execute(f"create temp table shaped as select {_CAST} from ({_UNTYPED})")
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
    for number in range(1, count_of(connection, "select max(slice) from sliced") + 1):
        connection.execute("set variable slice = ?", [number])
        connection.execute(shape)


def _is_read_once(request: PlanRequest) -> bool:
    """True if nothing but the comparison reads the shaped records."""
    stream = request.stream
    is_plain = stream.correction is None and stream.needs is None and stream.selects != "transactions"
    return request.selection.is_everything and is_plain


def _compare(connection: Connection) -> None:
    # What is written on the right of a join is looked up there: digests fit into memory, payloads would not.
    connection.execute("set disabled_optimizers = 'build_side_probe_side'")
    # Whoever needs an order asks for it; keeping one takes memory.
    connection.execute("set preserve_insertion_order = false")
    connection.execute(f"create temp table compared as {bare((_HERE / 'compare.sql').read_text())}")
    connection.execute("reset disabled_optimizers")


def _write(connection: Connection, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Row groups stay small: the sender reads them one after the other and must not hold the whole plan.
    connection.execute(
        f"copy (select record_key, payload, payload_hash, weight, is_in_doubt, changed_to "
        f"from compared where starts_with(action, 'send_') order by record_key) to {quoted(file)} "
        "(format parquet, compression zstd, row_group_size 4096)"
    )


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
