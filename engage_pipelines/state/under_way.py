"""What is under way: the records of batches that were noted as being sent and have not ended.

Their rows still say what was known before. Whoever looks at the ledger while something is sent, or after a run died,
sees these records as `sending`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from engage_pipelines.state.database import DELIVERIES, DELIVERY_BATCHES
from engage_pipelines.state.steps import Attempt

_KEY = ("destination", "stream", "record_key")
_READ_ROWS = msgspec.json.Decoder(list[tuple[str, str]]).decode


def open_attempts(connection: sa.Connection, destination: str, stream: str) -> list[Attempt]:
    """The attempts of a stream that have not ended."""
    b = DELIVERY_BATCHES.c
    names = ("destination", "stream", "batch_id", "run_id", "sending", "started_at")
    query = sa.select(*(b[name] for name in names)).where(
        *_is_open(b), b.destination == destination, b.stream == stream
    )
    return [
        Attempt(row.destination, row.stream, row.batch_id, row.run_id, _READ_ROWS(row.sending), row.started_at)
        for row in connection.execute(query)
    ]


def rows_now(connection: sa.Connection) -> Any:
    """The ledger's rows as they are this moment: those of records under way say so."""
    b = DELIVERY_BATCHES.c
    if connection.execute(sa.select(sa.literal(1)).where(*_is_open(b)).limit(1)).first() is None:
        # As nearly always: then nothing has to be looked up.
        return DELIVERIES
    others = sa.select(DELIVERIES).where(is_not_under_way(connection))
    return sa.union_all(others, rows_under_way(connection)).subquery()


def is_not_under_way(connection: sa.Connection) -> Any:
    """The condition that a row of the ledger is of no record under way."""
    under_way = _records(connection.dialect.name)
    return sa.tuple_(*(DELIVERIES.c[name] for name in _KEY)).not_in(sa.select(*(under_way.c[name] for name in _KEY)))


def rows_under_way(connection: sa.Connection) -> Any:
    """A query for the records under way, as rows of the ledger."""
    u, d = _records(connection.dialect.name), DELIVERIES.c
    now = {
        **{name: u.c[name] for name in (*_KEY, "payload_hash", "batch_id", "run_id")}, "state": sa.literal("sending"),
        "attempt_count": sa.func.coalesce(d.attempt_count, 0) + 1,
        "correction_count": sa.func.coalesce(d.correction_count, 0), "reason": sa.null(), "vendor_code": sa.null(),
        "first_attempt_at": sa.func.coalesce(d.first_attempt_at, u.c.started_at), "last_attempt_at": u.c.started_at,
        "settled_at": sa.null(),
    }  # fmt: skip
    same = sa.and_(*(d[name] == u.c[name] for name in _KEY))
    columns = [sa.type_coerce(now.get(c.name, c), c.type).label(c.name) for c in d]
    return sa.select(*columns).select_from(u.outerjoin(DELIVERIES, same))


def _records(dialect: str) -> Any:
    b = DELIVERY_BATCHES.c
    if dialect == "postgresql":
        each: Any = sa.func.json_array_elements(sa.cast(b.sending, sa.JSON)).table_valued(
            "value", joins_implicitly=True
        )
    else:
        each = sa.func.json_each(b.sending).table_valued("value", joins_implicitly=True)
    part = each.c.value.op("->>", return_type=sa.String)
    query = sa.select(
        b.destination, b.stream, part(sa.literal_column("0")).label("record_key"),
        part(sa.literal_column("1")).label("payload_hash"), b.batch_id, b.run_id, b.started_at,
    )  # fmt: skip
    return query.where(*_is_open(b)).subquery()


def _is_open(batches: Any) -> tuple[Any]:
    return (batches.sending.is_not(None),)
