"""What core has already of a window: it is left out, and where that is much of it, not even read whole.

A night goes back over the trailing days, and most of what the till lists there is in core as it was. Four fields of a
record tell (its head); only the others are read with all their fields, checked and mapped.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa

from engage_pipelines.model import Table, digest
from engage_pipelines.warehouse.database import Connection, count_of, quoted
from engage_pipelines.warehouse.load_request import Bundle, core_tables
from engage_pipelines.warehouse.spools import number_of_file, read_files
from engage_pipelines.warehouse.structure import column_types

# To go through all lines for the new ones costs a fifth of what reading, checking and mapping all of them does.
_WORTH_IT = 0.25
# Bytes that stay in the processor's cache until they are cut into lines: with 4 MB it takes twice the time.
_AT_ONCE = 256 * 1024
_Identity = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class News:
    """What is to be read of the spools of a bundle.

    Attributes:
        files: NDJSON of the records, one of each window: the spool's own, or those alone that core has not in this or
            a later version.
        spools: which files the spools' own were when they were first looked at.
        has_heads: whether `heads` and `known` are there.
    """

    files: tuple[Path, ...]
    spools: tuple[_Identity, ...]
    has_heads: bool = False


@contextmanager
def news(connection: Connection, bundle: Bundle, database: str) -> Iterator[News]:
    """Find out what is to be read; the files are there as long as the context is.

    Where core may have some of it, leaves `heads` (window_number, key, id, modified_at, version and, with proofs,
    location_id of every record) and `known`, see `find_known`.
    """
    spools = _identities(bundle)
    if not _may_be_known(connection, bundle) or not _read_heads(connection, bundle):
        yield News(bundle.spools, spools)
        return
    find_known(connection, bundle, database, "from heads")
    is_new = _is_new(connection, bundle)
    if sum(lines.count(False) for lines in is_new) < _WORTH_IT * sum(map(len, is_new)):
        yield News(bundle.spools, spools, has_heads=True)
        return
    with ExitStack() as files:
        written = []
        for spool, lines in zip(bundle.spools, is_new, strict=True):
            file = files.enter_context(_file_beside(connection))
            if _write_lines(spool, lines, file) != len(lines):
                break
            written.append(Path(file.name))
        if len(written) == len(spools) and _identities(bundle) == spools:
            yield News(tuple(written), spools, has_heads=True)
            return
    yield _without_heads(connection, bundle)


def confirmed(connection: Connection, bundle: Bundle, found: News, read: tuple[Path, ...]) -> News:
    """The same once files were read; without heads if those were the spools' own, and no longer what they are of."""
    if found.has_heads and read == bundle.spools and _identities(bundle) != found.spools:
        return _without_heads(connection, bundle)
    return found


def find_known(connection: Connection, bundle: Bundle, database: str, rows: str) -> None:
    """Leave `known` (key, id, is_known): records that core has; is_known: so that they are left out, see `is_known`.

    Args:
        connection: with the rows.
        bundle: what is loaded.
        database: the file that is asked.
        rows: `from ...` with key, id, modified_at and version.
    """
    main = core_tables(bundle.entity)[0]
    # A record that came twice is known if both of it are.
    connection.execute(
        f"create temp table known as with {held(main, database, f'select key {rows}')} "
        f"select staged.key, any_value(staged.id) as id, bool_and({is_known(bundle)}) as is_known "
        f"from (select key, id, modified_at, version {rows}) as staged join held using (key) group by staged.key"
    )


def held(table: Table, database: str, keys: str) -> str:
    """SQL for `with`: `held`, the rows of a table with some keys, and those few that share a digest with them.

    Its columns are the table's with `key`, the owner's, and `place`, by which a row is found until the next commit.
    Each part is made before the next one is read: else all of the table's keys are.
    """
    owner, name = table.key[0], f"{database}.{table.full_name}"
    return (
        f"places as materialized (select rowid as place from {name} where {may_be_of(table, owner, keys)}), "
        f"held as materialized (select rowid as place, {owner} as key, * from {name} "
        "where rowid in (select place from places))"
    )


def may_be_of(table: Table, owner: str, keys: str) -> str:
    """SQL: a row's owner is one of some keys, or, where the table has digests, shares one with them."""
    column = table.digest_of(owner)
    return f"{column} in (select {digest('key')} from ({keys}))" if column else f"{owner} in ({keys})"


def is_known(bundle: Bundle) -> str:
    """SQL: `held`, a row of core, is of the version of `staged` or of a later one; of a later one, if shaped anew."""
    held, staged = "held.modified_at", "staged.modified_at"
    if "version" in core_tables(bundle.entity)[0].column_names:
        held, staged = f"({held}, held.version)", f"({staged}, staged.version)"
    return f"{held} {'>' if bundle.anew else '>='} {staged}"


def _without_heads(connection: Connection, bundle: Bundle) -> News:
    """Another process has put a new pull in a spool's place: what was seen before is not about its records."""
    connection.execute("drop table heads")
    connection.execute("drop table known")
    return News(bundle.spools, _identities(bundle))


def _may_be_known(connection: Connection, bundle: Bundle) -> bool:
    """Whether a part of a window was loaded before; what is pulled for the first time is new."""
    if bundle.anew or not bundle.entity.windowed:
        return False
    return bool(
        count_of(
            connection,
            "select count(*) from warehouse.ops.loads as l join windows as w on l.window_end_at > w.window_start_at "
            "and l.window_start_at < w.window_end_at where l.source = ? and l.entity = ? and l.record_count > 0",
            [bundle.source, bundle.entity.name],
        )
    )


def _read_heads(connection: Connection, bundle: Bundle) -> bool:
    """Read the heads, in the order of the files; False if some cannot be read."""
    entity = bundle.entity
    structure = json.loads((bundle.folder / entity.structure).read_text())
    place = "location_id" if bundle.has_proofs else "null"
    # Names of fields, and of functions, which the structure does not have.
    named = set(re.findall(r"\w+", f"{entity.record_id} {entity.modified_at} {entity.version} {place}"))
    fields = column_types({name: kind for name, kind in structure.items() if name in named})
    try:
        connection.execute(
            f"create temp table heads as select {number_of_file(bundle.spools)} as window_number, "
            f"{quoted(bundle.source + ':')} || ({entity.record_id}) as key, "
            f"cast(({entity.record_id}) as varchar) as id, {entity.modified_at} as modified_at, "
            f"{entity.version} as version, {place} as location_id from {read_files(bundle.spools, fields)}"
        )
    except duckdb.InvalidInputException:
        return False
    return True


def _is_new(connection: Connection, bundle: Bundle) -> list[list[bool]]:
    """For each window and each line of its spool, in its order, whether the record has to be read."""
    lines = connection.execute(
        "select window_number, coalesce(id not in (select id from known where is_known), true) as is_new "
        "from heads order by rowid"
    ).fetchnumpy()
    numbers = range(1, len(bundle.requests) + 1)
    return [lines["is_new"][lines["window_number"] == number].tolist() for number in numbers]


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


def _file_beside(connection: Connection) -> AbstractContextManager[IO[bytes]]:
    """A file where the database puts what has no room in memory, too."""
    ((folder,),) = connection.execute("select current_setting('temp_directory')").fetchall()
    Path(folder).mkdir(parents=True, exist_ok=True)
    return tempfile.NamedTemporaryFile(dir=folder, prefix="news-", suffix=".ndjson")


def _identities(bundle: Bundle) -> tuple[_Identity, ...]:
    return tuple((told.st_ino, told.st_size, told.st_mtime_ns) for told in map(Path.stat, bundle.spools))
