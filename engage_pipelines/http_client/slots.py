"""Requests in flight: no more at once than the account allows, of this client and of all others on this machine."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engage_pipelines.http_client.process_lock import ProcessLock

# Seconds until the first look whether another client of the account has ended a call, and between two looks at most:
# each waits twice as long as the one before, as the other may be waiting for minutes itself.
_FIRST_LOOK, _LONGEST_WAIT = 0.005, 0.1


class Slots:
    """So many at a time; with a file, among all processes of the account. A process that dies gives its own back.

    Args:
        most: requests at once.
        file: of the account; its slots lie beside it. None: this client alone.
        sleep: how to wait.
    """

    def __init__(self, most: int, *, file: Path | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._threads = threading.BoundedSemaphore(most)
        self._is_shared = file is not None
        # Those that this client does not use; another one may.
        self._unused = deque(ProcessLock(file.with_suffix(f".slot{n}")) for n in range(most)) if file else deque()
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a slot and hold it."""
        with self._threads:
            slot = self._take() if self._is_shared else None
            try:
                yield
            finally:
                if slot is not None:
                    self._give_back(slot)

    def _take(self) -> ProcessLock:
        wait = _FIRST_LOOK
        while (slot := self._first_free()) is None:
            self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        return slot

    def _first_free(self) -> ProcessLock | None:
        with self._lock:
            for slot in list(self._unused):
                if slot.take_if_free():
                    self._unused.remove(slot)
                    return slot
        return None

    def _give_back(self, slot: ProcessLock) -> None:
        with self._lock:
            slot.release()
            self._unused.appendleft(slot)
