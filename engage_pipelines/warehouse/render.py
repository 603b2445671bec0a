"""Rendering planned payloads as the lines of a file, in SQL."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa

from engage_pipelines.warehouse.database import Connection, quoted, scratch_connection


class Renderer:
    """Turns payloads into files; holds one scratch connection for many files, and several threads take turns."""

    def __init__(self, rows_sql: Path) -> None:
        self._sql = rows_sql.read_text().strip().rstrip(";")
        self._connection: Connection = scratch_connection()
        self._turn = threading.Lock()

    def render(self, payloads: pa.Table, file: Path) -> int:
        """Write the lines of `payloads` (`record_key, payload`) to `file`; gives lines without the header."""
        with self._turn:
            return render_rows(self._connection, self._sql, payloads, file)

    def close(self) -> None:
        """Close the scratch connection."""
        self._connection.close()


def render_rows(connection: Connection, sql: str, payloads: pa.Table, file: Path) -> int:
    """Run `sql` over the view `payloads` and write its rows as semicolon CSV with a header."""
    connection.register("payloads", payloads)
    try:
        row = connection.execute(
            f"copy ({sql}) to {quoted(file)} (format csv, delimiter ';', header true, quote '', nullstr '')"
        ).fetchone()
    finally:
        connection.unregister("payloads")
    return int(row[0]) if row else 0
