"""Reading the files of records of one window or several, in their order."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from engage_pipelines.warehouse.database import quoted


def read_files(files: Sequence[Path], columns: str) -> str:
    """SQL: the records of some files with these columns, and `engage_spool`, the file that each is of."""
    return f"read_json({_list(files)}, format = 'newline_delimited', columns = {columns}, filename = 'engage_spool')"


def lines_of(file: Path) -> Iterator[bytes]:
    """The records of a spool as they were sent, each with the end of its line."""
    with pa.CompressedInputStream(str(file), "zstd") as stream:
        yield from io.BufferedReader(stream)


def number_of_file(files: Sequence[Path]) -> str:
    """SQL over `read_files`: which of the files a record is of, counted from 1."""
    return f"cast(list_position({_list(files)}, engage_spool) as integer)" if len(files) > 1 else "1"


def _list(files: Sequence[Path]) -> str:
    return f"[{', '.join(quoted(file) for file in files)}]"
