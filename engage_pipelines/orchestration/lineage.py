"""What has to be there before what: read from the SQL itself, so that no list can forget a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from engage_pipelines.connector import Destination, Entity, Source, Stream
from engage_pipelines.model import TABLE_BY_NAME

Pair = tuple[Source, Entity]
Pairs = Sequence[Pair]

_COMMENT = re.compile(r"--.*")
_TABLE = re.compile(r"\bcore\.(\w+)")
# All windowed loads read it (the store's time zone makes the business day), through a view that they are given.
_STORES = "stores"


def filled_together(pairs: Pairs) -> list[Pairs]:
    """Entities in groups, so that those which fill the same tables are in one, and no table is in two."""
    groups: list[list[Pair]] = []
    for pair in pairs:
        tables = set(pair[1].tables)
        sharing = [group for group in groups if tables.intersection(tables_of(group))]
        merged = [each for group in sharing for each in group] + [pair]
        groups = [group for group in groups if group not in sharing] + [merged]
    return [sorted(group, key=list(pairs).index) for group in groups]


def tables_of(pairs: Iterable[Pair]) -> list[str]:
    """Names of the core tables that these entities fill, each once."""
    return list(dict.fromkeys(table for _, entity in pairs for table in entity.tables))


def read_by_loads(pairs: Pairs) -> list[str]:
    """Core tables that the mappings of these entities read and others fill."""
    files = [source.folder / file for source, entity in pairs for file in entity.tables.values()]
    windowed = any(entity.windowed for _, entity in pairs)
    return sorted(({_STORES} if windowed else set()).union(_named_in(files)).difference(tables_of(pairs)))


def read_by_delivery(destination: Destination, stream: Stream) -> list[str]:
    """Core tables that a stream's SQL reads."""
    files = [destination.folder / file for file in (stream.sql, stream.rows, stream.correction) if file]
    return sorted({stream.selects}.union(_named_in(files)))


def _named_in(files: Iterable[Path]) -> set[str]:
    statements = (_COMMENT.sub("", file.read_text()) for file in files)
    named = {name for statement in statements for name in _TABLE.findall(statement)}
    return {name for name in named if f"core.{name}" in TABLE_BY_NAME}
