"""Rows of core tables that a test puts in by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from engage_pipelines.model import TABLE_BY_NAME, digest


def put_row(connection: duckdb.DuckDBPyConnection, table: str, row: Mapping[str, Any]) -> None:
    """Put one row into `core.<table>`; its digests are made as a load makes them."""
    declared = TABLE_BY_NAME[f"core.{table}"]
    columns = [c for c in declared.columns if c.name in row or c.digest_of in row]
    values = {c.name: digest(f"${c.digest_of}") if c.digest_of else f"${c.name}" for c in columns}
    connection.execute(
        f"insert into {declared.full_name} ({', '.join(values)}) values ({', '.join(values.values())})", dict(row)
    )
