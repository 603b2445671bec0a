"""Loading: finished spools into the warehouse, each whole or not at all, then the bookmark.

Those of a range that are in the lake, or those of a pull that is still under way, each as soon as it is whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from engage_pipelines.connector import Entity, Source, Window
from engage_pipelines.errors import IncompleteError
from engage_pipelines.ingest.pull import Pulling
from engage_pipelines.ingest.spool import Manifest, Spool
from engage_pipelines.state import Bookmarks
from engage_pipelines.warehouse import LoadRequest, LoadResult, Warehouse, load_windows, loaded_already

Progress = Callable[[int, int], None]
OnWindow = Callable[[Window, LoadResult], None]

_NOTHING = LoadResult(records=0, changed=0, quarantined=0, missing=0, unknown_fields=(), rows={})


@dataclass(slots=True)
class Loaded:
    """What a load did: windows, records, changed, quarantined, missing, rows per table, seconds."""

    windows: int = 0
    records: int = 0
    changed: int = 0
    quarantined: int = 0
    missing: int = 0
    unknown_fields: set[str] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, result: LoadResult) -> None:
        """Count one window in."""
        self.windows += 1
        self.records += result.records
        self.changed += result.changed
        self.quarantined += result.quarantined
        self.missing += result.missing
        self.unknown_fields |= set(result.unknown_fields)
        for table, count in result.rows.items():
            self.rows[table] = self.rows.get(table, 0) + count


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Where an entity's spools are loaded to, how they are read, and who hears of it.

    Attributes:
        warehouse: the warehouse.
        bookmarks: how far each location is loaded.
        source: the till.
        entity: what is loaded.
        lake: folder of all spools.
        variables: options and settings that the SQL reads.
        now: the clock.
        progress: hears of (windows done, windows in all).
        on_window: hears of each window as it commits.
    """

    warehouse: Warehouse
    bookmarks: Bookmarks
    source: Source
    entity: Entity
    lake: Path
    variables: Mapping[str, Any]
    now: Callable[[], datetime]
    progress: Progress
    on_window: OnWindow

    def load_range(self, start: datetime, end: datetime, *, only_new: bool = False, anew: bool = False) -> Loaded:
        """Load the finished spools whose window overlaps `[start, end)`.

        Each window is written whole or not at all; the bookmark follows it. With `only_new` a spool that core has as
        it is, is not read again. With `anew` also records that core has in the same version are shaped and written.

        Raises:
            IncompleteError: the till lists records that were not pulled; the windows before and after are
                loaded, the bookmark stays in front of the gap.
        """
        spools = _overlapping(Spool(self.lake, self.source.name, self.entity.name), self.entity, start, end)
        requests = [self._request(folder, manifest, anew=anew) for folder, manifest in spools]
        account = _Account(self, len(requests))
        # Closed here: after a failure nobody else would close the warehouse before the error is dealt with.
        known = loaded_already(self.warehouse, requests) if only_new else set()
        fresh = [request for request in requests if request.load_id not in known]
        with closing(load_windows(self.warehouse, fresh, now=self.now)) as results:
            for request in requests:
                account.note(request, _NOTHING if request.load_id in known else next(results)[1])
        return account.closed()

    def load_arriving(self, pulling: Pulling) -> Loaded:
        """Load the windows of a pull, each as soon as it is whole.

        Raises:
            IncompleteError: see `load_range`.
            CredentialsError, RetryableError, ContractError: the pull's; what was whole before is loaded.
        """
        account = _Account(self, pulling.left)
        with closing(load_windows(self.warehouse, _Arriving(self, pulling), now=self.now)) as results:
            for request, result in results:
                account.note(request, result)
        return account.closed()

    def _request(self, folder: Path, manifest: Manifest, *, anew: bool = False) -> LoadRequest:
        source, entity, proofs = self.source, self.entity, folder / "proof.ndjson.zst"
        return LoadRequest(
            source=source.name,
            entity=entity,
            folder=source.folder,
            load_id=f"{source.name}:{entity.name}:{folder.name}",
            window=Window(manifest.window_start, manifest.window_end),
            location_ids=manifest.location_ids,
            spool=str(folder.relative_to(self.lake)),
            records=folder / "records.ndjson.zst",
            proofs=proofs if manifest.proofs is not None else None,
            page_count=manifest.pages,
            byte_count=manifest.bytes,
            pulled_at=manifest.pulled_at,
            variables=self.variables,
            anew=anew,
        )


@dataclass(frozen=True, slots=True)
class _Arriving:
    """The windows of a pull, as the warehouse asks for them."""

    loading: Loading
    pulling: Pulling

    @property
    def left(self) -> int:
        return self.pulling.left

    def next(self, *, within: float) -> LoadRequest | None:
        found = self.pulling.next(within=within)
        return self.loading._request(*found) if found else None  # noqa: SLF001 - of the same file


class _Account:
    """What has been loaded so far: counted, told, and the bookmark moved as far as there is no gap."""

    def __init__(self, loading: Loading, total: int) -> None:
        self._loading = loading
        self._total = total
        self._began = time.monotonic()
        self._loaded, self._gaps = Loaded(), list[str]()

    def note(self, request: LoadRequest, result: LoadResult) -> None:
        loading, window = self._loading, request.window
        self._loaded.add(result)
        if result.missing:
            self._gaps.append(f"{window.start:%Y-%m-%d}..{window.end:%Y-%m-%d} ({result.missing})")
        elif not self._gaps:
            loading.bookmarks.advance(
                loading.source.name, loading.entity.name, request.location_ids, window.start, window.end
            )
        loading.on_window(window, result)
        loading.progress(self._loaded.windows, self._total)

    def closed(self) -> Loaded:
        """Everything together.

        Raises:
            IncompleteError: there is a gap.
        """
        self._loaded.seconds = time.monotonic() - self._began
        if self._gaps:
            raise IncompleteError(
                f"{self._loading.source.name} {self._loading.entity.name}: the till lists records that were not "
                f"pulled, in {', '.join(self._gaps)}; see ops.completeness, then pull these days again"
            )
        return self._loaded


def _overlapping(spool: Spool, entity: Entity, start: datetime, end: datetime) -> list[tuple[Path, Manifest]]:
    finished = spool.finished()
    if not entity.windowed:
        # Each spool is a whole present state: an older one must never replace a newer one.
        return finished[-1:]
    inside = [
        item
        for position, item in enumerate(finished)
        if item[1].window_end > start
        and item[1].window_start < end
        and not any(_covers(later, item[1]) for _, later in finished[position + 1 :])
    ]
    return sorted(inside, key=lambda item: item[1].window_start)


def _covers(later: Manifest, earlier: Manifest) -> bool:
    """True if a later pull asked for all that an earlier one did: what that one missed no longer matters."""
    return (
        later.window_start <= earlier.window_start
        and later.window_end >= earlier.window_end
        and set(later.location_ids) >= set(earlier.location_ids)
        and bool(later.location_ids) == bool(earlier.location_ids)
    )
