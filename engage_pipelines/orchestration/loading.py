"""Loading several entities of many days in one step, so that a failure on one day keeps the days before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import dagster as dg

from engage_pipelines.connector import Entity, Window
from engage_pipelines.ingest import Loaded
from engage_pipelines.operations import Desk
from engage_pipelines.orchestration.lineage import Pairs
from engage_pipelines.orchestration.partitions import each_day
from engage_pipelines.orchestration.recording import DayRecorder
from engage_pipelines.warehouse import LoadResult


@dataclass(slots=True)
class LoadedTogether:
    """What the loads of a step did: rows per table, and the other counts over all entities."""

    rows: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("records", "changed", "quarantined", "missing"), 0)
    )

    def add(self, loaded: Loaded) -> None:
        """Count one entity in."""
        for table, count in loaded.rows.items():
            self.rows[table] = self.rows.get(table, 0) + count
        for name in self.totals:
            self.totals[name] += getattr(loaded, name)


def load_days(
    desk: Desk, pairs: Pairs, days: tuple[date, date], recorder: DayRecorder, *, reread: bool, anew: bool = False
) -> LoadedTogether:
    """Load the windowed entities of the days `first..last`, one entity after the other.

    A table's day is done when every entity that fills the table has loaded it. When one entity fails on a
    day, the others still load the days before it, and those are noted.

    Raises:
        Exception: the first failure, after the days before it are whole.
    """
    together, problem = LoadedTogether(), None
    for source, entity in pairs:
        noted = _Noted(desk, recorder, _finished_with(pairs, entity), days)
        try:
            together.add(desk.load(source, entity, days, noted.window_is_loaded, reread=reread, anew=anew))
        except Exception as error:  # noqa: BLE001 - raised below, when the days before it are whole
            problem = problem or error
            if (whole := noted.days_before_the_first_gap()) is None:
                break
            days = whole
    if problem is not None:
        raise problem
    return together


def load_present_state(desk: Desk, pairs: Pairs, days: tuple[date, date]) -> LoadedTogether:
    """Load the entities that show the present state."""
    together = LoadedTogether()
    for source, entity in pairs:
        together.add(desk.load(source, entity, days))
    return together


@dataclass(slots=True)
class _Noted:
    """Hears of an entity's committed windows and notes their days for the tables that wait for nothing else."""

    desk: Desk
    recorder: DayRecorder
    tables: list[str]
    days: tuple[date, date]
    _done: set[str] = field(default_factory=set)

    def window_is_loaded(self, window: Window, result: LoadResult) -> None:
        if result.missing:
            # The till has more of these days: they are pulled again, and are not done.
            return
        first, last = self.days
        day, end = self.desk.settings.day_of(window.start), self.desk.settings.day_of(window.end)
        finished = each_day(max(day, first), min(end, last + timedelta(days=1)))
        self._done.update(finished)
        self.recorder.finished([dg.AssetKey(["core", table]) for table in self.tables], finished)

    def days_before_the_first_gap(self) -> tuple[date, date] | None:
        first, last = self.days
        end = first
        while end <= last and end.isoformat() in self._done:
            end += timedelta(days=1)
        return (first, end - timedelta(days=1)) if end > first else None


def _finished_with(pairs: Pairs, entity: Entity) -> list[str]:
    """Tables whose last filling entity is `entity`."""
    last: dict[str, str] = {}
    for _, each in pairs:
        last.update(dict.fromkeys(each.tables, each.name))
    return [table for table, name in last.items() if name == entity.name]
