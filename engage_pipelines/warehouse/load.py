"""Loading one pulled window: raw records in, core rows out, in one transaction.

The order: read typed -> newest version per record -> checks -> map -> required columns -> replace by key
-> note the load. A record that cannot become a row goes to quarantine and stops nothing else. A record
that core already has in this or a later version is left alone, so windows may be loaded in any order and
any number of times.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from engage_pipelines.connector import Entity, Window
from engage_pipelines.model import TABLE_BY_NAME, Table
from engage_pipelines.warehouse.database import (
    Connection,
    Warehouse,
    all_or_nothing,
    quoted,
    register_currencies,
    set_variables,
)
from engage_pipelines.warehouse.structure import as_text, column_types, leaf_count, wrong_shape

# 16 MiB: a wholesale order with thousands of lines is one JSON object; DuckDB sets aside twice this per thread.
_LARGEST_RECORD = 16 * 1024 * 1024
# Records that are looked through for fields that the mapping does not know.
_SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One finished spool and how to read it.

    Attributes:
        source: source name.
        entity: its declaration.
        folder: where the source's SQL and structure files are.
        load_id: key of the load.
        window: modification window that was pulled.
        location_ids: locations that were asked.
        spool: folder of the spool, relative to the lake.
        records: NDJSON file of the records.
        proofs: NDJSON file of the second question's answer, if it was asked.
        page_count: pages pulled.
        pulled_at: when the pull ended.
        variables: options and settings that the SQL reads.
    """

    source: str
    entity: Entity
    folder: Path
    load_id: str
    window: Window
    location_ids: tuple[str, ...]
    spool: str
    records: Path
    proofs: Path | None
    page_count: int
    pulled_at: datetime
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load did.

    Attributes:
        records: records in the spool.
        changed: records new or changed.
        quarantined: records put into quarantine.
        missing: records that the till lists but that were not pulled.
        unknown_fields: top-level fields that the mapping does not know.
        rows: rows written per core table.
    """

    records: int
    changed: int
    quarantined: int
    missing: int
    unknown_fields: tuple[str, ...]
    rows: dict[str, int]


def load_window(warehouse: Warehouse, request: LoadRequest, *, now: datetime) -> LoadResult:
    """Load one spool; running it again changes nothing."""
    personal = [TABLE_BY_NAME[f"core.{name}"] for name in request.entity.tables]
    if any(table.is_personal for table in personal):
        # One transaction can write one file only. The private one goes first: what it has too much after a
        # crash is replaced by the repeat, which happens because the load is noted in the other one.
        with warehouse.connection() as connection:
            _read(connection, request)
            with all_or_nothing(connection):
                _stage(connection, request, "private")
                for table in personal:
                    if table.is_personal:
                        _replace(connection, "private", table)
    with warehouse.connection() as connection:
        records = _read(connection, request)
        with all_or_nothing(connection):
            _stage(connection, request, "warehouse")
            rows = {table.name: _replace(connection, "warehouse", table) for table in personal}
            quarantined = _note_quarantine(connection, request, now)
            missing = _note_completeness(connection, request, now) if request.proofs else 0
            result = LoadResult(
                records, next(iter(rows.values())), quarantined, missing, _unknown_fields(request), rows
            )
            _note(connection, request, result, now)
    return result


def _read(connection: Connection, request: LoadRequest) -> int:
    """Read the spool into temporary tables; before the transaction, which a value that does not fit would break."""
    _prepare(connection, request)
    _read_records(connection, request)
    entity = request.entity
    records = _count(connection, "select count(*) from pulled")
    if request.proofs:
        connection.execute("create temp table landed_ids as select id, location_id from pulled")
    if _count(connection, f"select count(distinct {entity.record_id}) from pulled") == records:
        # The usual case: nothing came twice, so there is no need for a second copy in memory.
        connection.execute("alter table pulled rename to raw")
    else:
        connection.execute(
            f"create temp table raw as select * from pulled qualify ({entity.record_id}) is null or row_number() "
            f"over (partition by {entity.record_id} order by {entity.newest} desc nulls last) = 1"
        )
        connection.execute("drop table pulled")
    return records + _count(connection, "select count(*) from quarantined")


def _prepare(connection: Connection, request: LoadRequest) -> None:
    set_variables(connection, request.variables)
    register_currencies(connection)
    connection.execute(
        "create temp table stores as select store_id, source, source_store_id, time_zone, currency, "
        "country_code from core.stores"
    )
    connection.execute("create temp table quarantined (record_id varchar, reason varchar)")


def _read_records(connection: Connection, request: LoadRequest) -> None:
    structure = json.loads((request.folder / request.entity.structure).read_text())
    files = [str(request.records)]
    try:
        connection.execute(
            f"create temp table pulled as select * from read_json(?, format = 'newline_delimited', "
            f"columns = {column_types(structure)}, maximum_object_size = {_LARGEST_RECORD})",
            [files],
        )
    except duckdb.InvalidInputException:
        _read_one_by_one(connection, structure, files)


def _stage(connection: Connection, request: LoadRequest, database: str) -> None:
    _run_checks(connection, request)
    _map(connection, request, database=database)


def _read_one_by_one(connection: Connection, structure: dict[str, Any], files: list[str]) -> None:
    """The slow path: a value does not fit its type, so find the records it is in and keep the others."""
    connection.execute(
        f"create temp table texts as select row_number() over () as line, json, "
        f"json_transform(json, '{json.dumps(structure)}') as typed, "
        f"json_transform(json, '{json.dumps(as_text(structure))}') as untyped "
        f"from read_ndjson_objects(?, maximum_object_size = {_LARGEST_RECORD})",
        [files],
    )
    connection.execute(
        f"create temp table misfits as select line from texts where {wrong_shape(structure, 'json')} "
        f"or {leaf_count(structure, 'typed')} <> {leaf_count(structure, 'untyped')}"
    )
    connection.execute(
        "insert into quarantined select coalesce(json ->> 'id', 'line ' || line), "
        "'a value does not fit its documented type' from texts where line in (from misfits)"
    )
    connection.execute(
        "create temp table pulled as select unnest(typed) from texts where line not in (from misfits) order by line"
    )


def _run_checks(connection: Connection, request: LoadRequest) -> None:
    sql = (request.folder / request.entity.checks).read_text()
    connection.execute(
        f"insert into quarantined select coalesce(record_id, 'record without id'), reason from ({_bare(sql)})"
    )
    _drop_quarantined(connection, request.entity)


def _drop_quarantined(connection: Connection, entity: Entity) -> None:
    connection.execute(
        f"delete from raw where ({entity.record_id}) is null "
        f"or ({entity.record_id}) in (select record_id from quarantined)"
    )


def _map(connection: Connection, request: LoadRequest, *, database: str) -> None:
    entity = request.entity
    names = list(entity.tables)
    for position, name in enumerate(names):
        table = TABLE_BY_NAME[f"core.{name}"]
        _map_table(connection, request, table)
        if position == 0 and entity.windowed:
            _forget_known_versions(connection, entity, table, database)
    _quarantine_missing(connection, request, [TABLE_BY_NAME[f"core.{name}"] for name in names])


def _map_table(connection: Connection, request: LoadRequest, table: Table) -> None:
    sql = (request.folder / request.entity.tables[table.name]).read_text()
    columns = ", ".join(
        f'cast({quoted(request.load_id)} as varchar) as "load_id"'
        if c.name == "load_id"
        else f'cast("{c.name}" as {c.duckdb_type}) as "{c.name}"'
        for c in table.columns
    )
    connection.execute(f"create temp table staged_{table.name} as select {columns} from ({_bare(sql)})")


def _forget_known_versions(connection: Connection, entity: Entity, main: Table, database: str) -> None:
    """Leave records alone that core has in this or a later version; only the others are mapped further."""
    newer = "known.modified_at > staged.modified_at"
    same = "known.modified_at = staged.modified_at"
    if "version" in main.column_names:
        same += " and known.version >= staged.version"
    connection.execute(
        f"create temp table known_versions as select staged.{main.key[0]} as key, staged.{_source_id(main)} as id "
        f"from staged_{main.name} as staged join {database}.{main.full_name} as known using ({main.key[0]}) "
        f"where {newer} or ({same})"
    )
    connection.execute(f"delete from staged_{main.name} where {main.key[0]} in (select key from known_versions)")
    connection.execute(
        f"delete from raw where cast(({entity.record_id}) as varchar) in (select id from known_versions)"
    )


def _source_id(table: Table) -> str:
    return next(n for n in table.column_names if n.startswith("source_") and n.endswith("_id"))


def _quarantine_missing(connection: Connection, request: LoadRequest, tables: list[Table]) -> None:
    """A record whose row, or any child row, lacks a required column is quarantined whole."""
    main = tables[0]
    owner = main.key[0]
    connection.execute("create temp table unusable (owner varchar, reason varchar)")
    for table in tables:
        for column in table.required:
            connection.execute(
                f"insert into unusable select distinct {owner}, 'missing {column}' "
                f'from staged_{table.name} where "{column}" is null'
            )
    if not _count(connection, "select count(*) from unusable"):
        return
    prefix = f"{request.source}:"
    connection.execute(
        "insert into quarantined select case when starts_with(owner, ?) then substr(owner, ?) else owner end, "
        "min(reason) from unusable group by owner",
        [prefix, len(prefix) + 1],
    )
    for table in tables:
        connection.execute(f"delete from staged_{table.name} where {owner} in (select owner from unusable)")


def _replace(connection: Connection, database: str, table: Table) -> int:
    """Replace rows by key (by parent where a load brings all rows of a parent)."""
    main = f"staged_{table.name}"
    columns = ", ".join(f'"{c}"' for c in (table.column_names if database == "private" else table.public_column_names))
    key = f"({', '.join(table.key)})" if len(table.key) > 1 else table.key[0]
    if table.parent:
        key, main = table.parent, "staged_transactions"
    connection.execute(
        f"delete from {database}.{table.full_name} where {key} in (select {key.strip('()')} from {main})"
    )
    connection.execute(
        f"insert into {database}.{table.full_name} ({columns}) select {columns} from staged_{table.name}"
    )
    return _count(connection, f"select count(*) from staged_{table.name}")


def _note(connection: Connection, request: LoadRequest, result: LoadResult, now: datetime) -> None:
    values = [
        request.load_id, request.source, request.entity.name, ",".join(request.location_ids),
        request.window.start, request.window.end, request.spool, request.page_count, result.records, result.changed,
        result.quarantined, len(result.unknown_fields), ",".join(result.unknown_fields) or None,
        request.pulled_at, now,
    ]  # fmt: skip
    connection.execute("delete from warehouse.ops.loads where load_id = ?", [request.load_id])
    # By name: a column that a later release added stands last in an older file.
    columns = ", ".join(TABLE_BY_NAME["ops.loads"].column_names)
    connection.execute(f"insert into warehouse.ops.loads ({columns}) values ({', '.join('?' * len(values))})", values)


def _note_quarantine(connection: Connection, request: LoadRequest, now: datetime) -> int:
    connection.execute("delete from warehouse.ops.quarantine where load_id = ?", [request.load_id])
    connection.execute(
        "insert into warehouse.ops.quarantine (load_id, source, entity, record_id, reason, spool_path, quarantined_at) "
        "select ?, ?, ?, record_id, min(reason), ?, ? "
        "from quarantined group by record_id",
        [request.load_id, request.source, request.entity.name, request.spool, now],
    )
    return _count(connection, "select count(distinct record_id) from quarantined")


def _note_completeness(connection: Connection, request: LoadRequest, now: datetime) -> int:
    proof = request.entity.proof
    if proof is None or request.proofs is None:
        return 0
    connection.execute(
        "create temp view proof as select json as record from read_ndjson_objects("
        f"{quoted(request.proofs)}, maximum_object_size = {_LARGEST_RECORD})"
    )
    connection.execute(f"create temp table listed as {_bare((request.folder / proof).read_text())}")
    # What an earlier pull of a part of this window found is answered by this one.
    connection.execute(
        "delete from warehouse.ops.completeness where load_id = ? or (source = ? and entity = ? and "
        "list_contains(?::varchar[], location_id) and window_start_at >= ? and window_end_at <= ?)",
        [
            request.load_id, request.source, request.entity.name, list(request.location_ids),
            request.window.start, request.window.end,
        ],
    )  # fmt: skip
    connection.execute(
        (Path(__file__).parent / "completeness.sql").read_text(),
        {
            "load_id": request.load_id, "source": request.source, "entity": request.entity.name,
            "location_ids": list(request.location_ids), "window_start_at": request.window.start,
            "window_end_at": request.window.end, "checked_at": now,
        },
    )  # fmt: skip
    return _count(
        connection,
        "select sum(missing_count) from warehouse.ops.completeness where load_id = ?",
        [request.load_id],
    )


def _unknown_fields(request: LoadRequest) -> tuple[str, ...]:
    """Top-level fields of the first records that the structure does not name.

    A vendor adds a field to all records at once, so the first thousand tell; parsing every record a second time
    would take more memory than the load itself.
    """
    known = set(json.loads((request.folder / request.entity.structure).read_text()))
    found: set[str] = set()
    with pa.CompressedInputStream(str(request.records), "zstd") as stream:
        lines = io.BufferedReader(stream) if request.page_count else ()
        for line in itertools.islice(lines, _SAMPLE):
            # What is no object has no fields, and is in quarantine.
            with suppress(msgspec.ValidationError):
                found.update(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
    return tuple(sorted(found - known))


def _count(connection: Connection, sql: str, parameters: list[Any] | None = None) -> int:
    row = connection.execute(sql, parameters or []).fetchone()
    return int(row[0] or 0) if row else 0


def _bare(sql: str) -> str:
    return sql.strip().rstrip(";")
