"""Pulling: ask the till for windows, side by side, and spool what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engage_pipelines.connector import Entity, Scope, Window
from engage_pipelines.http_client import VendorClient
from engage_pipelines.ingest.spool import Manifest, Spool

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought: windows, pages, records, bytes (uncompressed), calls and seconds."""

    windows: int
    pages: int
    records: int
    bytes: int
    calls: int
    seconds: float


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _no_progress(done: int, total: int) -> None:
    del done, total


def pull(
    client: VendorClient,
    entity: Entity,
    *,
    source: str,
    lake: Path,
    windows: Sequence[Window],
    location_ids: Sequence[str],
    options: Any,
    progress: Progress = _no_progress,
    now: Callable[[], datetime] = _utc_now,
) -> Pulled:
    """Pull an entity's windows into the spool.

    Args:
        client: the source's client; its `in_flight` is how many windows are pulled side by side.
        entity: what to pull.
        source: source name.
        lake: folder of all spools.
        windows: what to pull; an entity that is not windowed is pulled once, as of the last end.
        location_ids: the till's locations.
        options: the source's options.
        progress: called with (windows done, windows in all).
        now: the clock.

    Raises:
        CredentialsError, RetryableError, ContractError: as the client and the connector say; windows that
        were finished stay, the others are not there.
    """
    began, calls = time.monotonic(), client.calls
    spool = Spool(lake, source, entity.name)
    spool.sweep()
    scopes = [
        Scope(window, locations, options)
        for window in (windows if entity.windowed else windows[-1:])
        for locations in _groups(entity, location_ids)
    ]
    manifests: list[Manifest] = []
    pull_scope = _until_one_fails(lambda scope: _pull_scope(client, entity, spool, scope, now))
    with ThreadPoolExecutor(max_workers=max(1, client.limits.in_flight)) as pool:
        futures = [pool.submit(pull_scope, scope) for scope in scopes]
        try:
            for future in futures:
                manifests.append(future.result())
                progress(len(manifests), len(scopes))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return Pulled(
        windows=len(scopes),
        pages=sum(m.pages for m in manifests),
        records=sum(m.records for m in manifests),
        bytes=sum(m.bytes for m in manifests),
        calls=client.calls - calls,
        seconds=time.monotonic() - began,
    )


def _until_one_fails(work: Callable[[Scope], Manifest]) -> Callable[[Scope], Manifest]:
    """The same work, but none is begun after one has failed: a refused key is refused for every window."""
    is_over = threading.Event()

    def work_or_leave(scope: Scope) -> Manifest:
        if is_over.is_set():
            # The one that failed was begun before this one, so its error is the one that is told.
            raise CancelledError
        try:
            return work(scope)
        except BaseException:
            is_over.set()
            raise

    return work_or_leave


def _groups(entity: Entity, location_ids: Sequence[str]) -> list[tuple[str, ...]]:
    if not entity.per_location:
        return [()]
    ordered, step = sorted(location_ids), entity.locations_per_call
    return [tuple(ordered[i : i + step]) for i in range(0, len(ordered), step)]


def _pull_scope(
    client: VendorClient, entity: Entity, spool: Spool, scope: Scope, now: Callable[[], datetime]
) -> Manifest:
    return spool.write(
        scope.window,
        scope.location_ids,
        entity.pull(client, scope),
        # The second question comes after the first: what was changed in between shows as moved, not missing.
        entity.prove(client, scope) if entity.prove else None,
        now=now,
    )
