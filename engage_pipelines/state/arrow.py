"""Rows of the operational tables as Arrow: how the warehouse takes them in."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pyarrow as pa
import sqlalchemy as sa

from engage_pipelines.on_use import arrow_csv

# More at once takes longer: they leave the processor's cache, and the collector goes through them.
_CHUNK = 1_000
# Up to so many rows SQLite puts the result aside first; from more on that costs more than it can be worth.
_ASIDE = 1_000_000
_ASIDE_CHUNK = 5_000


def read_arrow(engine: sa.Engine, query: Any, names: Sequence[str]) -> pa.Table:
    """Read the rows of a query that fit into memory; the columns' types follow from how they are named."""
    # The database gives each column as one text: row by row every row would have to wait for the interpreter, which
    # other threads want too.
    gather = sa.func.json_agg if engine.dialect.name == "postgresql" else sa.func.json_group_array
    rows = query.subquery().c
    with engine.connect() as connection:
        found = connection.execute(sa.select(*(sa.cast(gather(rows[name]), sa.Text) for name in names))).one()
    return pa.Table.from_batches([_gathered(found, _texts(names))]).cast(_schema(names))


def _gathered(columns: Sequence[str | None], schema: pa.Schema) -> pa.RecordBatch:
    # Postgres gives nothing at all for no rows.
    values = [msgspec.json.decode(text) if text else [] for text in columns]
    return pa.record_batch([pa.array(v, f.type) for f, v in zip(schema, values, strict=True)], schema=schema)


@contextmanager
def stream_arrow(engine: sa.Engine, query: Any, names: Sequence[str]) -> Iterator[pa.RecordBatchReader]:
    """Read any number of rows in pieces, with the driver's own means: ten million take seconds, not a minute.

    Nothing of the query may come from outside: its values are written into its text.
    """
    texts = _texts(names)
    sql = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
    opened = _from_postgres if engine.dialect.name == "postgresql" else _from_sqlite
    with opened(engine, sql, texts) as batches:
        schema = _schema(names)
        yield pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in batches))


@contextmanager
def _from_sqlite(engine: sa.Engine, sql: str, schema: pa.Schema) -> Iterator[Iterator[pa.RecordBatch]]:
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        ((found,),) = cursor.execute(f"select count(*) from (select 1 from ({sql}) limit {_ASIDE + 1})").fetchall()
        try:
            yield _put_aside(cursor, sql, schema) if found <= _ASIDE else _row_by_row(cursor, sql, schema)
        finally:
            # The connection is used again, by others.
            cursor.execute("drop table if exists temp.aside")
            cursor.close()
    finally:
        raw.close()


def _put_aside(cursor: Any, sql: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows in pieces of one text a column: beside a delivery each row by itself would wait for the interpreter."""
    names = ", ".join(f"json_group_array({name})" for name in schema.names)
    cursor.execute("drop table if exists temp.aside")
    cursor.execute(f"create temp table aside as {sql}")
    ((last,),) = cursor.execute("select coalesce(max(rowid), 0) from temp.aside").fetchall()
    for first in range(1, last + 1, _ASIDE_CHUNK):
        piece = f"select * from temp.aside where rowid between {first} and {first + _ASIDE_CHUNK - 1} order by rowid"
        (columns,) = cursor.execute(f"select {names} from ({piece})").fetchall()
        yield _gathered(columns, schema)


def _row_by_row(cursor: Any, sql: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    cursor.execute(sql)
    while rows := cursor.fetchmany(_CHUNK):
        arrays = [pa.array(c, f.type) for f, c in zip(schema, zip(*rows, strict=True), strict=True)]
        yield pa.record_batch(arrays, schema=schema)


@contextmanager
def _from_postgres(engine: sa.Engine, sql: str, schema: pa.Schema) -> Iterator[Iterator[pa.RecordBatch]]:
    raw = engine.raw_connection()
    out, into = os.pipe()

    def copy() -> None:
        with os.fdopen(into, "wb") as pipe:
            # This takes no parameters, so the doubled percent signs of the compiled text are none.
            raw.cursor().copy_expert(f"copy ({sql.replace('%%', '%')}) to stdout (format csv, header)", pipe)

    worker = _Worker(copy)
    try:
        with os.fdopen(out, "rb") as pipe:
            yield iter(
                arrow_csv.open_csv(
                    pipe,
                    arrow_csv.ReadOptions(use_threads=False, block_size=1 << 22),
                    arrow_csv.ParseOptions(newlines_in_values=True),
                    arrow_csv.ConvertOptions(
                        column_types=schema,
                        null_values=[""],
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=False,
                    ),
                )
            )
    finally:
        worker.join()
        raw.rollback()
        raw.close()
    worker.raise_error()


class _Worker(threading.Thread):
    """A thread whose error is not lost."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BrokenPipeError:
            return  # whoever reads has had enough
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _texts(names: Sequence[str]) -> pa.Schema:
    # Moments are texts in both databases, and are read as such; then they become moments.
    return pa.schema([(name, pa.string() if name.endswith("_at") else _type(name)) for name in names])


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, _type(name)) for name in names])


def _type(name: str) -> pa.DataType:
    if name.endswith("_at"):
        return pa.timestamp("us", tz="UTC")
    return pa.int64() if name.endswith("_count") or name == "status" else pa.string()
