"""Recording days as they are done, inside a run of many days, so that a failure keeps what came before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Self

import dagster as dg

from engage_pipelines.orchestration.instance_storage import BurstEventLogStorage

# When the step succeeds Dagster notes every partition itself, so noting each of 730 days twice would only cost
# time. Days are noted early when they have waited this long, and at once when the step fails or is stopped.
_PATIENCE_SECONDS = 10.0


class DayRecorder:
    """Notes finished days of assets as materialized while a step is still running.

    Args:
        context: the running step.
        clock: monotonic seconds.
    """

    def __init__(self, context: dg.AssetExecutionContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._waiting: list[tuple[dg.AssetKey, str]] = []
        self._last = clock()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Note what is finished if the step ends badly."""
        if kind is not None:
            self.flush()

    def finished(self, asset_keys: Sequence[dg.AssetKey], days: Sequence[str]) -> None:
        """Days of these assets are committed."""
        self._waiting += [(key, day) for key in asset_keys for day in days]
        if self._clock() - self._last > _PATIENCE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Note everything that waits, now."""
        with self._burst():
            for asset_key, day in self._waiting:
                self._context.log_event(dg.AssetMaterialization(asset_key=asset_key, partition=day))
        self._waiting.clear()
        self._last = self._clock()

    @contextmanager
    def _burst(self) -> Iterator[None]:
        storage = self._context.instance.event_log_storage
        with storage.burst(self._context.run.run_id) if isinstance(storage, BurstEventLogStorage) else nullcontext():
            yield
