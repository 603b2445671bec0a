"""What is asked of a load and what it tells; windows that are loaded together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from engage_pipelines.connector import Entity, Window
from engage_pipelines.model import TABLE_BY_NAME, Table
from engage_pipelines.warehouse.database import Connection

# Windows of a bundle at most, however little is in them: so many have to be repeated after a crash.
_MOST_WINDOWS = 50


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One finished spool and how to read it.

    Attributes:
        source: source name.
        entity: its declaration.
        folder: where the source's SQL and structure files are.
        load_id: key of the load.
        window: modification window that was pulled.
        location_ids: locations that were asked.
        spool: folder of the spool, relative to the lake.
        records: NDJSON file of the records.
        proofs: NDJSON file of the second question's answer, if it was asked.
        page_count: pages pulled.
        byte_count: bytes of the records before compression.
        pulled_at: when the pull ended.
        variables: options and settings that the SQL reads.
        anew: records that core has in this version are shaped and written once more: the mapping has changed.
    """

    source: str
    entity: Entity
    folder: Path
    load_id: str
    window: Window
    location_ids: tuple[str, ...]
    spool: str
    records: Path
    proofs: Path | None
    page_count: int
    byte_count: int
    pulled_at: datetime
    variables: Mapping[str, Any] = field(default_factory=dict)
    anew: bool = False


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load did.

    Attributes:
        records: records in the spool.
        changed: records new or changed.
        quarantined: records put into quarantine.
        missing: records that the till lists but that were not pulled.
        unknown_fields: top-level fields that the mapping does not know.
        rows: rows written per core table.
    """

    records: int
    changed: int
    quarantined: int
    missing: int
    unknown_fields: tuple[str, ...]
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Windows of one entity that are staged and written together, each with a load of its own.

    What comes of it is what loading them one after the other gives. Where that is not certain, it is done:
    see `NotTogetherError`.

    Attributes:
        requests: what is loaded, in order; with a single one it is the usual load of a window.
    """

    requests: tuple[LoadRequest, ...]

    @property
    def source(self) -> str:
        """Source name."""
        return self.requests[0].source

    @property
    def entity(self) -> Entity:
        """What is loaded."""
        return self.requests[0].entity

    @property
    def folder(self) -> Path:
        """Where the source's SQL and structure files are."""
        return self.requests[0].folder

    @property
    def variables(self) -> Mapping[str, Any]:
        """Options and settings that the SQL reads."""
        return self.requests[0].variables

    @property
    def anew(self) -> bool:
        """True if what core has in this version is written once more."""
        return self.requests[0].anew

    @property
    def has_proofs(self) -> bool:
        """True if the second question was asked."""
        return self.requests[0].proofs is not None

    @property
    def are_several(self) -> bool:
        """True if there is more than one window."""
        return len(self.requests) > 1

    @property
    def load_ids(self) -> list[str]:
        """The key of each load."""
        return [request.load_id for request in self.requests]

    @property
    def spools(self) -> tuple[Path, ...]:
        """The file of records of each window."""
        return tuple(request.records for request in self.requests)

    @property
    def byte_count(self) -> int:
        """Bytes of the records before compression."""
        return sum(request.byte_count for request in self.requests)

    def takes(self, request: LoadRequest, most_bytes: int) -> bool:
        """True if one more window may be loaded with these: of the same kind, and not too much in all."""
        first = self.requests[0]
        return (
            len(self.requests) < _MOST_WINDOWS
            and request.entity is first.entity
            and request.entity.windowed
            and (request.source, request.anew, request.variables) == (first.source, first.anew, first.variables)
            and (request.proofs is None) == (first.proofs is None)
            and self.byte_count + request.byte_count <= most_bytes
        )


class NotTogetherError(Exception):
    """Windows that have to be loaded one by one, so that each has what loading it alone gives."""


def core_tables(entity: Entity) -> list[Table]:
    """The tables that an entity fills, its main table first."""
    return [TABLE_BY_NAME[f"core.{name}"] for name in entity.tables]


def list_windows(connection: Connection, bundle: Bundle) -> None:
    """Create the temporary table `windows`, numbered from 1; what was staged says by number where it is from."""
    connection.execute(
        "create temp table windows (number integer, load_id varchar, window_start_at timestamptz, "
        "window_end_at timestamptz, location_ids varchar[], spool_path varchar)"
    )
    for number, request in enumerate(bundle.requests, 1):
        connection.execute(
            "insert into windows values (?, ?, ?, ?, ?::varchar[], ?)",
            [
                number, request.load_id, request.window.start, request.window.end, list(request.location_ids),
                request.spool,
            ],
        )  # fmt: skip
