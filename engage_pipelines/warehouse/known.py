"""What core has already of a window: it is left out, and where that is much of it, not even read whole.

A night goes back over the trailing days, and most of what the till lists there is in core as it was. Four fields of a
record tell (its head); only the others are read with all their fields, checked and mapped.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa

from engage_pipelines.warehouse.database import Connection, count_of, quoted
from engage_pipelines.warehouse.load_notes import LARGEST_USUAL_RECORD, LoadRequest, core_tables
from engage_pipelines.warehouse.structure import column_types

# To go through all lines for the new ones costs a fifth of what reading, checking and mapping all of them does.
_WORTH_IT = 0.25
# Bytes that stay in the processor's cache until they are cut into lines: with 4 MB it takes twice the time.
_AT_ONCE = 256 * 1024
_Identity = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class News:
    """What is to be read of a spool.

    Attributes:
        file: NDJSON of the records: the spool's own, or those alone that core has not in this or a later version.
        spool: which file the spool's own was when it was first looked at.
        has_heads: whether `heads` and `known` are there.
    """

    file: Path
    spool: _Identity
    has_heads: bool = False


@contextmanager
def news(connection: Connection, request: LoadRequest, database: str) -> Iterator[News]:
    """Find out what is to be read; the file is there as long as the context is.

    Where core may have some of it, leaves `heads` (key, id, modified_at, version and, with proofs, location_id of every
    record) and `known`, see `find_known`.
    """
    spool = _identity(request.records)
    if not _may_be_known(connection, request) or not _read_heads(connection, request):
        yield News(request.records, spool)
        return
    find_known(connection, request, database, "from heads")
    is_new = _is_new(connection)
    if is_new.count(False) < _WORTH_IT * len(is_new):
        yield News(request.records, spool, has_heads=True)
        return
    with tempfile.NamedTemporaryFile(dir=_temporary_folder(connection), prefix="news-", suffix=".ndjson") as file:
        count = _write_lines(request.records, is_new, file)
        if count == len(is_new) and _identity(request.records) == spool:
            yield News(Path(file.name), spool, has_heads=True)
            return
    yield _without_heads(connection, request)


def confirmed(connection: Connection, request: LoadRequest, found: News, read: Path) -> News:
    """The same once a file was read; without heads if that was the spool's own, and no longer the one they are of."""
    if found.has_heads and read == request.records and _identity(request.records) != found.spool:
        return _without_heads(connection, request)
    return found


def find_known(connection: Connection, request: LoadRequest, database: str, rows: str) -> None:
    """Leave `known` (key, id, is_known): records that core has; is_known: so that they are left out, see `is_known`.

    Args:
        connection: with the rows.
        request: what is loaded.
        database: the file that is asked.
        rows: `from ...` with key, id, modified_at and version.
    """
    main = core_tables(request.entity)[0]
    # A record that came twice is known if both of it are.
    connection.execute(
        f"create temp table known as select staged.key, any_value(staged.id) as id, "
        f"bool_and({is_known(request)}) as is_known from (select key, id, modified_at, version {rows}) as staged "
        f"join {database}.{main.full_name} as held on held.{main.key[0]} = staged.key group by staged.key"
    )


def is_known(request: LoadRequest) -> str:
    """SQL: `held`, a row of core, is of the version of `staged` or of a later one; of a later one, if shaped anew."""
    held, staged = "held.modified_at", "staged.modified_at"
    if "version" in core_tables(request.entity)[0].column_names:
        held, staged = f"({held}, held.version)", f"({staged}, staged.version)"
    return f"{held} {'>' if request.anew else '>='} {staged}"


def _without_heads(connection: Connection, request: LoadRequest) -> News:
    """Another process has put a new pull in the spool's place: what was seen before is not about its records."""
    connection.execute("drop table heads")
    connection.execute("drop table known")
    return News(request.records, _identity(request.records))


def _may_be_known(connection: Connection, request: LoadRequest) -> bool:
    """Whether a part of the window was loaded before; what is pulled for the first time is new."""
    if request.anew or not request.entity.windowed:
        return False
    window = request.window
    return bool(
        count_of(
            connection,
            "select count(*) from warehouse.ops.loads where source = ? and entity = ? and record_count > 0 "
            "and window_end_at > ? and window_start_at < ?",
            [request.source, request.entity.name, window.start, window.end],
        )
    )


def _read_heads(connection: Connection, request: LoadRequest) -> bool:
    """Read the heads, in the order of the file; False if some cannot be read."""
    entity = request.entity
    structure = json.loads((request.folder / entity.structure).read_text())
    place = "location_id" if request.proofs else "null"
    # Names of fields, and of functions, which the structure does not have.
    named = set(re.findall(r"\w+", f"{entity.record_id} {entity.modified_at} {entity.version} {place}"))
    fields = column_types({name: kind for name, kind in structure.items() if name in named})
    try:
        connection.execute(
            f"create temp table heads as select {quoted(request.source + ':')} || ({entity.record_id}) as key, "
            f"cast(({entity.record_id}) as varchar) as id, {entity.modified_at} as modified_at, "
            f"{entity.version} as version, {place} as location_id from read_json({quoted(request.records)}, "
            f"format = 'newline_delimited', columns = {fields}, maximum_object_size = {LARGEST_USUAL_RECORD})"
        )
    except duckdb.InvalidInputException:
        return False
    return True


def _is_new(connection: Connection) -> Sequence[bool]:
    """For each line of the spool, in its order, whether its record has to be read."""
    lines: Sequence[bool] = (
        connection.execute(
            "select coalesce(id not in (select id from known where is_known), true) as is_new from heads order by rowid"
        )
        .fetchnumpy()["is_new"]
        .tolist()
    )
    return lines


def _write_lines(records: Path, is_wanted: Iterable[bool], file: IO[bytes]) -> int:
    """Write the wanted lines of a spool; gives how many lines it has, wanted or not."""
    wanted, count, rest = iter(is_wanted), 0, b""
    with pa.CompressedInputStream(str(records), "zstd") as stream:
        while piece := stream.read(_AT_ONCE):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            count += len(lines)
            if found := list(itertools.compress(lines, wanted)):
                file.write(b"\n".join([*found, b""]))
    file.flush()
    return count


def _temporary_folder(connection: Connection) -> Path:
    """Where the database puts what has no room in memory, too."""
    ((folder,),) = connection.execute("select current_setting('temp_directory')").fetchall()
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def _identity(file: Path) -> _Identity:
    told = file.stat()
    return told.st_ino, told.st_size, told.st_mtime_ns
