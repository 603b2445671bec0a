"""What was said between us and a vendor, without what it was about: no body, no query, no person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """One try of one call.

    Attributes:
        method: HTTP verb.
        path: as called, without query, redacted.
        status: of the answer; None if there was none.
        problem: name of the error if there was no answer.
        request_id: the vendor's name of the request, if it tells one.
        seconds: from leaving to the end of the answer.
    """

    method: str
    path: str
    status: int | None
    problem: str | None
    request_id: str | None
    seconds: float


# Each thread has its own context, so whoever listens hears its own calls only.
_LISTENING: ContextVar[tuple[tuple[object, list[Exchange]], ...]] = ContextVar("_LISTENING", default=())


@contextmanager
def listening_to(speaker: object) -> Iterator[list[Exchange]]:
    """Collect what `speaker` tells in this thread (or asyncio task), in order; may be nested."""
    heard: list[Exchange] = []
    token = _LISTENING.set((*_LISTENING.get(), (speaker, heard)))
    try:
        yield heard
    finally:
        _LISTENING.reset(token)


def tell(speaker: object, exchange: Exchange) -> None:
    """Let everybody know who listens to `speaker` here."""
    for listened_to, heard in _LISTENING.get():
        if listened_to is speaker:
            heard.append(exchange)
