"""Staging pulled windows: from their spools to temporary tables with the rows as core will have them.

The order: what core has already -> read typed -> newest version per record -> checks -> map the records -> map what
belongs to them -> required columns. A record that cannot become a row is put aside for quarantine and stops nothing
else; one that core already has in this or a later version is left out (see `known.py`). Nothing of the warehouse is
changed here, so windows may be staged while an earlier one is written, up to what may refer to other windows: a refund
has its tender's type, which that one may bring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from engage_pipelines.connector import Entity
from engage_pipelines.model import Column, Table, digest
from engage_pipelines.warehouse.database import Connection, bare, count_of, quoted, register_currencies, set_variables
from engage_pipelines.warehouse.known import News, confirmed, find_known, is_known, news
from engage_pipelines.warehouse.load_notes import list_proofs
from engage_pipelines.warehouse.load_request import Bundle, NotTogetherError, core_tables, list_windows
from engage_pipelines.warehouse.spools import number_of_file, read_files
from engage_pipelines.warehouse.structure import as_text, column_types, leaf_count, wrong_shape


def stage(connection: Connection, bundle: Bundle, database: str) -> list[int]:
    """Read and check spools and map their records against one of the two files; gives the records in each.

    Leaves `windows`, `landed` (window_number, id and, with proofs, location_id of every record), `raw`, `quarantined`,
    `staged_<main table>` and with proofs `listed`.

    Raises:
        NotTogetherError: several windows, of which one has to be read by itself.
    """
    _prepare(connection, bundle)
    with news(connection, bundle, database) as found:
        read = _read_records(connection, bundle, found.files)
    found = confirmed(connection, bundle, found, read)
    records = _note_what_landed(connection, bundle, found)
    _keep_the_newest(connection, bundle)
    _run_checks(connection, bundle)
    _map_records(connection, bundle, database, found)
    return records


def stage_rest(connection: Connection, bundle: Bundle) -> None:
    """Map what belongs to the records, once all earlier windows are written; leaves every `staged_<table>`."""
    tables = core_tables(bundle.entity)
    for table in tables[1:]:
        _map_table(connection, bundle, table)
    _quarantine_missing(connection, bundle, tables)
    connection.execute("drop table raw")


def _prepare(connection: Connection, bundle: Bundle) -> None:
    set_variables(connection, bundle.variables)
    register_currencies(connection)
    list_windows(connection, bundle)
    connection.execute(
        "create temp table stores as select store_id, source, source_store_id, time_zone, currency, "
        "country_code from core.stores"
    )
    connection.execute("create temp table quarantined (record_id varchar, reason varchar)")


def _read_records(connection: Connection, bundle: Bundle, files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Read files into `pulled`; gives which ones they were in the end."""
    structure = json.loads((bundle.folder / bundle.entity.structure).read_text())
    try:
        connection.execute(
            f"create temp table pulled as select * exclude (engage_spool), {number_of_file(files)} as window_number "
            f"from {read_files(files, column_types(structure))}"
        )
    except duckdb.InvalidInputException as error:
        if bundle.are_several:
            raise NotTogetherError("a record has to be looked at by itself") from error
        # All of the spool: what has no id is called by its line there.
        _read_one_by_one(connection, structure, bundle.spools[0])
        return bundle.spools
    return files


def _read_one_by_one(connection: Connection, structure: dict[str, Any], file: Path) -> None:
    """The slow path: a value does not fit its type; find the misfits and keep the others."""
    connection.execute(
        f"create temp table texts as select row_number() over () as line, json, "
        f"json_transform(json, '{json.dumps(structure)}') as typed, "
        f"json_transform(json, '{json.dumps(as_text(structure))}') as untyped "
        "from read_ndjson_objects(?)",
        [str(file)],
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
        "create temp table pulled as select unnest(typed), 1 as window_number from texts "
        "where line not in (from misfits) order by line"
    )


def _note_what_landed(connection: Connection, bundle: Bundle, found: News) -> list[int]:
    """Keep the ids of all records of the spools, to be compared with a list; gives how many each has."""
    place = "location_id" if bundle.has_proofs else "null as location_id"
    of_all, record_id = "heads", "id"
    if not found.has_heads:
        of_all, record_id = "pulled", f"cast(({bundle.entity.record_id}) as varchar) as id"
    connection.execute(f"create temp table landed as select window_number, {record_id}, {place} from {of_all}")
    if bundle.has_proofs:
        list_proofs(connection, bundle)
    # A head is there of every record, of those that do not fit as well.
    misfits = "0" if found.has_heads else "(select count(*) from quarantined)"
    counted = f"select number, count(window_number) + {misfits} from windows left join landed "
    counted += "on window_number = number group by number order by number"
    return [count for _, count in connection.execute(counted).fetchall()]


