"""Staging one pulled window: from the spool to temporary tables with the rows as core will have them.

The order: read typed -> newest version per record -> checks -> map the records -> map what belongs to them -> required
columns. A record that cannot become a row is put aside for quarantine and stops nothing else; one that core already has
in this or a later version is left out. Nothing of the warehouse is changed here, so windows may be staged while an
earlier one is written, up to what may refer to other windows: a refund has its tender's type, which that one may bring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import duckdb

from engage_pipelines.connector import Entity
from engage_pipelines.model import TABLE_BY_NAME, Table
from engage_pipelines.warehouse.database import Connection, bare, count_of, quoted, register_currencies, set_variables
from engage_pipelines.warehouse.load_notes import LARGEST_RECORD, LoadRequest, list_proofs
from engage_pipelines.warehouse.structure import as_text, column_types, leaf_count, wrong_shape

# 2 MiB: DuckDB sets aside twice the largest record per thread. A larger one takes the slow path, which sets aside more.
_LARGEST_USUAL_RECORD = 2 * 1024 * 1024


def core_tables(entity: Entity) -> list[Table]:
    """The tables that an entity fills, its main table first."""
    return [TABLE_BY_NAME[f"core.{name}"] for name in entity.tables]


def stage(connection: Connection, request: LoadRequest, database: str) -> int:
    """Read and check a spool and map its records against one of the two files; gives the records in the spool.

    Leaves `staged_<main table>`, `raw`, `quarantined`, and with proofs `landed_ids` and `listed`.
    """
    records = _read(connection, request)
    _run_checks(connection, request)
    _map_records(connection, request, database)
    return records


def stage_rest(connection: Connection, request: LoadRequest) -> None:
    """Map what belongs to the records, once all earlier windows are written; leaves every `staged_<table>`."""
    tables = core_tables(request.entity)
    for table in tables[1:]:
        _map_table(connection, request, table)
    _quarantine_missing(connection, request, tables)
    connection.execute("drop table raw")


def _read(connection: Connection, request: LoadRequest) -> int:
    _prepare(connection, request)
    _read_records(connection, request)
    entity = request.entity
    records = count_of(connection, "select count(*) from pulled")
    if request.proofs:
        connection.execute("create temp table landed_ids as select id, location_id from pulled")
        list_proofs(connection, request)
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
            f"columns = {column_types(structure)}, maximum_object_size = {_LARGEST_USUAL_RECORD})",
            [files],
        )
    except duckdb.InvalidInputException:
        _read_one_by_one(connection, structure, files)


def _read_one_by_one(connection: Connection, structure: dict[str, Any], files: list[str]) -> None:
    """The slow path: a value does not fit its type, or a record is huge; find the misfits and keep the others."""
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
    record_id = request.entity.record_id
    connection.execute(
        f"delete from raw where ({record_id}) is null or ({record_id}) in (select record_id from quarantined)"
    )


def _map_records(connection: Connection, request: LoadRequest, database: str) -> None:
    entity, main = request.entity, core_tables(request.entity)[0]
    _map_table(connection, request, main)
    if entity.windowed:
        _leave_out_known(connection, entity, main, database)
    else:
        # Of a whole state any row may be there in another form.
        connection.execute(f"create temp table replaced as select {main.key[0]} as key from staged_{main.name}")


def _map_table(connection: Connection, request: LoadRequest, table: Table) -> None:
    sql = (request.folder / request.entity.tables[table.name]).read_text()
    columns = ", ".join(
        f'cast({quoted(request.load_id)} as varchar) as "load_id"'
        if c.name == "load_id"
        else f'cast("{c.name}" as {c.duckdb_type}) as "{c.name}"'
        for c in table.columns
    )
    connection.execute(f"create temp table staged_{table.name} as select {columns} from ({bare(sql)})")


def _leave_out_known(connection: Connection, entity: Entity, main: Table, database: str) -> None:
    """Leave records out that core has in this or a later version; only the others are mapped further."""
    source_id = next(n for n in main.column_names if n.startswith("source_") and n.endswith("_id"))
    key = main.key[0]
    connection.execute(
        f"create temp table known as select staged.{key} as key, staged.{source_id} as id, "
        f"{_is_not_newer(main)} as is_known from staged_{main.name} as staged "
        f"join {database}.{main.full_name} as held using ({key})"
    )
    connection.execute(f"delete from staged_{main.name} where {key} in (select key from known where is_known)")
    connection.execute(
        f"delete from raw where cast(({entity.record_id}) as varchar) in (select id from known where is_known)"
    )
    # The others take the place of an older version.
    connection.execute("create temp table replaced as select key from known where not is_known")


def leave_out_written(connection: Connection, entity: Entity, database: str, load_ids: Sequence[str]) -> None:
    """The same once more, against the windows that were written after this one was staged."""
    if not load_ids:
        return
    tables = core_tables(entity)
    main, owner = tables[0], tables[0].key[0]
    connection.execute(
        f"create temp table written as select staged.{owner} as key, {_is_not_newer(main)} as is_known "
        f"from staged_{main.name} as staged join {database}.{main.full_name} as held using ({owner}) "
        f"where list_contains(?::varchar[], held.load_id)",
        [list(load_ids)],
    )
    connection.execute("insert into replaced select key from written where not is_known")
    if count_of(connection, "select count(*) from written where is_known"):
        for table in tables:
            connection.execute(
                f"delete from staged_{table.name} where {owner} in (select key from written where is_known)"
            )


def _is_not_newer(main: Table) -> str:
    same = "held.modified_at = staged.modified_at"
    if "version" in main.column_names:
        same += " and held.version >= staged.version"
    return f"held.modified_at > staged.modified_at or ({same})"


def _quarantine_missing(connection: Connection, request: LoadRequest, tables: list[Table]) -> None:
    """A record whose row, or any child row, lacks a required column is quarantined whole."""
    owner = tables[0].key[0]
    connection.execute("create temp table unusable (owner varchar, reason varchar)")
    for table in tables:
        is_missing = {column: f'"{column}" is null' for column in table.required}
        reasons = ", ".join(f"if({condition}, 'missing {column}', null)" for column, condition in is_missing.items())
        connection.execute(
            f"insert into unusable select distinct owner, reason from (select {owner} as owner, "
            f"unnest([{reasons}]) as reason from staged_{table.name} where {' or '.join(is_missing.values())}) "
            "where reason is not null"
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
