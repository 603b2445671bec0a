"""The state of an installation at a glance: how far it is pulled, what is delivered, what waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engage_pipelines.operations.books import Books, FlowStanding, keep_books
from engage_pipelines.operations.desk import Desk
from engage_pipelines.warehouse import incomplete_windows, quarantine_counts, receipts_out_of_balance


@dataclass(frozen=True, slots=True)
class Status:
    """What `engage status` shows.

    Attributes:
        bookmarks: (source, entity, loaded through).
        flows: records per ledger stream and state.
        books: totals of receipts.
        out_of_balance: receipts whose parts do not add up.
        quarantined: records in quarantine by (entity, reason).
        incomplete: windows with missing records.
    """

    bookmarks: list[tuple[str, str, datetime]]
    flows: list[FlowStanding]
    books: Books
    out_of_balance: int
    quarantined: dict[tuple[str, str], int]
    incomplete: int

    @property
    def needs_a_person(self) -> bool:
        """True if something waits for a decision or is wrong."""
        waiting = sum(flow.states.get("in_doubt", 0) for flow in self.flows)
        return bool(waiting or self.out_of_balance or self.incomplete)


def look(desk: Desk) -> Status:
    """Read the state of the installation."""
    standings: dict[tuple[str, str], dict[str, int]] = {}
    for (destination, stream, state), count in sorted(desk.ledger.states().items()):
        standings.setdefault((destination, stream), {})[state] = count
    return Status(
        bookmarks=desk.bookmarks.all(),
        flows=[FlowStanding(d, s, states) for (d, s), states in standings.items()],
        books=keep_books(desk),
        out_of_balance=len(receipts_out_of_balance(desk.warehouse)),
        quarantined=quarantine_counts(desk.warehouse),
        incomplete=len(incomplete_windows(desk.warehouse)),
    )
