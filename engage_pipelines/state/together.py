"""Committing together: what several threads note at the same moment goes to disk in one transaction.

SQLite has one writer at a time and every commit waits for the disk. Threads that come while a commit is under way
would queue up for one each; here they share the next one. Each returns only after its own is on disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

Work = Callable[[sa.Connection], None]


@dataclass(slots=True, eq=False)
class _Entry:
    work: Work
    error: BaseException | None = None
    is_done: bool = False


class Together:
    """Runs pieces of work, each all or nothing, in as few transactions as there need to be."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # A condition, not a lock: whoever is done must not queue behind the next leader.
        self._turn = threading.Condition()
        self._waiting: list[_Entry] = []
        self._is_busy = False

    def __call__(self, work: Work) -> None:
        """Run a piece of work; it is on disk when this returns. It may be run twice, once rolled back.

        Raises:
            Exception: what the work raised; nothing of it is on disk then.
        """
        mine = _Entry(work)
        group = self._wait_for_my_turn(mine)
        if group:
            try:
                self._commit(group)
            finally:
                self._hand_over(group)
        if mine.error is not None:
            raise mine.error

    def _wait_for_my_turn(self, mine: _Entry) -> list[_Entry]:
        """Wait until somebody has done it, or until this thread leads: then it does all that wait."""
        with self._turn:
            self._waiting.append(mine)
            self._turn.wait_for(lambda: mine.is_done or not self._is_busy)
            if mine.is_done:
                return []
            self._is_busy = True
            group, self._waiting = self._waiting, []
            return group

    def _hand_over(self, group: list[_Entry]) -> None:
        with self._turn:
            self._is_busy = False
            for entry in group:
                entry.is_done = True
            self._turn.notify_all()

    def _commit(self, group: list[_Entry]) -> None:
        try:
            with self._engine.begin() as connection:
                for entry in group:
                    entry.work(connection)
        except BaseException as error:  # noqa: BLE001 - each thread gets its own, below
            if len(group) == 1:
                group[0].error = error
                return
            for entry in group:
                # One of them is to blame: each alone, so that the others are not.
                self._commit([entry])
