"""Which stream carries which record, where two of them share a ledger: history goes by file, the rest live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.operations.desk import Desk
from engage_pipelines.warehouse.trace import receipts_before


def carriers(
    desk: Desk, destination: Destination, stream: Stream, keys: Sequence[str]
) -> Iterator[tuple[Stream, tuple[str, ...]]]:
    """Split records of a ledger stream by the stream that carries them; each record comes once.

    Handed to the wrong one, a receipt would count as one that does not go there, and be forgotten.
    """
    together = [each for each in destination.streams if each.ledger_name == stream.ledger_name]
    live = next((each for each in together if not each.history), together[0])
    history = next((each for each in together if each.history and each.selects == "transactions"), None)
    go_live_on = desk.go_live_on(destination)
    old: set[str] = set()
    if history and history is not live and go_live_on:
        old = receipts_before(desk.warehouse, go_live_on, keys)
        yield history, tuple(key for key in keys if key in old)
    yield live, tuple(key for key in keys if key not in old)


def ledger_name(desk: Desk, destination: str | None, stream: str | None) -> str | None:
    """The name under which the ledger keeps a stream; None for no stream.

    Raises:
        ConfigError: no such destination or stream.
    """
    if destination is None:
        return None
    platform = desk.destination(destination)
    return desk.stream(platform, stream).ledger_name if stream else None


def personal_fields(destination: str, stream: str, known: Sequence[Destination]) -> frozenset[str] | None:
    """The fields of a ledger stream's payloads that identify people; None if nothing is known of the stream."""
    found = [
        each.personal
        for platform in known
        for each in platform.streams
        if (platform.name, each.ledger_name) == (destination, stream)
    ]
    return frozenset().union(*found) if found else None
