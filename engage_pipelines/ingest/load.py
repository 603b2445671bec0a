"""Loading: every finished spool of a range into the warehouse, one transaction each, then the bookmark."""

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


def load(
    warehouse: Warehouse,
    bookmarks: Bookmarks,
    *,
    source: Source,
    entity: Entity,
    lake: Path,
    start: datetime,
    end: datetime,
    variables: Mapping[str, Any],
    now: Callable[[], datetime],
    progress: Progress,
    on_window: OnWindow,
    only_new: bool = False,
) -> Loaded:
    """Load the finished spools whose window overlaps `[start, end)`.

    Each window is one transaction; the bookmark follows it. `on_window` hears of each as it commits. With `only_new`
    a spool that core has as it is, is not read again.

    Raises:
        IncompleteError: the till lists records that were not pulled; the windows before and after are
            loaded, the bookmark stays in front of the gap.
    """
    began = time.monotonic()
    spools = _overlapping(Spool(lake, source.name, entity.name), entity, start, end)
    loaded, gaps = Loaded(), []
    requests = [_request(source, entity, lake, folder, manifest, variables) for folder, manifest in spools]
    # Closed here: after a failure nobody else would close the warehouse before the error is dealt with.
    known = loaded_already(warehouse, requests) if only_new else set()
    fresh = [request for request in requests if request.load_id not in known]
    with closing(load_windows(warehouse, fresh, now=now)) as results:
        for position, request in enumerate(requests, start=1):
            window, result = request.window, _NOTHING if request.load_id in known else next(results)
            loaded.add(result)
            if result.missing:
                gaps.append(f"{window.start:%Y-%m-%d}..{window.end:%Y-%m-%d} ({result.missing})")
            elif not gaps:
                bookmarks.advance(source.name, entity.name, request.location_ids, window.start, window.end)
            on_window(window, result)
            progress(position, len(requests))
    loaded.seconds = time.monotonic() - began
    if gaps:
        raise IncompleteError(
            f"{source.name} {entity.name}: the till lists records that were not pulled, in {', '.join(gaps)}; "
            "see ops.completeness, then pull these days again"
        )
    return loaded


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


def _request(
    source: Source, entity: Entity, lake: Path, folder: Path, manifest: Manifest, variables: Mapping[str, Any]
) -> LoadRequest:
    proofs = folder / "proof.ndjson.zst"
    return LoadRequest(
        source=source.name,
        entity=entity,
        folder=source.folder,
        load_id=f"{source.name}:{entity.name}:{folder.name}",
        window=Window(manifest.window_start, manifest.window_end),
        location_ids=manifest.location_ids,
        spool=str(folder.relative_to(lake)),
        records=folder / "records.ndjson.zst",
        proofs=proofs if manifest.proofs is not None else None,
        page_count=manifest.pages,
        pulled_at=manifest.pulled_at,
        variables=variables,
    )
