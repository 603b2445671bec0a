"""The Dagster instance's storage: SQLite under the data folder, or Postgres when a variable says so.

dagster.yaml has no conditionals, so this class chooses (DAGSTER_POSTGRES_URL, see `settings.instance_url`).
For SQLite it also keeps its files open between events, where Dagster's own storage opens, prepares and closes them
for each one, and writes bursts of events in one transaction: a backfill of 730 days notes thousands of partitions, and
a commit each would take longer than the work.

It leans on Dagster's own storage classes; `test_instance_storage` notices when they change.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from dagster_shared.record import copy

from engage_pipelines.settings import instance_home, instance_url

# Files kept open: the index, the run under way and some that people look at. There is a file per run.
_FILES_KEPT = 8


class BurstEventLogStorage(SqliteEventLogStorage):
    """SQLite event log that keeps the files it used last open, and can write a burst of events at once."""

    _held: dict[str, Any]
    _engines: OrderedDict[str, Any]

    def __init__(self, base_dir: str) -> None:
        self._held = {}
        self._engines = OrderedDict()
        super().__init__(base_dir)
        # The parent's own admits one connection at a time; in a burst two are open together, of one thread.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Any]:
        with self._db_lock:
            held = self._held.get(shard)
            if held is not None:
                yield held
                return
            with self._engine(shard).begin() as connection:
                yield connection

    def _engine(self, shard: str) -> Any:
        """The open file of a run or of the index; the one that was not used for longest makes room for it."""
        if shard not in self._engines:
            engine = create_engine(
                self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            )
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        while len(self._engines) > _FILES_KEPT:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def wipe(self) -> None:
        """Remove everything; the files go, so none may stay open."""
        self._close_files()
        super().wipe()

    def dispose(self) -> None:
        """Close all files."""
        super().dispose()
        self._close_files()

    def _close_files(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    @contextmanager
    def burst(self, run_id: str) -> Iterator[None]:
        """Write everything inside in one transaction per file; an error undoes it. Other threads wait."""
        with self._db_lock, ExitStack() as stack:
            stack.callback(self._held.clear)
            for shard in (run_id, INDEX_SHARD_NAME):
                connection = stack.enter_context(self._engine(shard).begin())
                self._held[shard] = connection
            yield

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events together: one transaction per run and file, asset events of a run in one statement."""
        by_run: dict[str, list[dg.EventLogEntry]] = {}
        for event in events:
            by_run.setdefault(event.run_id, []).append(event)
        for run_id, some in by_run.items():
            # Whoever has begun a burst ends it; one of another thread has ended once the lock is there.
            with self._db_lock, nullcontext() if self._held else self.burst(run_id):
                self._store_together(run_id, some)

    def _store_asset_check_evaluation_planned(self, event: dg.EventLogEntry, event_id: int | None) -> None:
        # Our checks look at whole tables, whatever days a run is for. Dagster would note one for each of these days,
        # each with the whole event, and the check's end would find none of them.
        planned = event.get_dagster_event()
        whole = copy(planned.asset_check_planned_data, partitions_subset=None)
        event = event._replace(dagster_event=planned._replace(event_specific_data=whole))
        super()._store_asset_check_evaluation_planned(event, event_id)

    def _store_together(self, run_id: str, events: Sequence[dg.EventLogEntry]) -> None:
        for event in events:
            if not _is_asset_event(event):
                self.store_event(event)
        if asset_events := [event for event in events if _is_asset_event(event)]:
            self._store_asset_events(run_id, asset_events)

    def _store_asset_events(self, run_id: str, events: Sequence[dg.EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        with self.index_transaction() as connection:
            numbered = SqlEventLogStorageTable.insert().returning(
                SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
            )
            ids = [row.id for row in connection.execute(numbered, rows)]
            self._store_asset_event_tags(connection, events, ids)
            # The table of assets keeps the latest event of each kind only: the ones before it need no write.
            latest = {(e.get_dagster_event().asset_key, e.dagster_event_type): n for n, e in enumerate(events)}
            for position in latest.values():
                self._store_asset_event(connection, events[position], ids[position])


class InstanceStorage(DagsterSqliteStorage):
    """Postgres by DAGSTER_POSTGRES_URL, else SQLite in `base_dir`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = BurstEventLogStorage(str(Path(base_dir) / "history"))

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Only the folder, and only if it is not DAGSTER_HOME (`data/dagster` where that is not set)."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> DagsterStorage:
        """Build the storage that the environment asks for."""
        if url := instance_url():
            from dagster_postgres import DagsterPostgresStorage

            return DagsterPostgresStorage(postgres_url=url, should_autocreate_tables=True)
        return cls.from_local(config_value.get("base_dir") or str(instance_home()), inst_data)


def _is_asset_event(event: dg.EventLogEntry) -> bool:
    return event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS
