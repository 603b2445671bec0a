"""Rows of the operational tables as Arrow: how the warehouse takes them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

_CHUNK = 50_000


def read_arrow(engine: sa.Engine, query: Any, names: Sequence[str]) -> pa.Table:
    """Read a query in pieces; the columns' types follow from how they are named."""
    schema = pa.schema([(name, _type(name)) for name in names])
    batches = []
    with engine.connect() as connection:
        result = connection.execution_options(yield_per=_CHUNK).execute(query)
        for rows in result.partitions():
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, field.type) for field, column in zip(schema, columns, strict=True)]
            batches.append(pa.record_batch(arrays, schema=schema))
    return pa.Table.from_batches(batches, schema=schema)


def _type(name: str) -> pa.DataType:
    if name.endswith("_at"):
        return pa.timestamp("us", tz="UTC")
    return pa.int64() if name.endswith("_count") or name == "status" else pa.string()
