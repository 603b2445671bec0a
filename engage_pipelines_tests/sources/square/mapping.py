"""Runs a Square entity's SQL over records in memory, in the order a load does it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engage_pipelines.model import CORE_TABLES, TABLE_BY_NAME
from engage_pipelines.sources.square import SQUARE, SquareOptions
from engage_pipelines.warehouse.database import Connection, bare, register_currencies, scratch_connection, set_variables
from engage_pipelines.warehouse.staging import as_staged
from engage_pipelines.warehouse.structure import column_types
from engage_pipelines_tests.core_row import put_row

LONDON = {
    "store_id": "square:L1", "source": "square", "source_store_id": "L1", "name": "London",
    "time_zone": "Europe/London", "currency": "GBP", "country_code": "GB", "is_active": True,
    "modified_at": "2020-01-01 00:00:00+00", "load_id": "before",
}  # fmt: skip
SETTINGS = {"business_day_cutover": 240, "default_country": "GB", "fallback_time_zone": "UTC"}
ENTITIES = {entity.name: entity for entity in SQUARE.entities}


@dataclass
class Shop:
    """A core with some rows in it, and what the last load put into quarantine."""

    connection: Connection
    folder: Path
    quarantined: list[tuple[str | None, str]]

    def load(self, entity_name: str, records: Iterable[Mapping[str, Any] | bytes], **options: Any) -> Shop:
        """Load records of an entity as the engine would: typed read, newest, checks, mapping, replace by key."""
        entity, run = ENTITIES[entity_name], self.connection.execute
        set_variables(self.connection, {**SquareOptions(**options).model_dump(), **SETTINGS})
        run("create or replace temp table stores as from core.stores")
        structure = json.loads((SQUARE.folder / entity.structure).read_text())
        spool = self.folder / "records.ndjson"
        spool.write_bytes(b"".join(_bytes(record) + b"\n" for record in records))
        run(
            "create or replace temp table raw as select * from read_json(?, format = 'newline_delimited', columns = "
            f"{column_types(structure)}) qualify row_number() over (partition by {entity.record_id} "
            f"order by {entity.modified_at} desc nulls last, {entity.version} desc) = 1",
            [str(spool)],
        )
        self.quarantined = run((SQUARE.folder / entity.checks).read_text()).fetchall()
        run(f"delete from raw where ({entity.record_id}) is null")
        bad = [record_id for record_id, _ in self.quarantined if record_id is not None]
        run(f"delete from raw where list_contains(?::varchar[], {entity.record_id})", [bad])
        for name, sql in entity.tables.items():
            self._stage(name, (SQUARE.folder / sql).read_text())
        for name in entity.tables:
            table = TABLE_BY_NAME[f"core.{name}"]
            key = ", ".join([table.parent] if table.parent else table.key)
            parent = "transactions" if table.parent else name
            run(f"delete from core.{name} where ({key}) in (select {key} from staged_{parent})")
            run(f"insert into core.{name} by name from staged_{name}")
        return self

    def _stage(self, name: str, sql: str) -> None:
        table = TABLE_BY_NAME[f"core.{name}"]
        columns = ", ".join(as_staged(column, "'now'") for column in table.columns)
        self.connection.execute(
            f"create or replace temp table staged_{name} as select {columns} from ({bare(sql)}) as shaped"
        )

    def put(self, table: str, *rows: Mapping[str, Any]) -> Shop:
        """Put rows into a core table as earlier loads would have left them."""
        for row in rows:
            put_row(self.connection, table, row)
        return self

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a core table in the order of its key."""
        keys = ", ".join(TABLE_BY_NAME[f"core.{table}"].key)
        return self.connection.sql(f"from core.{table} order by {keys}").to_arrow_table().to_pylist()

    def row(self, table: str) -> dict[str, Any]:
        """The only row of a core table."""
        (row,) = self.rows(table)
        return row

    def reasons(self) -> dict[str | None, list[str]]:
        """Record id -> why it is in quarantine."""
        found: dict[str | None, list[str]] = {}
        for record_id, reason in self.quarantined:
            found.setdefault(record_id, []).append(reason)
        return found


def open_shop(folder: Path, stores: Sequence[Mapping[str, Any]] = (LONDON,)) -> Shop:
    """An empty core with these stores."""
    connection = scratch_connection()
    connection.execute("create schema core")
    for table in CORE_TABLES:
        connection.execute(table.ddl())
    register_currencies(connection)
    return Shop(connection, folder, []).put("stores", *stores)


def _bytes(record: Mapping[str, Any] | bytes) -> bytes:
    return record if isinstance(record, bytes) else json.dumps(record).encode()
