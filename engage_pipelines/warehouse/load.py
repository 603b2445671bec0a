"""Loading one pulled window: raw records in, core rows out, in one transaction.

The order: read typed -> newest version per record -> checks -> map -> required columns -> replace by key
-> note the load. A record that cannot become a row goes to quarantine and stops nothing else. A record
that core already has in this or a later version is left alone, so windows may be loaded in any order and
any number of times.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import duckdb

from engage_pipelines.connector import Entity
from engage_pipelines.model import TABLE_BY_NAME, Table
from engage_pipelines.warehouse.database import (
    Connection,
    Warehouse,
    all_or_nothing,
    bare,
    count_of,
    quoted,
    register_currencies,
    set_variables,
)
from engage_pipelines.warehouse.load_notes import (
    LARGEST_RECORD,
    LoadRequest,
    LoadResult,
    note_completeness,
    note_load,
    note_quarantine,
    note_versions,
    unknown_fields,
)
from engage_pipelines.warehouse.structure import as_text, column_types, leaf_count, wrong_shape


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
            quarantined = note_quarantine(connection, request, now)
            missing = note_completeness(connection, request, now) if request.proofs else 0
            if "transactions" in rows:
                note_versions(connection, now)
            result = LoadResult(records, next(iter(rows.values())), quarantined, missing, unknown_fields(request), rows)
            note_load(connection, request, result, now)
    return result


def _read(connection: Connection, request: LoadRequest) -> int:
    """Read the spool into temporary tables; before the transaction, which a value that does not fit would break."""
    _prepare(connection, request)
    _read_records(connection, request)
    entity = request.entity
    records = count_of(connection, "select count(*) from pulled")
    if request.proofs:
        connection.execute("create temp table landed_ids as select id, location_id from pulled")
    if count_of(connection, f"select count(distinct {entity.record_id}) from pulled") == records:
        # The usual case: nothing came twice, so there is no need for a second copy in memory.
        connection.execute("alter table pulled rename to raw")
    else:
        connection.execute(
            f"create temp table raw as select * from pulled qualify ({entity.record_id}) is null or row_number() "
            f"over (partition by {entity.record_id} order by {entity.newest} desc nulls last) = 1"
        )
        connection.execute("drop table pulled")
    return records + count_of(connection, "select count(*) from quarantined")


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
            f"columns = {column_types(structure)}, maximum_object_size = {LARGEST_RECORD})",
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
        f"from read_ndjson_objects(?, maximum_object_size = {LARGEST_RECORD})",
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
        f"insert into quarantined select coalesce(record_id, 'record without id'), reason from ({bare(sql)})"
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
    connection.execute(f"create temp table staged_{table.name} as select {columns} from ({bare(sql)})")


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
    if not count_of(connection, "select count(*) from unusable"):
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
    return count_of(connection, f"select count(*) from staged_{table.name}")
