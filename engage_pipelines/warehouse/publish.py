"""Publishing: analysts get a whole, closed copy by rename; whoever has the old one open keeps reading it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass

from engage_pipelines.model import TABLES
from engage_pipelines.warehouse.database import Connection, Warehouse, all_or_nothing
from engage_pipelines.warehouse.mirror import Mirrored, bring_up_to_date


@dataclass(frozen=True, slots=True)
class Published:
    """What was published: rows per table, bytes of the file, seconds it took."""

    rows: dict[str, int]
    bytes: int
    seconds: float


def publish(warehouse: Warehouse, mirrored: Iterable[Mirrored]) -> Published:
    """Refresh the ledger's mirror, then copy the warehouse beside itself and rename the copy into place.

    Args:
        warehouse: the warehouse; only `engage.duckdb` is copied, `private.duckdb` never is.
        mirrored: the ledger's tables.
    """
    began = time.monotonic()
    with warehouse.connection() as connection:
        with all_or_nothing(connection):
            for table in mirrored:
                bring_up_to_date(connection, table)
        connection.execute("checkpoint warehouse")
        rows_per_table = _row_counts(connection)
    with warehouse.locked():
        _copy(warehouse)
    return Published(rows_per_table, warehouse.published_path.stat().st_size, time.monotonic() - began)


def _row_counts(connection: Connection) -> dict[str, int]:
    # Counted, not estimated: the estimate keeps rows that a load has replaced.
    counts = " union all ".join(f"select '{t.full_name}', count(*) from warehouse.{t.full_name}" for t in TABLES)
    return dict(connection.execute(f"{counts} order by 1").fetchall())


def _copy(warehouse: Warehouse) -> None:
    target = warehouse.published_path
    aside = target.with_suffix(f".{os.getpid()}.part")
    try:
        shutil.copyfile(warehouse.path, aside)
        with aside.open("rb+") as copied:
            os.fsync(copied.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
