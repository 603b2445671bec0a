"""The file importer: picks up what lies in the drop folder, in the order stores, contacts, transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engage_pipelines.sandbox.voyado.tables import Tenant

STORES = "stores"
CONTACTS = "integration/contactImport"
TRANSACTIONS = "integration/transactionImport"
_UNFINISHED = (".tmp", ".part")


class RefusedFileError(Exception):
    """The whole file is refused."""


@dataclass(frozen=True, slots=True)
class Table:
    """A file that could be read.

    Attributes:
        name: file name, for the log.
        columns: header cells.
        rows: data rows, each as wide as the header.
    """

    name: str
    columns: tuple[str, ...]
    rows: list[list[str]]

    def require(self, names: Sequence[str]) -> None:
        """Refuse the file if columns are missing."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise RefusedFileError(f"columns missing: {', '.join(missing)}")


# Takes the rows of a file in; gives one line for the log.
Reader = Callable[[sqlite3.Connection, Table], str]


def read_table(path: Path, line_limit: int) -> Table:
    """Read a CSV file by Voyado's rules: UTF-8, `;`, header, no quoting of any kind.

    Raises:
        RefusedFileError: it breaks one of them.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedFileError("the file is not UTF-8") from error
    if '"' in text:
        raise RefusedFileError("a quote character in a value")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    columns = tuple(lines[0].split(";"))
    if len(set(columns)) != len(columns) or columns[0].startswith("\ufeff"):
        raise RefusedFileError("the header row has a byte order mark or a column twice")
    if len(lines) - 1 > line_limit:
        raise RefusedFileError(f"{len(lines) - 1} lines, at most {line_limit} are allowed")
    rows = [line.split(";") for line in lines[1:]]
    wrong = next((number for number, row in enumerate(rows, 2) if len(row) != len(columns)), None)
    if wrong:
        raise RefusedFileError(f"line {wrong} has a wrong number of columns")
    return Table(path.name, columns, rows)


class FileImporter:
    """Imports and deletes the files in the drop folder.

    Args:
        tenant: file, clock and log.
        drop: the folder that callers see as `/` over SFTP.
        readers: folder below `drop` -> what takes its files in; in the order of import.
        line_limit: most lines of a file, header not counted.
    """

    def __init__(self, tenant: Tenant, drop: Path, readers: dict[str, Reader], *, line_limit: int) -> None:
        self._tenant = tenant
        self._drop = drop
        self._readers = readers
        self._line_limit = line_limit
        for folder in readers:
            (drop / folder).mkdir(parents=True, exist_ok=True)

    def waiting(self) -> list[str]:
        """Finished files that wait for the next import."""
        return [f"{folder}/{path.name}" for folder in self._readers for path in self._finished(self._drop / folder)]

    def run(self) -> int:
        """Import everything that is finished; gives the number of files."""
        done = 0
        for folder, reader in self._readers.items():
            for path in self._finished(self._drop / folder):
                self._take(path, reader)
                done += 1
        return done

    def _finished(self, folder: Path) -> list[Path]:
        # A sender writes under another name and renames: what is still being written is left alone.
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.endswith(_UNFINISHED))

    def _take(self, path: Path, reader: Reader) -> None:
        try:
            table = self._read(path)
            with self._tenant.holdings.change() as change:
                summary = reader(change, table)
                self._tenant.log(change, "file_imported", "file", path.name, summary)
        except RefusedFileError as error:
            with self._tenant.holdings.change() as change:
                self._tenant.log(change, "file_failed", "file", path.name, str(error))
        path.unlink()

    def _read(self, path: Path) -> Table:
        if path.suffix.lower() != ".csv":
            raise RefusedFileError("only CSV files are taken here")
        return read_table(path, self._line_limit)
