"""The state of an installation at a glance: how far it is pulled, what is delivered, what waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engage_pipelines.delivery import policy_of
from engage_pipelines.operations.books import Books, FlowStanding, keep_books
from engage_pipelines.operations.desk import Desk
from engage_pipelines.state.queue import Pile
from engage_pipelines.warehouse import incomplete_windows, quarantine_counts, receipts_out_of_balance


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Records of a ledger stream that are in doubt, and what the stream does about them: its policy."""

    destination: str
    stream: str
    records: int
    policy: str


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
        in_doubt: records that may or may not have arrived, by stream.
        rejected: records that were refused, by stream, code and reason; the largest pile first.
        diverged: records that changed after a platform took them for good, by stream and reason.
    """

    bookmarks: list[tuple[str, str, datetime]]
    flows: list[FlowStanding]
    books: Books
    out_of_balance: int
    quarantined: dict[tuple[str, str], int]
    incomplete: int
    in_doubt: list[Doubtful]
    rejected: list[Pile]
    diverged: list[Pile]

    @property
    def needs_a_person(self) -> bool:
        """True if something waits for a decision or is wrong.

        Refused and diverged records wait too, and are shown, but alone they do not make every night red: nothing is
        at stake that grows worse until somebody finds the time.
        """
        return bool(self.in_doubt or self.out_of_balance or self.incomplete)


def look(desk: Desk) -> Status:
    """Read the state of the installation."""
    standings: dict[tuple[str, str], dict[str, int]] = {}
    for (destination, stream, state), count in sorted(desk.ledger.states().items()):
        standings.setdefault((destination, stream), {})[state] = count
    flows = [FlowStanding(d, s, states) for (d, s), states in standings.items()]
    return Status(
        bookmarks=desk.bookmarks.all(),
        flows=flows,
        books=keep_books(desk),
        out_of_balance=len(receipts_out_of_balance(desk.warehouse)),
        quarantined=quarantine_counts(desk.warehouse),
        incomplete=len(incomplete_windows(desk.warehouse)),
        in_doubt=[_doubtful(desk, flow) for flow in flows if flow.states.get("in_doubt")],
        rejected=desk.queue.piles(("rejected",)),
        diverged=desk.queue.piles(("diverged",)),
    )


def _doubtful(desk: Desk, flow: FlowStanding) -> Doubtful:
    policies = {
        policy_of(platform.name, stream, desk.settings.destinations[platform.name].in_doubt)
        for platform in desk.destinations
        for stream in platform.streams
        if (platform.name, stream.ledger_name) == (flow.destination, flow.stream)
    }
    # A platform that is switched off has no run that could settle anything.
    return Doubtful(flow.destination, flow.stream, flow.states["in_doubt"], ", ".join(sorted(policies)) or "off")
