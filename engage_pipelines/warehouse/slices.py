"""Receipts in slices: planning a history of millions must not hold more than some thousands of them at once.

Slices are cut in the order in which receipts lie in the warehouse. Whatever a load brought together lies together, so
the lines and payments of a slice lie in a narrow range of their tables, and a slice reads that range and no more. The
ranges come from one look at the tables' keys. A load brings a receipt with all its lines anew, so what was changed
late lies at the end for all of them. And for the same reason whoever knows a receipt's load knows that of its lines:
rows of other loads are passed over without a look at their keys, also where a plan needs no slices.

The plan is in the order of keys all the same. Each slice leaves its records sorted in a file of its own, cut at the
same keys as all others; the plan then takes the first piece of every file, the second, and so on.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from engage_pipelines.model import TABLES
from engage_pipelines.on_use import pq
from engage_pipelines.warehouse.database import Connection, count_of

# Receipts planned at once; lists of lines cannot leave memory while they are gathered.
SIZE = 10_000
# Small: the sender reads them one after the other and must not hold the whole plan.
ROW_GROUP = 4096
_RECEIPTS = "transactions"
_TABLES = (_RECEIPTS, *(table.name for table in TABLES if table.parent == "transaction_id"))
_CHILDREN = tuple(name for name in _TABLES if name != _RECEIPTS)
_OF_THE_LOADS = "load_id in (select load_id from considered_loads)"


@dataclass(frozen=True, slots=True)
class Slice:
    """Some receipts, by where they and what belongs to them lie.

    Attributes:
        number: place among the slices, from 0.
        ranges: table -> first and last row; a table that has nothing of the slice is missing.
    """

    number: int
    ranges: dict[str, tuple[int, int]]


def pass_over_other_loads(connection: Connection) -> None:
    """Let the tables of lines and payments show the rows of the loads that brought `considered` receipts only.

    A day among years would else be looked for in all of them, by texts; a block has a load's name once.
    """
    connection.execute("create table considered_loads as select distinct load_id from considered")
    _show(connection, lambda _: _OF_THE_LOADS)


def find_slices(connection: Connection, condition: str) -> list[Slice]:
    """Cut the receipts of `condition` into slices; none at all if they are few enough to be planned at once."""
    receipts = f"warehouse.core.{_RECEIPTS}"
    count = -(-count_of(connection, f"select count(*) from {receipts} where {condition}") // SIZE)
    if count <= 1:
        return []
    connection.execute(
        f"create table sliced as select rowid as place, transaction_id, "
        f"ntile({count}) over (order by rowid) - 1 as slice from {receipts} where {condition}"
    )
    found: dict[int, Slice] = {}
    for name in _TABLES:
        place = "place" if name == _RECEIPTS else "t.rowid"
        join = (
            ""
            if name == _RECEIPTS
            else f"join warehouse.core.{name} as t using (transaction_id) where t.{_OF_THE_LOADS}"
        )
        rows = connection.execute(
            f"select slice, min({place}), max({place}) from sliced {join} group by slice order by slice"
        ).fetchall()
        for number, first, last in rows:
            found.setdefault(number, Slice(number, {})).ranges[name] = (first, last)
    return list(found.values())


def narrow(connection: Connection) -> None:
    """Let the tables of lines and payments show the rows of a slice only, for every cursor its own."""
    _show(connection, within)


def within(name: str) -> str:
    """The condition that a row of a table lies in the range of the slice that is looked at."""
    return f"rowid between getvariable('{name}_from') and getvariable('{name}_to')"


def _show(connection: Connection, condition_of: Callable[[str], str]) -> None:
    for name in _CHILDREN:
        connection.execute(
            f"create or replace view core.{name} as select * from warehouse.core.{name} where {condition_of(name)}"
        )


def look_at(cursor: Connection, part: Slice) -> None:
    """Make a slice the one that a cursor sees."""
    for name in _TABLES:
        first, last = part.ranges.get(name, (0, -1))
        cursor.execute(f"set variable {name}_from = {first}::bigint")
        cursor.execute(f"set variable {name}_to = {last}::bigint")


def find_cuts(connection: Connection, count: int) -> list[str]:
    """Keys that cut all receipts into so many pieces."""
    rows = connection.execute(
        f"select min(transaction_id) from (select transaction_id, ntile({count}) over (order by transaction_id) "
        "as piece from sliced) group by piece order by piece"
    ).fetchall()
    return [row[0] for row in rows][1:]


class Pieces:
    """Files of sorted records, one per slice, each cut at the same keys."""

    def __init__(self, folder: Path, cuts: Sequence[str]) -> None:
        self._folder = folder
        self._cuts = cuts

    def put(self, number: int, records: pa.Table) -> None:
        """Keep the records of a slice, which are in the order of their `record_key`."""
        keys = records["record_key"].to_pylist()
        places = [0, *(bisect_left(keys, cut) for cut in self._cuts), len(keys)]
        with pa.OSFile(str(self._file(number)), "wb") as sink, pa.ipc.new_file(sink, records.schema) as writer:
            for start, end in pairwise(places):
                # One batch each, also for nothing: its number is that of the piece.
                piece = records.slice(start, end - start).combine_chunks().to_batches()
                writer.write_batch(piece[0] if piece else pa.RecordBatch.from_pylist([], records.schema))

    def merge(self, file: Path, count: int) -> None:
        """Write the records of all slices to a Parquet file, in the order of their keys."""
        with _readers([self._file(number) for number in range(count)]) as readers:
            schema = readers[0].schema
            with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer:
                for piece in range(len(self._cuts) + 1):
                    records = pa.Table.from_batches([reader.get_batch(piece) for reader in readers], schema)
                    writer.write_table(records.sort_by("record_key"), row_group_size=ROW_GROUP)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"


@contextmanager
def pieces(temporary: Path, cuts: Sequence[str]) -> Iterator[Pieces]:
    """A place for the records of the slices; the caller holds the warehouse's lock, so it is alone there."""
    folder = temporary / "slices"
    folder.mkdir(parents=True)
    try:
        yield Pieces(folder, cuts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _readers(files: Sequence[Path]) -> Iterator[list[pa.RecordBatchFileReader]]:
    sources = [pa.OSFile(str(file), "rb") for file in files]
    try:
        yield [pa.ipc.open_file(source) for source in sources]
    finally:
        for source in sources:
            source.close()
