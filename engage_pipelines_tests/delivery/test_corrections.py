"""Taking back what diverged, at a platform that ignores a known id and keeps everything else for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, BatchLimits, InDoubt, Outcome, Policy, Stream, Verdict
from engage_pipelines.delivery import Bounds
from engage_pipelines.errors import GuardError, RejectedError, RetryableError
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests.delivery.post_office import PostOffice, PowerCutError
from engage_pipelines_tests.plain_till import NIGHT, order

RESEND = InDoubt("resend", "known ids are ignored")


@dataclass
class Club:
    """What the platform holds: the first total that came under an id."""

    held: dict[str, Decimal] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    # Called with each id, before it is taken and after.
    before: Callable[[str], None] = lambda unique_id: None
    after: Callable[[str], None] = lambda unique_id: None

    def take(self, session: Any, batch: Batch) -> list[Outcome]:
        for payload in batch.payloads:
            record = json.loads(payload, parse_float=Decimal)
            self.before(record["id"])
            self.received.append(record["id"])
            self.held.setdefault(record["id"], record["total"])
            self.after(record["id"])
        return [Outcome("accepted")] * len(batch.keys)

    def look(self, session: Any, batch: Batch) -> list[Verdict]:
        return ["there" if json.loads(payload)["id"] in self.held else "absent" for payload in batch.payloads]

    def sum_of(self, key: str) -> Decimal:
        """What all that came of a receipt makes together."""
        return sum((t for name, t in self.held.items() if name == key or name.startswith(f"{key}:")), Decimal(0))

    def fail_once(self, unique_id: str, error: Exception, *, after: bool = False) -> None:
        """The call with this id fails, the next one does not."""

        def fail(given: str) -> None:
            if given == unique_id:
                self.before = self.after = lambda _: None
                raise error

        self.before, self.after = (self.before, fail) if after else (fail, self.after)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[PostOffice]:
    office = PostOffice(tmp_path, correct_diverged=True)
    yield office
    office.close()


@pytest.fixture
def club() -> Club:
    return Club()


def stream_of(office: PostOffice, club: Club, **changes: Any) -> Stream:
    declared = {"immutable": True, "correction": "correction.sql", "in_doubt": RESEND, "limits": BatchLimits(items=1)}
    return office.stream(club.take, **(declared | changes))


def deliver_and_edit(office: PostOffice, club: Club, **changes: Any) -> Stream:
    """Two receipts are delivered, then one is edited."""
    stream = stream_of(office, club, **changes)
    office.fill(2)
    office.run(stream)
    office.till.load(order("O001", version=2, total=11.5))
    club.received.clear()
    return stream


def row_of(office: PostOffice, key: str = "acme:O001") -> dict[str, Any]:
    (row,) = [row for row in office.noted() if row["record_key"] == key]
    return row


# --- cycles ---------------------------------------------------------------------------------------


def test_an_edited_record_is_returned_and_sent_anew_in_the_same_run(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    result = office.run(stream)
    assert club.received == ["acme:O001:return:1", "acme:O001:new:1"]
    assert (club.sum_of("acme:O001"), club.sum_of("acme:O000")) == (Decimal("11.5"), Decimal(10))
    assert (result.corrected, result.accepted, result.diverged, result.unchanged) == (1, 1, 1, 1)
    assert result.is_balanced
    row = row_of(office)
    assert (row["state"], row["correction_count"]) == ("accepted", 1)
    again = office.run(stream)
    assert (again.unchanged, again.corrected, again.diverged, office.sent) == (2, 0, 0, [])


def test_each_further_edit_is_a_further_cycle(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    office.run(stream)
    for version, total in ((3, 7), (4, 250.25), (5, 10)):
        office.till.load(order("O001", version=version, total=total))
        assert office.run(stream).corrected == 1
        assert club.sum_of("acme:O001") == Decimal(str(total))
    assert row_of(office)["correction_count"] == 4
    assert club.received[-2:] == ["acme:O001:return:4", "acme:O001:new:4"]
    assert len(club.received) == len(set(club.received)) == 8


def test_a_record_that_is_void_is_returned_and_nothing_else(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    office.till.load(order("O001", version=3, state="voided"))
    result = office.run(stream)
    assert (club.received, club.sum_of("acme:O001")) == (["acme:O001:return:1"], 0)
    assert (result.corrected, result.skipped, result.is_balanced) == (1, {"voided": 1}, True)
    row = row_of(office)
    assert (row["state"], row["reason"], row["delivered_hash"]) == ("skipped", "voided", None)
    assert (office.run(stream).skipped, office.sent) == ({"voided": 1}, [])
    # It comes to life again: it goes out anew, under an id of its own.
    office.till.load(order("O001", version=4, total=12))
    office.run(stream)
    assert (club.received[-1], club.sum_of("acme:O001")) == ("acme:O001:new:1", 12)


def test_many_are_corrected_in_one_run(office: PostOffice, club: Club) -> None:
    stream = stream_of(office, club, limits=BatchLimits(items=4))
    keys = office.fill(30)
    office.run(stream)
    office.till.load(*[order(f"O{n:03}", version=2, total=20 + n) for n in range(0, 30, 2)])
    result = office.run(stream)
    assert (result.corrected, result.accepted, result.is_balanced) == (15, 15, True)
    assert [club.sum_of(key) for key in keys] == [20 + n if n % 2 == 0 else 10 for n in range(30)]


def test_without_the_setting_a_change_only_diverges_and_is_made_good_once_it_is_set(
    office: PostOffice, club: Club
) -> None:
    office.correct_diverged = False
    stream = deliver_and_edit(office, club)
    for _ in range(2):
        result = office.run(stream)
        assert (result.diverged, result.corrected, club.received) == (1, 0, [])
    assert row_of(office)["state"] == "diverged"
    office.correct_diverged = True
    assert office.run(stream).corrected == 1
    assert club.sum_of("acme:O001") == Decimal("11.5")


def test_a_stream_without_a_correction_file_corrects_nothing(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club, correction=None)
    assert (office.run(stream).diverged, club.received) == (1, [])


def test_what_was_sent_can_not_be_undone_without_knowing_it(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    for plan in office.plans():
        plan.unlink()
    for _ in range(2):
        result = office.run(stream)
        assert (result.diverged, result.corrected, club.received) == (1, 0, [])
        assert (row_of(office)["state"], row_of(office)["reason"]) == ("diverged", "changed after delivery")
    assert [w.record_key for w in office.queue.waiting("diverged")] == ["acme:O001"]


def test_a_change_that_was_undone_before_the_run_needs_no_correction(office: PostOffice, club: Club) -> None:
    office.correct_diverged = False
    stream = deliver_and_edit(office, club)
    office.run(stream)
    office.till.load(order("O001", version=3))
    office.correct_diverged = True
    assert (office.run(stream).unchanged, club.received) == (2, [])
    assert row_of(office)["state"] == "accepted"


def test_returns_are_written_down_like_everything_else(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    office.run(stream)
    row = row_of(office, "acme:O001:return:1")
    assert (row["state"], row["attempt_count"]) == ("accepted", 1)
    batches = {batch["batch_id"]: batch for batch in office.noted("delivery_batches")}
    assert json.loads(batches[row["batch_id"]]["outcomes"]) == {"accepted": 1}
    assert [attempt["record_key"] for attempt in office.queue.attempts("acme:O001")] == [
        "acme:O001", "acme:O001:return:1"
    ]  # fmt: skip


# --- trouble on the way ---------------------------------------------------------------------------


@pytest.mark.parametrize("unique_id", ["acme:O001:return:1", "acme:O001:new:1"])
@pytest.mark.parametrize(("policy", "arrives"), [("resend", False), ("resend", True), ("verify", True)])
def test_whenever_the_process_dies_the_next_run_makes_the_sum_right(
    office: PostOffice, club: Club, unique_id: str, policy: Policy, arrives: bool
) -> None:
    stream = deliver_and_edit(office, club, in_doubt=InDoubt("resend", "known ids are ignored", club.look))
    office.policies = {"receipts": policy}
    club.fail_once(unique_id, PowerCutError(), after=arrives)
    with pytest.raises(PowerCutError):
        office.run(stream)
    result = office.run(stream)
    assert club.sum_of("acme:O001") == Decimal("11.5")
    assert set(club.held) == {"acme:O000", "acme:O001", "acme:O001:return:1", "acme:O001:new:1"}
    assert set(office.states().values()) == {"accepted"} | ({"delivered"} if policy == "verify" and arrives else set())
    assert (row_of(office)["correction_count"], result.in_doubt) == (1, 0)
    # Who can be asked is not sent to twice.
    assert len(club.received) == (3 if arrives and policy == "resend" else 2)
    office.run(stream)
    assert office.sent == []


@pytest.mark.parametrize("unique_id", ["acme:O001:return:1", "acme:O001:new:1"])
def test_a_platform_that_is_down_half_way_is_tried_again(office: PostOffice, club: Club, unique_id: str) -> None:
    stream = deliver_and_edit(office, club)
    club.fail_once(unique_id, RetryableError("club: status 503"))
    with pytest.raises(RetryableError):
        office.run(stream)
    assert row_of(office)["state"] == ("diverged" if "return" in unique_id else "pending")
    office.run(stream)
    assert (club.sum_of("acme:O001"), row_of(office)["state"]) == (Decimal("11.5"), "accepted")


def test_a_return_that_is_refused_leaves_the_record_diverged_and_waits_for_a_person(
    office: PostOffice, club: Club
) -> None:
    stream = deliver_and_edit(office, club)
    club.fail_once("acme:O001:return:1", RejectedError("club: refused with 400 E1", vendor_code="E1"))
    result = office.run(stream)
    assert (result.corrected, club.held["acme:O001"]) == (0, 10)
    assert office.states() == {
        "acme:O000": "accepted", "acme:O001": "diverged", "acme:O001:return:1": "rejected"
    }  # fmt: skip
    (refused,) = office.queue.waiting("rejected")
    assert json.loads(refused.payload or "") == {"id": "acme:O001:return:1", "total": -10}
    office.run(stream)
    assert office.sent == []


def test_a_return_in_doubt_is_not_repeated_where_a_person_decides(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club, in_doubt=InDoubt("hold", "a person decides"))
    club.fail_once("acme:O001:return:1", PowerCutError(), after=True)
    with pytest.raises(PowerCutError):
        office.run(stream)
    for _ in range(2):
        office.run(stream)
        assert (office.sent, row_of(office)["state"]) == ([], "diverged")
        assert row_of(office, "acme:O001:return:1")["state"] == "in_doubt"
    office.queue.decide("club", "receipts", ["acme:O001:return:1"], was=("in_doubt",), state="delivered",
                        reason="seen there", now=NIGHT)  # fmt: skip
    office.run(stream)
    assert (club.received, club.sum_of("acme:O001")) == (
        ["acme:O001:return:1", "acme:O001:new:1"], Decimal("11.5")
    )  # fmt: skip


def test_an_edit_between_the_return_and_the_new_form_is_what_goes_out(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    club.fail_once("acme:O001:new:1", RetryableError("club: status 503"))
    with pytest.raises(RetryableError):
        office.run(stream)
    office.till.load(order("O001", version=3, total=13))
    office.run(stream)
    assert club.sum_of("acme:O001") == 13


def test_a_void_between_the_return_and_the_new_form_ends_it(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    club.fail_once("acme:O001:new:1", RetryableError("club: status 503"))
    with pytest.raises(RetryableError):
        office.run(stream)
    office.till.load(order("O001", version=3, state="voided"))
    office.run(stream)
    assert (club.sum_of("acme:O001"), row_of(office)["state"]) == (0, "skipped")


def test_an_edit_while_the_new_form_is_in_doubt_is_a_further_cycle(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    club.fail_once("acme:O001:new:1", PowerCutError(), after=True)
    with pytest.raises(PowerCutError):
        office.run(stream)
    office.till.load(order("O001", version=3, total=13))
    for _ in range(2):
        office.run(stream)
    assert (club.sum_of("acme:O001"), row_of(office)["correction_count"]) == (13, 2)


def test_a_change_that_was_undone_after_its_return_had_left_is_sent_again(office: PostOffice, club: Club) -> None:
    stream = deliver_and_edit(office, club)
    club.fail_once("acme:O001:return:1", PowerCutError(), after=True)
    with pytest.raises(PowerCutError):
        office.run(stream)
    office.till.load(order("O001", version=3))
    for _ in range(2):
        office.run(stream)
    assert club.sum_of("acme:O001") == 10


def test_a_change_of_everything_is_not_taken_back_before_a_person_has_looked(office: PostOffice, club: Club) -> None:
    office.bounds = Bounds(growth=3, floor=2)
    stream = stream_of(office, club)
    office.fill(30)
    office.run(stream)
    office.till.load(order("LAST"))
    office.run(stream)
    office.till.load(*[order(f"O{n:03}", version=2, total=11) for n in range(30)])
    club.received.clear()
    with pytest.raises(GuardError):
        office.run(stream)
    assert club.received == []
    assert office.run(stream, yes_really=True).corrected == 30


# --- two channels of one ledger -------------------------------------------------------------------

TWO_CHANNELS = """
select transaction_id as record_key, to_json({id: transaction_id, total: total_amount}) as payload,
    case
        when not is_countable then status
        when getvariable('channel') = 'api' and store_id = 'acme:OLD' then 'history file'
        when getvariable('channel') = 'history' and store_id <> 'acme:OLD' then 'API'
    end as skipped_reason,
    null as rejected_reason, line_count as weight
from selected
"""


def test_what_one_channel_delivered_is_not_taken_back_by_the_other(office: PostOffice, club: Club) -> None:
    (office.folder / "two.sql").write_text(TWO_CHANNELS)
    api = stream_of(office, club, sql="two.sql", elsewhere="history file")
    history = stream_of(office, club, sql="two.sql", name="receipt_history", ledger="receipts", history=True,
                        elsewhere="API")  # fmt: skip
    office.correct_diverged = False
    office.till.load(order("NEW"), order("OLD", location_id="OLD"))
    new, old = Selection(keys=("acme:NEW",)), Selection(keys=("acme:OLD",))
    office.run(api, new)
    office.run(history, old)
    office.till.load(order("NEW", version=2, total=12), order("OLD", version=2, total=13, location_id="OLD"))
    office.run(api, new)
    office.run(history, old)
    office.correct_diverged = True
    for stream, selection, first in ((history, old, "acme:OLD"), (api, new, "acme:NEW")):
        office.run(stream, selection)
        assert {key.partition(":return")[0] for key in office.sent_keys} == {first}
    assert (club.sum_of("acme:NEW"), club.sum_of("acme:OLD")) == (12, 13)
    assert set(office.states().values()) == {"accepted"}
