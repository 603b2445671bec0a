"""Pulling one kind of record after the other, without waiting until what came before is loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from engage_pipelines.ingest.pull import Pulling

Opening = Callable[[], AbstractContextManager[Pulling]]


class PullsInTurn:
    """Pulls in their order: each begins when the one before it has nothing left to ask for.

    Args:
        openings: each opens one pull.
    """

    def __init__(self, openings: Sequence[Opening]) -> None:
        self._openings = openings
        self._opened: SimpleQueue[Pulling | Exception] = SimpleQueue()
        self._under_way: Pulling | None = None
        self._is_over = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._pull_in_turn, name="pulls")

    def __enter__(self) -> Self:
        """Begin with the first."""
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Begin no further pull and no further window, and wait for those under way."""
        with self._lock:
            self._is_over = True
            if self._under_way is not None:
                self._under_way.stop()
        self._thread.join()

    def next(self) -> Pulling:
        """The next pull, once it has begun; its windows come as they are whole.

        Raises:
            CredentialsError, RetryableError, ContractError: it could not begin.
        """
        found = self._opened.get()
        if isinstance(found, Exception):
            raise found
        return found

    def _pull_in_turn(self) -> None:
        try:
            for opening in self._openings:
                with opening() as pulling:
                    with self._lock:
                        if self._is_over:
                            return
                        self._under_way = pulling
                    self._opened.put(pulling)
                    if not pulling.wait():
                        # What it failed of, a refused key perhaps, would be the next one's failure, too.
                        return
        except Exception as error:  # noqa: BLE001 - raised to whoever asks for this pull
            self._opened.put(error)