def _keep_the_newest(connection: Connection, bundle: Bundle) -> None:
    """Make `raw` of what was pulled: each record once."""
    entity = bundle.entity
    twice = f"select count(*) > count(distinct {entity.record_id}) from pulled"
    if not count_of(connection, twice):
        # The usual case: nothing came twice, so there is no need for a second copy in memory.
        connection.execute("alter table pulled rename to raw")
        return
    if bundle.are_several:
        # It may be in two of the windows: each brings its version.
        raise NotTogetherError("a record came twice, or without an id")
    connection.execute(
        f"create temp table raw as select * from pulled qualify ({entity.record_id}) is null or row_number() over "
        f"(partition by {entity.record_id} order by {entity.modified_at} desc nulls last, {entity.version} desc) = 1"
    )
    connection.execute("drop table pulled")


def _run_checks(connection: Connection, bundle: Bundle) -> None:
    sql = (bundle.folder / bundle.entity.checks).read_text()
    connection.execute(
        f"insert into quarantined select coalesce(record_id, 'record without id'), reason from ({bare(sql)})"
    )
    record_id = bundle.entity.record_id
    connection.execute(
        f"delete from raw where ({record_id}) is null or ({record_id}) in (select record_id from quarantined)"
    )


def _map_records(connection: Connection, bundle: Bundle, database: str, found: News) -> None:
    entity, main = bundle.entity, core_tables(bundle.entity)[0]
    if bundle.are_several:
        connection.execute(
            f"create temp table load_of as select {quoted(bundle.source + ':')} || id as key, load_id "
            "from landed join windows on number = window_number where id is not null group by all"
        )
    _map_table(connection, bundle, main)
    if not entity.windowed:
        # Of a whole state any row may be there in another form.
        connection.execute(f"create temp table replaced as select {main.key[0]} as key from staged_{main.name}")
        return
    if not found.has_heads:
        find_known(connection, bundle, database, f"from ({_heads_of(main)})")
    _leave_out_known(connection, entity, main)


def _heads_of(main: Table) -> str:
    source_id = next(n for n in main.column_names if n.startswith("source_") and n.endswith("_id"))
    version = "version" if "version" in main.column_names else "0 as version"
    return f"select {main.key[0]} as key, {source_id} as id, modified_at, {version} from staged_{main.name}"


def _map_table(connection: Connection, bundle: Bundle, table: Table) -> None:
    sql = bare((bundle.folder / bundle.entity.tables[table.name]).read_text())
    load_id, source = quoted(bundle.requests[0].load_id), f"({sql}) as shaped"
    if bundle.are_several:
        owner = core_tables(bundle.entity)[0].key[0]
        load_id, source = "load_of.load_id", f"{source} left join load_of on load_of.key = shaped.{owner}"
    columns = ", ".join(as_staged(column, load_id) for column in table.columns)
    connection.execute(f"create temp table staged_{table.name} as select {columns} from {source}")


def as_staged(column: Column, load_id: str) -> str:
    """SQL: a column of a staged table, of what a mapping gives as `shaped`, or made by the load itself."""
    value = f'shaped."{column.name}"'
    if column.name == "load_id":
        value = load_id
    elif column.digest_of:
        value = digest(f'shaped."{column.digest_of}"')
    return f'cast({value} as {column.duckdb_type}) as "{column.name}"'


def _leave_out_known(connection: Connection, entity: Entity, main: Table) -> None:
    """Leave records out that core has in this or a later version; only the others are mapped further."""
    connection.execute(f"delete from staged_{main.name} where {main.key[0]} in (select key from known where is_known)")
    connection.execute(
        f"delete from raw where cast(({entity.record_id}) as varchar) in (select id from known where is_known)"
    )
    # The others take the place of an older version.
    connection.execute("create temp table replaced as select key from known where not is_known")


def leave_out_written(connection: Connection, bundle: Bundle, database: str, load_ids: Sequence[str]) -> None:
    """The same once more, against the windows that were written after this one was staged."""
    if not load_ids:
        return
    tables = core_tables(bundle.entity)
    main, owner = tables[0], tables[0].key[0]
    connection.execute(
        f"create temp table written as select staged.{owner} as key, {is_known(bundle)} as is_known "
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


def _quarantine_missing(connection: Connection, bundle: Bundle, tables: list[Table]) -> None:
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
    prefix = f"{bundle.source}:"
    connection.execute(
        "insert into quarantined select case when starts_with(owner, ?) then substr(owner, ?) else owner end, "
        "min(reason) from unusable group by owner",
        [prefix, len(prefix) + 1],
    )
    for table in tables:
        connection.execute(f"delete from staged_{table.name} where {owner} in (select owner from unusable)")
