"""Reading the files of records of one window or several, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engage_pipelines.warehouse.database import quoted

# 16 MiB: a wholesale order with thousands of lines is one JSON object.
LARGEST_RECORD = 16 * 1024 * 1024
# 2 MiB: DuckDB sets aside twice the largest record per thread. A larger one takes the slow path, which sets aside more.
_LARGEST_USUAL_RECORD = 2 * 1024 * 1024


def read_files(files: Sequence[Path], columns: str) -> str:
    """SQL: the records of some files with these columns, and `engage_spool`, the file that each is of."""
    return (
        f"read_json({_list(files)}, format = 'newline_delimited', columns = {columns}, "
        f"maximum_object_size = {_LARGEST_USUAL_RECORD}, filename = 'engage_spool')"
    )


def number_of_file(files: Sequence[Path]) -> str:
    """SQL over `read_files`: which of the files a record is of, counted from 1."""
    return f"cast(list_position({_list(files)}, engage_spool) as integer)" if len(files) > 1 else "1"


def _list(files: Sequence[Path]) -> str:
    return f"[{', '.join(quoted(file) for file in files)}]"
