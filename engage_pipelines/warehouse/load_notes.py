"""What a load notes about itself: the load, quarantine, completeness, versions, unknown fields."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.warehouse.database import Connection, Warehouse, bare, count_of, quoted
from engage_pipelines.warehouse.load_request import Bundle, LoadRequest, LoadResult, NotTogetherError
from engage_pipelines.warehouse.spools import lines_of

# Records that are looked through for fields that the mapping does not know.
_SAMPLE = 1000


def note_loads(connection: Connection, bundle: Bundle, results: Sequence[LoadResult], now: datetime) -> None:
    """Note the loads themselves, each in the place of an earlier run of the same window."""
    connection.execute("delete from warehouse.ops.loads where load_id in (select load_id from windows)")
    # By name: a column that a later release added stands last in an older file.
    columns = TABLE_BY_NAME["ops.loads"].column_names
    sql = f"insert into warehouse.ops.loads ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"
    for request, result in zip(bundle.requests, results, strict=True):
        values = [
            request.load_id, request.source, request.entity.name, ",".join(request.location_ids),
            request.window.start, request.window.end, request.spool, request.page_count, result.records,
            result.changed, result.quarantined, len(result.unknown_fields), ",".join(result.unknown_fields) or None,
            request.pulled_at, now,
        ]  # fmt: skip
        connection.execute(sql, values)


def put_aside(connection: Connection, bundle: Bundle) -> None:
    """Make `aside` of `quarantined`: each record with its window's number.

    Raises:
        NotTogetherError: a record cannot tell by its id which window it is of.
    """
    number, source = "1", "quarantined"
    if bundle.are_several:
        number, source = "window_number", "quarantined left join landed on id = record_id"
    connection.execute(
        f"create temp table aside as select {number} as window_number, record_id, min(reason) as reason "
        f"from {source} group by all"
    )
    if count_of(connection, "select count(*) from aside where window_number is null"):
        raise NotTogetherError("a record that cannot be read has no id")


def note_quarantine(connection: Connection, bundle: Bundle, now: datetime) -> None:
    """Note the records that could not become rows."""
    connection.execute("delete from warehouse.ops.quarantine where load_id in (select load_id from windows)")
    connection.execute(
        "insert into warehouse.ops.quarantine (load_id, source, entity, record_id, reason, spool_path, quarantined_at) "
        "select load_id, ?, ?, record_id, reason, spool_path, ? from aside join windows on number = window_number",
        [bundle.source, bundle.entity.name, now],
    )


def list_proofs(connection: Connection, bundle: Bundle) -> None:
    """Read the answers to the second question into the temporary table `listed`."""
    sql = bare((bundle.folder / str(bundle.entity.proof)).read_text())
    for number, request in enumerate(bundle.requests, 1):
        connection.execute(
            "create or replace temp view proof as select json as record from "
            f"read_ndjson_objects({quoted(request.proofs)})"
        )
        into = "create temp table listed as" if number == 1 else "insert into listed by name"
        connection.execute(f"{into} select {number} as window_number, * from ({sql})")


def note_completeness(connection: Connection, bundle: Bundle, now: datetime) -> dict[int, int]:
    """Compare what landed with what the till lists, location by location; gives the records missing by window."""
    # What an earlier pull of a part of this window found is answered by this one.
    connection.execute(
        "delete from warehouse.ops.completeness as c using windows as w where c.load_id = w.load_id or (c.source = ? "
        "and c.entity = ? and list_contains(w.location_ids, c.location_id) "
        "and c.window_start_at >= w.window_start_at and c.window_end_at <= w.window_end_at)",
        [bundle.source, bundle.entity.name],
    )
    connection.execute(
        (Path(__file__).parent / "completeness.sql").read_text(),
        {"source": bundle.source, "entity": bundle.entity.name, "checked_at": now},
    )
    missing = connection.execute(
        "select number, sum(missing_count) from warehouse.ops.completeness join windows using (load_id) group by number"
    ).fetchall()
    return {number: int(count) for number, count in missing}


def unknown_fields(request: LoadRequest) -> tuple[str, ...]:
    """Top-level fields of the first records that the structure does not name.

    A vendor adds a field to all records at once, so the first thousand tell; parsing every record a second time
    would take more memory than the load itself.
    """
    known = set(json.loads((request.folder / request.entity.structure).read_text()))
    found: set[str] = set()
    lines = lines_of(request.records) if request.page_count else ()
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
            # Else all of them are read: the blocks know their bounds, the comparison alone does not use them.
            "and v.version = s.version and v.modified_at >= (select min(modified_at) from staged_transactions))",
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
