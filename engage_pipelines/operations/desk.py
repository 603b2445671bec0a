"""The desk: from settings to the thing to do, for one installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property, partial
from typing import Any, TypeVar

from engage_pipelines.connector import Destination, Entity, Source, Stream, Window
from engage_pipelines.delivery import Bounds, Delivered, Delivery, Preview
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.errors import ConfigError, EngageError
from engage_pipelines.http_client import Limits, VendorClient, parse_rate
from engage_pipelines.ingest import Loaded, Loading, Pulled, Pulling, PullsInTurn, cut, pull_range
from engage_pipelines.ingest.load import OnWindow
from engage_pipelines.operations.preflight import check_names, preflight
from engage_pipelines.settings import DestinationSettings, Settings, SourceSettings
from engage_pipelines.sources import SOURCES
from engage_pipelines.state import Bookmarks, Ledger, Queue, Runs, open_state
from engage_pipelines.warehouse import Published, Selection, Warehouse, earliest_window_loaded_since, publish

Progress = Callable[[int, int], None]
# (flow, e.g. `aiq/sales`) -> something that hears of (done, total).
Reporter = Callable[[str], Progress]


# Before any till that is still in use kept records.
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


Part = TypeVar("Part", Source, Destination)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _silent(flow: str) -> Progress:
    del flow
    return lambda done, total: None


@dataclass(frozen=True)
class Desk:
    """Everything that an asset or a command can ask for.

    Attributes:
        settings: the checked settings.
        reporter: who hears of progress.
        now: the clock.

    Raises:
        ConfigError: the settings name a till or a platform that does not exist.
    """

    settings: Settings
    reporter: Reporter = _silent
    now: Callable[[], datetime] = field(default=_utc_now)

    def __post_init__(self) -> None:
        """Refuse settings that name a till or a platform that does not exist."""
        check_names(self.settings)

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse of this installation."""
        w = self.settings.warehouse
        return Warehouse(
            self.settings.data / "warehouse",
            wait_seconds=w.wait_seconds,
            memory_limit=w.memory_limit,
            threads=w.threads,
        )

    @cached_property
    def _engine(self) -> Any:
        return open_state(self.settings.state_url)

    @cached_property
    def ledger(self) -> Ledger:
        """The delivery ledger."""
        return Ledger(self._engine)

    @cached_property
    def queue(self) -> Queue:
        """What waits for a person."""
        return Queue(self._engine)

    @cached_property
    def runs(self) -> Runs:
        """The delivery runs."""
        return Runs(self._engine)

    @cached_property
    def bookmarks(self) -> Bookmarks:
        """The bookmarks of all sources."""
        return Bookmarks(self._engine)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The tills that are configured and enabled."""
        return tuple(s for s in SOURCES if s.name in self.settings.sources and self.settings.sources[s.name].enabled)

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The platforms that are configured and enabled."""
        known = self.settings.destinations
        return tuple(d for d in DESTINATIONS if d.name in known and known[d.name].enabled)

    def source(self, name: str) -> Source:
        """An enabled till by name.

        Raises:
            ConfigError: there is none; says which there are.
        """
        return _by_name("source", name, self.sources, self.settings)

    def destination(self, name: str) -> Destination:
        """An enabled platform by name.

        Raises:
            ConfigError: there is none; says which there are.
        """
        return _by_name("destination", name, self.destinations, self.settings)

    def entity(self, source: Source, name: str) -> Entity:
        """An entity of a till by name.

        Raises:
            ConfigError: there is none; says which there are.
        """
        for entity in source.entities:
            if entity.name == name:
                return entity
        names = ", ".join(e.name for e in source.entities)
        raise ConfigError(f"{source.name} has no entity {name!r}; there are: {names}")

    def check(self) -> None:
        """Check options and credentials of everything enabled, before anything is pulled.

        Raises:
            ConfigError, CredentialsError: the first thing that is wrong, with the way out.
        """
        for is_well in preflight(self.settings, self.sources, self.destinations):
            is_well()

    def problems(self) -> list[EngageError]:
        """Everything that `check` would refuse, one after the other."""
        found: list[EngageError] = []
        for is_well in preflight(self.settings, self.sources, self.destinations):
            try:
                is_well()
            except EngageError as problem:
                found.append(problem)
        return found

    def source_options(self, source: Source) -> Any:
        """The till's own options, checked."""
        return self.settings.options("sources", source.name, source.options)

    def destination_options(self, destination: Destination) -> Any:
        """The platform's own options, checked."""
        return self.settings.options("destinations", destination.name, destination.options)

    def go_live_on(self, destination: Destination) -> date | None:
        """The first business day that is delivered live, for platforms that take history as files."""
        return getattr(self.destination_options(destination), "go_live_on", None)

    def pull(self, source: Source, entity: Entity, days: tuple[date, date], *, reread: bool = False) -> Pulled:
        """Pull the days `first..last` of an entity into the spool."""
        with self._pulling(source, entity, days, reread=reread) as pulling:
            return pulling.finish()

    def load(
        self,
        source: Source,
        entity: Entity,
        days: tuple[date, date],
        on_window: OnWindow = lambda window, result: None,
        *,
        reread: bool = False,
        anew: bool = False,
    ) -> Loaded:
        """Load what was pulled of the days `first..last`.

        With `reread` that is all that a pull with `reread` brings; what is loaded already is then left alone. With
        `anew` records are shaped once more that core has in the same version, as after a change of a mapping.
        """
        start, end = self.range_of(days)
        if reread:
            # The bookmark has not moved since the pull, so this is the range that was pulled.
            start = min(start, self._pull_range(source, entity, days, reread=True)[0])
        if self._needs_the_beginning(source, entity, start):
            start = _BEGINNING
        return self._loading(source, entity, on_window).load_range(start, end, only_new=reread and not anew, anew=anew)

    def pull_and_load(
        self, source: Source, entities: Sequence[Entity], days: tuple[date, date], *, reread: bool = False
    ) -> Iterator[tuple[Entity, Pulled, Loaded]]:
        """Pull the days `first..last` of entities in their order, and load each window as soon as it is whole.

        The next entity is pulled while the last windows of the one before it are loaded. Yields each as it is loaded.
        """
        with PullsInTurn([partial(self._pulling, source, each, days, reread=reread) for each in entities]) as pulls:
            for entity in entities:
                pulling = pulls.next()
                loaded = self._loading(source, entity).load_arriving(pulling)
                yield entity, pulling.told(), loaded

    @contextmanager
    def _pulling(self, source: Source, entity: Entity, days: tuple[date, date], *, reread: bool) -> Iterator[Pulling]:
        configured, options = self.settings.sources[source.name], self.source_options(source)
        start, end = self._pull_range(source, entity, days, reread=reread)
        windows = cut(start, end, days=configured.window_days, zone=self.settings.zone)
        if self._needs_the_beginning(source, entity, start):
            windows = [Window(_BEGINNING, start), *windows]
        with self._client(source) as client, Pulling(
            client,
            entity,
            source=source.name,
            lake=self.settings.data / "lake",
            windows=windows,
            location_ids=source.locations(client, options) if entity.per_location else (),
            options=options,
            progress=self.reporter(f"raw/{source.name}__{entity.name}"),
            now=self.now,
        ) as pulling:  # fmt: skip
            yield pulling

    def _loading(self, source: Source, entity: Entity, on_window: OnWindow = lambda window, result: None) -> Loading:
        return Loading(
            warehouse=self.warehouse,
            bookmarks=self.bookmarks,
            source=source,
            entity=entity,
            lake=self.settings.data / "lake",
            variables={**self.settings.sql_variables, **self.source_options(source).model_dump()},
            now=self.now,
            progress=self.reporter(f"core/{entity.name}"),
            on_window=on_window,
        )

    def deliver(
        self, destination: Destination, stream: Stream, selection: Selection, *, yes_really: bool = False
    ) -> Delivered:
        """Deliver a stream; `yes_really` lets a plan through that is out of bounds."""
        delivery = self.delivery(destination)
        session = self._session(destination)
        progress = self.reporter(delivery.flow(stream))
        try:
            return delivery.run(stream, session, selection, progress, yes_really=yes_really)
        finally:
            session.client.close()

    def preview(self, destination: Destination, stream: Stream, selection: Selection) -> Preview:
        """Say what delivering a stream would do; needs no credentials and sends nothing."""
        return self.delivery(destination).preview(stream, selection)

    def publish(self, *, with_ledger: bool = True) -> Published:
        """Publish the warehouse, with the ledger as it is now or as it was when it was last published.

        While something is delivered the ledger is better left alone: to read it takes long, and plans wait for it.
        """
        return publish(self.warehouse, self.ledger.mirror() if with_ledger else ())

    def touched(
        self, destination: Destination, stream: Stream, days: tuple[date, date], *, reread: bool = False
    ) -> Selection:
        """What a live delivery of the days `first..last` considers.

        With `reread` (at night) that is also every load since the last run of the stream that left nothing
        behind: what came late, what was missed, and what a platform could not take for nights on end.
        """
        if not stream.windowed:
            return Selection()
        start, end = self.range_of(days)
        if reread:
            start = min(start, self._first_undelivered(destination, stream, start))
        return Selection(touched=(start, end), is_owed=reread)

    def _first_undelivered(self, destination: Destination, stream: Stream, start: datetime) -> datetime:
        """Start of the earliest window that was loaded since the stream was last up to date."""
        here = (destination.name, stream.name)
        # Before the first delivery nothing is owed: history in the warehouse is delivered on request only.
        since = self.runs.last_whole_start(*here) or self.runs.first_start(*here) or self.now()
        return earliest_window_loaded_since(self.warehouse, since) or start

    def _pull_range(
        self, source: Source, entity: Entity, days: tuple[date, date], *, reread: bool
    ) -> tuple[datetime, datetime]:
        configured = self.settings.sources[source.name]
        bookmark = self.bookmarks.through(source.name, entity.name) if entity.windowed else None
        return pull_range(self.settings, configured, days, now=self.now(), bookmark=bookmark, reread=reread)

    def range_of(self, days: tuple[date, date]) -> tuple[datetime, datetime]:
        """The UTC range of the operator's days `first..last`."""
        first, last = days
        return self.settings.midnight(first), self.settings.midnight(date.fromordinal(last.toordinal() + 1))

    def stream(self, destination: Destination, name: str) -> Stream:
        """A stream of a platform by name.

        Raises:
            ConfigError: there is none; says which there are.
        """
        return self.delivery(destination).stream(name)

    def _needs_the_beginning(self, source: Source, entity: Entity, start: datetime) -> bool:
        """True if this is the first pull of an entity whose older records are needed too, or a full backfill."""
        history_from = self.settings.midnight(self.settings.sources[source.name].history_from)
        is_first = self.bookmarks.through(source.name, entity.name) is None
        return entity.from_the_beginning and (is_first or start <= history_from)

    @contextmanager
    def _client(self, source: Source) -> Iterator[VendorClient]:
        secrets = self.settings.secrets(source.secrets)
        limits = self._limits(source, self.settings.sources[source.name])
        with source.connect(self.source_options(source), secrets, limits) as client:
            yield client

    def _session(self, destination: Destination) -> Any:
        secrets = {
            **self.settings.optional_secrets(f"{destination.name.upper()}_"),
            **self.settings.secrets(destination.secrets),
        }
        limits = self._limits(destination, self.settings.destinations[destination.name])
        return destination.connect(self.destination_options(destination), secrets, limits)

    def _limits(self, vendor: Source | Destination, configured: SourceSettings | DestinationSettings) -> Limits:
        """The vendor's limits, or what engage.toml says instead; kept together by all processes here."""
        documented = vendor.limits
        rates = documented.rates if configured.rates is None else tuple(parse_rate(text) for text in configured.rates)
        return Limits(
            rates=rates,
            in_flight=configured.in_flight or documented.in_flight,
            shared=self.settings.data / "state" / "pacing" / f"{vendor.name}.rates",
        )

    def delivery(self, destination: Destination) -> Delivery:
        """The engine, set up for a platform."""
        configured, guard = self.settings.destinations[destination.name], self.settings.guard
        return Delivery(
            destination=destination,
            options=self.destination_options(destination),
            warehouse=self.warehouse,
            ledger=self.ledger,
            queue=self.queue,
            runs=self.runs,
            store_names=self.settings.store_names(destination.name),
            batch_items=configured.batch_items,
            policies=configured.in_doubt,
            limits=self._limits(destination, configured),
            bounds=Bounds(**guard.model_dump()),
            outbox=self.settings.data / "outbox",
            now=self.now,
        )


def _by_name(kind: str, name: str, known: Sequence[Part], settings: Settings) -> Part:
    for part in known:
        if part.name == name:
            return part
    names = ", ".join(part.name for part in known) or "none"
    raise ConfigError(f"{settings.file}: no enabled {kind} {name!r}; there are: {names}")
