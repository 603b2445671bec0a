"""What a load notes about itself: the load, quarantine, completeness, versions, unknown fields."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from engage_pipelines.connector import Entity, Window
from engage_pipelines.model import TABLE_BY_NAME, Table
from engage_pipelines.warehouse.database import Connection, Warehouse, bare, count_of, quoted

# 16 MiB: a wholesale order with thousands of lines is one JSON object.
LARGEST_RECORD = 16 * 1024 * 1024
# 2 MiB: DuckDB sets aside twice the largest record per thread. A larger one takes the slow path, which sets aside more.
LARGEST_USUAL_RECORD = 2 * 1024 * 1024
# The second question is answered in a few fields per record.
_LARGEST_PROOF = 1024 * 1024
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
        anew: records that core has in this version are shaped and written once more: the mapping has changed.
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
    anew: bool = False


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


def core_tables(entity: Entity) -> list[Table]:
    """The tables that an entity fills, its main table first."""
    return [TABLE_BY_NAME[f"core.{name}"] for name in entity.tables]


def note_load(connection: Connection, request: LoadRequest, result: LoadResult, now: datetime) -> None:
    """Note the load itself, in the place of an earlier run of the same window."""
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


def note_quarantine(connection: Connection, request: LoadRequest, now: datetime) -> int:
    """Note the records that could not become rows; gives how many."""
    connection.execute("delete from warehouse.ops.quarantine where load_id = ?", [request.load_id])
    connection.execute(
        "insert into warehouse.ops.quarantine (load_id, source, entity, record_id, reason, spool_path, quarantined_at) "
        "select ?, ?, ?, record_id, min(reason), ?, ? "
        "from quarantined group by record_id",
        [request.load_id, request.source, request.entity.name, request.spool, now],
    )
    return count_of(connection, "select count(distinct record_id) from quarantined")


def list_proofs(connection: Connection, request: LoadRequest) -> None:
    """Read the answer to the second question into the temporary table `listed`."""
    connection.execute(
        "create temp view proof as select json as record from read_ndjson_objects("
        f"{quoted(request.proofs)}, maximum_object_size = {_LARGEST_PROOF})"
    )
    sql = (request.folder / str(request.entity.proof)).read_text()
    connection.execute(f"create temp table listed as {bare(sql)}")


def note_completeness(connection: Connection, request: LoadRequest, now: datetime) -> int:
    """Compare what landed with what the till lists, location by location; gives the records missing."""
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
    return count_of(
        connection,
        "select sum(missing_count) from warehouse.ops.completeness where load_id = ?",
        [request.load_id],
    )


def unknown_fields(request: LoadRequest) -> tuple[str, ...]:
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


def note_versions(connection: Connection, now: datetime) -> None:
    """Add the versions of receipts that this load brought; a version that is known already stays as it is."""
    columns = "transaction_id, modified_at, version, status, total_amount, load_id"
    brought = (
        f"insert into warehouse.ops.versions ({columns}, loaded_at) select {columns}, ? from staged_transactions as s"
    )
    connection.execute(f"{brought} where transaction_id not in (select key from replaced)", [now])
    # Only a receipt that core had before can have a version that is known.
    if count_of(connection, "select count(*) from replaced"):
        connection.execute(
            f"{brought} where transaction_id in (select key from replaced) and not exists (from warehouse.ops.versions "
            "as v where v.transaction_id = s.transaction_id and v.modified_at = s.modified_at "
            "and v.version = s.version)",
            [now],
        )


def loaded_already(warehouse: Warehouse, requests: Sequence[LoadRequest]) -> set[str]:
    """The load ids of those whose spool is in core as it is: whole, and with nothing in quarantine."""
    with warehouse.connection() as connection:
        rows = connection.execute(
            "with asked as (select unnest(?::varchar[]) as load_id, unnest(?::timestamptz[]) as pulled_at) "
            "select load_id from ops.loads join asked using (load_id, pulled_at) where quarantined_count = 0 "
            "and load_id not in (select load_id from ops.completeness where not is_complete)",
            [[request.load_id for request in requests], [request.pulled_at for request in requests]],
        ).fetchall()
    return {row[0] for row in rows}
