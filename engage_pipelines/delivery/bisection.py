"""Finding the bad records of a batch that a vendor refused as a whole without saying which.

The batch is walked once, front to back. Of a range known to be refused, the first half is sent: if the vendor
takes it, the trouble is behind it, and the second half need not be sent whole just to hear the refusal again; if
not, the trouble is inside. What is left in the end is one record, sent in a call of its own. Then everything
behind it goes out as one batch, and if that is refused too, the search starts again there.

Where bad records are dense, that batch would be refused nearly every time. So every refusal after the first halves
the number of records tried at once, and every batch taken doubles it.

What holds, whatever the vendor answers:

* a record is rejected only if a call that carried nothing else was refused;
* a record that was in an accepted call is never sent again;
* records go out in their order, and every call carries a range of the batch, so its limits hold.

What it costs, in calls beyond the one that a healthy batch of n records needs, with k bad records in it
(L = log2(n) rounded up; checked over every placement of the bad ones, not only sampled):

* k = 1: at most L + 2: halving takes L, the record by itself one, what is behind it one.
* any k: at most k * (L + 2) + 1, and less per record the larger k is: fifty in a thousand take k * 8.5.
* all calls together, the refused one included: at most 2n + 2, also if every record is bad.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engage_pipelines.delivery.batches import PlannedBatch
from engage_pipelines.errors import EngageError, RejectedError
from engage_pipelines.state import Settlement


@dataclass(frozen=True, slots=True)
class Sent:
    """Outcomes of one batch, one per record, and the error that ended it early, if any."""

    settlements: tuple[Settlement, ...]
    error: EngageError | None = None


# Sends one part: its outcomes, or the error with which the vendor refused it as a whole.
SendPart = Callable[[PlannedBatch], Sent | RejectedError]


def isolate(batch: PlannedBatch, refusal: RejectedError, send: SendPart) -> Sent:
    """Deliver a batch that was refused as a whole, except for the records that are refused alone.

    Args:
        batch: what was refused; nothing of it was applied.
        refusal: the vendor's answer to it.
        send: sends a part of it. An error in what it gives ends the search: the part keeps the outcomes
            that came with the error, records not tried yet go back to `pending`.

    Returns:
        One settlement per record, in the order of the batch, and the error that ended the search, if any.
    """
    search = _Search(batch, send)
    search.note_refusal(search.count, refusal)
    search.narrow(search.count)
    while not search.is_over:
        search.advance()
    return search.result()


@dataclass(slots=True)
class _Search:
    """A walk through a batch: records before `done` are settled, no record behind it is."""

    batch: PlannedBatch
    send: SendPart
    settlements: list[Settlement] = field(default_factory=list)
    done: int = 0
    # How often the number of records tried at once is halved.
    doubts: int = 0
    error: EngageError | None = None

    @property
    def count(self) -> int:
        return len(self.batch.keys)

    @property
    def is_over(self) -> bool:
        return self.done >= self.count or self.error is not None

    def advance(self) -> None:
        """Send as much of what nothing is known about as seems wise; search in it if it is refused."""
        end = min(self.count, self.done + max(1, self.count >> self.doubts))
        if self.is_taken(end):
            self.doubts = max(0, self.doubts - 1)
        else:
            self.doubts = min(self.count.bit_length(), self.doubts + 1)
            self.narrow(end)

    def narrow(self, end: int) -> None:
        """Halve `done..end`, known to be refused together, until the first record to blame is settled.

        Ends without a rejection if the refusal was about a combination or about the moment.
        """
        while self.done < end and self.error is None:
            middle = max(self.done + 1, (self.done + end) // 2)
            if not self.is_taken(middle):
                end = middle

    def is_taken(self, end: int) -> bool:
        """Send `done..end`; False if the vendor refused it as a whole."""
        answer = self.send(self.batch.part(self.done, end))
        if isinstance(answer, RejectedError):
            self.note_refusal(end, answer)
            return False
        self.settlements += answer.settlements
        self.error = answer.error
        self.done = end
        return True

    def note_refusal(self, end: int, refusal: RejectedError) -> None:
        """A refusal settles a record only if the call carried no other."""
        if end - self.done == 1:
            key = self.batch.keys[self.done]
            self.settlements.append(Settlement(key, "rejected", str(refusal), refusal.vendor_code))
            self.done = end

    def result(self) -> Sent:
        """Everything that was settled; after an error, the untried records wait for the next run."""
        untried = self.batch.keys[self.done :]
        left = [Settlement(key, "pending", str(self.error)) for key in untried]
        return Sent((*self.settlements, *left), self.error)
