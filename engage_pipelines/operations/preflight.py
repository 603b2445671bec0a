"""What can be wrong with an installation before anything is asked of a vendor: names, options, keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial

from engage_pipelines.connector import Destination, Source
from engage_pipelines.delivery import policy_of
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.errors import ConfigError
from engage_pipelines.settings import Settings
from engage_pipelines.sources import SOURCES


def check_names(settings: Settings) -> None:
    """Refuse names of tills and platforms that do not exist: what is misspelt would be left out without a word.

    Raises:
        ConfigError: names the table, and what is allowed.
    """
    tills, platforms = [source.name for source in SOURCES], [each.name for each in DESTINATIONS]
    _refuse_unknown(settings, "sources", settings.sources, tills)
    _refuse_unknown(settings, "destinations", settings.destinations, platforms)
    for store, names in settings.stores.items():
        _refuse_unknown(settings, f'stores."{store}"', names, platforms)
        till, _, location = store.partition(":")
        if till not in tills or not location:
            raise ConfigError(
                f"{settings.file}: [stores.\"{store}\"]: not a store's key; write <till>:<the till's location id>, "
                f"tills: {', '.join(tills)}"
            )


def preflight(
    settings: Settings, sources: Sequence[Source], destinations: Sequence[Destination]
) -> Iterator[Callable[[], object]]:
    """The checks of an installation, each of which raises ConfigError or CredentialsError with the way out.

    Args:
        settings: the installation's.
        sources: the tills that are in use.
        destinations: the platforms that are in use.
    """
    for source in sources:
        yield partial(settings.options, "sources", source.name, source.options)
    for destination in destinations:
        yield partial(settings.options, "destinations", destination.name, destination.options)
        yield partial(_check_stream_names, settings, destination)
        for stream in destination.streams:
            yield partial(policy_of, destination.name, stream, settings.destinations[destination.name].in_doubt)
    # In one go: whoever sets up an installation wants to hear of all that are missing.
    needed = [secret for source in sources for secret in source.secrets]
    yield partial(settings.secrets, [*needed, *(secret for each in destinations for secret in each.secrets)])


def _check_stream_names(settings: Settings, destination: Destination) -> None:
    configured, names = settings.destinations[destination.name], {s.name for s in destination.streams}
    for table in ("batch_items", "in_doubt"):
        for wrong in sorted(set(getattr(configured, table)) - names):
            raise ConfigError(
                f"{settings.file}: [destinations.{destination.name}] {table}: there is no stream {wrong!r}; "
                f"there are: {', '.join(sorted(names))}"
            )


def _refuse_unknown(settings: Settings, table: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            meant = get_close_matches(name, known, 1)
            hint = f"did you mean {meant[0]}? " if meant else ""
            raise ConfigError(f"{settings.file}: [{table}] {name}: unknown; {hint}there are: {', '.join(known)}")
