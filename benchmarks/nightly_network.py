"""How long a process was busy with the network: at least one call under way, or a departure waited for.

Calls are heard where they leave (httpx), waits where the client waits for the vendor's limit or after a failure. What
a thread does while another one's call is under way is not overhead: nobody waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import httpx

from engage_pipelines.http_client import VendorClient

# Beginnings and ends, as monotonic seconds, in no order; appended to by all threads.
_BUSY: list[tuple[float, float]] = []


def listen() -> None:
    """From now on, note every call and every wait of this process."""
    send = httpx.Client.send

    def noted_send(self: httpx.Client, *given: Any, **named: Any) -> httpx.Response:
        began = time.monotonic()
        try:
            return send(self, *given, **named)
        finally:
            _BUSY.append((began, time.monotonic()))

    httpx.Client.send = noted_send  # type: ignore[method-assign]
    defaults = VendorClient.__init__.__kwdefaults__
    assert defaults is not None  # noqa: S101  it has a default for `sleep`
    defaults["sleep"] = _noted_sleep


def calls() -> int:
    """How many calls and waits have been noted."""
    return len(_BUSY)


def busy_seconds(since: float = 0.0) -> float:
    """Seconds since then in which there was a call or a wait; those at the same time count once."""
    return _union((max(began, since), ended) for began, ended in _BUSY if ended > since)


def _noted_sleep(seconds: float) -> None:
    began = time.monotonic()
    time.sleep(seconds)
    _BUSY.append((began, time.monotonic()))


def _union(spans: Iterable[tuple[float, float]]) -> float:
    total, reached = 0.0, 0.0
    for began, ended in sorted(spans):
        if ended > reached:
            total += ended - max(began, reached)
            reached = ended
    return total
