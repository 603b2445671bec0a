"""Finding bad records in a refused batch: who is rejected, who is delivered, and how many calls it takes."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage_pipelines.delivery.batches import PlannedBatch
from engage_pipelines.delivery.bisection import Sent, isolate
from engage_pipelines.errors import (
    BudgetSpentError,
    CredentialsError,
    EngageError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.state import Settlement

Part = tuple[int, ...]


@functools.cache
def batch_of(count: int) -> PlannedBatch:
    names = tuple(f"{n:04}" for n in range(count))
    return PlannedBatch("whole", names, names, tuple(name.encode() for name in names))


def numbers(batch: PlannedBatch) -> Part:
    return tuple(int(key) for key in batch.keys)


@dataclass
class Vendor:
    """Takes or refuses whole calls by a rule; fails with an error at a given call, if told so."""

    refuses: Callable[[Part], bool]
    fails_at: int | None = None
    failure: tuple[EngageError, str] | None = None
    calls: list[Part] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    refused: list[Part] = field(default_factory=list)

    def send(self, batch: PlannedBatch) -> Sent | RejectedError:
        part = numbers(batch)
        self.calls.append(part)
        if len(self.calls) == self.fails_at and self.failure:
            error, state = self.failure
            return Sent(tuple(Settlement(key, state, str(error)) for key in batch.keys), error)
        if self.refuses(part):
            self.refused.append(part)
            return RejectedError(f"call {len(self.calls)} refused", vendor_code="E_BATCH")
        self.taken += part
        return Sent(tuple(Settlement(key, "delivered") for key in batch.keys))

    def deliver(self, count: int) -> Sent:
        """What a sender does: the batch as a whole first, then the search."""
        batch = batch_of(count)
        answer = self.send(batch)
        return isolate(batch, answer, self.send) if isinstance(answer, RejectedError) else answer

    @property
    def extra(self) -> int:
        return len(self.calls) - 1


def refusing(bad: set[int]) -> Vendor:
    return Vendor(lambda part: not bad.isdisjoint(part))


def in_state(sent: Sent, state: str) -> list[int]:
    return [int(s.record_key) for s in sent.settlements if s.state == state]


def most_extra(count: int, bad: int) -> int:
    """What the module promises for `bad` bad records in `count`."""
    steps = (count - 1).bit_length()
    if bad < 2:
        return bad * (steps + 2)
    return min(bad * (steps + 2) + 1, 2 * count + 1)


def check(count: int, bad: set[int]) -> None:
    vendor = refusing(bad)
    sent = vendor.deliver(count)
    good = [n for n in range(count) if n not in bad]
    assert [int(s.record_key) for s in sent.settlements] == list(range(count))
    assert in_state(sent, "rejected") == sorted(bad)
    assert in_state(sent, "delivered") == vendor.taken == good
    assert sent.error is None
    assert vendor.extra <= most_extra(count, len(bad))


@pytest.mark.parametrize("count", range(1, 11))
def test_every_set_of_bad_records_in_a_small_batch_is_found_within_the_promised_calls(count: int) -> None:
    for mask in range(2**count):
        check(count, {n for n in range(count) if mask >> n & 1})


@pytest.mark.parametrize("count", [31, 64, 100, 127, 128, 129, 1000])
def test_a_single_bad_record_is_found_wherever_it_is(count: int) -> None:
    for place in range(count):
        check(count, {place})


@pytest.mark.parametrize("count", [16, 31, 32, 40])
def test_any_two_bad_records_are_found_wherever_they_are(count: int) -> None:
    for pair in itertools.combinations(range(count), 2):
        check(count, set(pair))


@given(st.integers(1, 1000), st.floats(0, 1), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_bad_records_are_rejected_and_good_ones_delivered_once_in_order(
    count: int, share: float, dice: random.Random
) -> None:
    # The fourth power makes a few bad records among many the usual case, without leaving out the others.
    check(count, set(dice.sample(range(count), round(count * share**4))))


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(0, 999), st.integers(1, 40)), max_size=4))
@settings(max_examples=200, deadline=None)
def test_bad_records_in_clusters_are_found_within_the_promised_calls(
    count: int, clusters: list[tuple[int, int]]
) -> None:
    check(count, {n for start, size in clusters for n in range(start, start + size) if n < count})


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_batch_full_of_bad_records_costs_no_more_than_plain_halving(step: int) -> None:
    vendor = refusing(set(range(0, 1000, step)))
    vendor.deliver(1000)
    assert len(vendor.calls) <= 2 * 1000 - 1


@pytest.mark.parametrize("count", [2, 9, 16, 17, 31, 32, 33])
def test_no_number_and_placement_of_bad_records_exceeds_the_promised_calls(count: int) -> None:
    for bad in range(1, count + 1):
        assert worst_extra(count, bad) <= most_extra(count, bad)


@given(st.integers(2, 300), st.data())
@settings(max_examples=200, deadline=None)
def test_records_that_are_only_refused_together_are_all_delivered(count: int, data: st.DataObject) -> None:
    record = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(record, record).filter(lambda p: p[0] != p[1]), min_size=1, max_size=5))
    vendor = Vendor(lambda part: any(a in part and b in part for a, b in pairs))
    sent = vendor.deliver(count)
    assert in_state(sent, "delivered") == vendor.taken == list(range(count))


@pytest.mark.parametrize("count", [2, 3, 7, 64, 500])
def test_a_vendor_that_takes_only_single_records_gets_them_all_in_a_bounded_number_of_calls(count: int) -> None:
    vendor = Vendor(lambda part: len(part) > 1)
    sent = vendor.deliver(count)
    assert in_state(sent, "delivered") == vendor.taken == list(range(count))
    assert len(vendor.calls) <= 2 * count + 2


@given(st.integers(2, 300))
@settings(max_examples=30, deadline=None)
def test_a_refusal_that_was_only_a_bad_moment_rejects_nothing(count: int) -> None:
    vendor = Vendor(lambda part: len(part) == count)
    sent = vendor.deliver(count)
    assert in_state(sent, "delivered") == vendor.taken == list(range(count))


@given(st.integers(1, 200), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_record_is_rejected_only_if_it_was_refused_alone_however_moody_the_vendor(
    count: int, dice: random.Random
) -> None:
    vendor = Vendor(lambda part: dice.random() < 0.5)
    sent = vendor.deliver(count)
    alone = [part[0] for part in vendor.refused if len(part) == 1]
    assert in_state(sent, "rejected") == alone
    assert in_state(sent, "delivered") == vendor.taken
    assert sorted(alone + vendor.taken) == list(range(count))


def test_a_batch_of_one_is_rejected_without_another_call() -> None:
    vendor = refusing({0})
    sent = vendor.deliver(1)
    assert sent == Sent((Settlement("0000", "rejected", "call 1 refused", "E_BATCH"),))
    assert vendor.calls == [(0,)]


def test_a_rejected_record_carries_what_the_vendor_said_about_it_alone() -> None:
    vendor = refusing({2})
    rejected = [s for s in vendor.deliver(4).settlements if s.state == "rejected"]
    alone = vendor.calls.index((2,)) + 1
    assert rejected == [Settlement("0002", "rejected", f"call {alone} refused", "E_BATCH")]


def test_the_search_sends_first_halves_then_the_record_alone_then_the_rest() -> None:
    vendor = refusing({2})
    vendor.deliver(8)
    assert vendor.calls == [tuple(range(8)), (0, 1, 2, 3), (0, 1), (2,), (3, 4, 5, 6, 7)]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RetryableError("503"), "pending"),
        (BudgetSpentError("spent"), "pending"),
        (CredentialsError("401"), "pending"),
        (UnknownOutcomeError("timeout"), "in_doubt"),
    ],
)
@pytest.mark.parametrize("fails_at", range(2, 13))
def test_an_error_ends_the_search_and_what_was_not_tried_waits(error: EngageError, state: str, fails_at: int) -> None:
    bad = {5, 40, 41}
    vendor = Vendor(lambda part: not bad.isdisjoint(part), fails_at=fails_at, failure=(error, state))
    sent = vendor.deliver(64)
    under_way = vendor.calls[-1]
    assert len(vendor.calls) == fails_at
    assert sent.error is error
    assert in_state(sent, "delivered") == vendor.taken
    assert in_state(sent, "rejected") == [n for n in sorted(bad) if n < under_way[0]]
    untried = list(range(under_way[-1] + 1, 64))
    waits = list(under_way) + untried if state == "pending" else untried
    assert in_state(sent, "pending") == waits
    assert in_state(sent, "in_doubt") == (list(under_way) if state == "in_doubt" else [])
    assert [int(s.record_key) for s in sent.settlements] == list(range(64))
    assert all(s.reason == str(error) for s in sent.settlements if s.state in {"pending", "in_doubt"})


def worst_extra(count: int, bad: int) -> int:
    """The exact worst case over all placements, by the rules of the search; measured ones must agree with it.

    A search finds the first bad record of what was refused, so only its place, the records behind it
    and how cautious the search has become decide what follows.
    """

    @functools.cache
    def behind(left: int, bad: int, doubts: int) -> int:
        if left < bad:
            return -(10**6)
        if left == 0:
            return 0
        size = min(left, max(1, count >> doubts))
        # All of it is good; or the first bad one is at `place`.
        costs = [1 + behind(left - size, bad, max(0, doubts - 1))]
        more = min(count.bit_length(), doubts + 1)
        if bad:
            costs += [1 + found(size, place) + behind(left - place - 1, bad - 1, more) for place in range(size)]
        return max(costs)

    return max(found(count, place) + behind(count - place - 1, bad - 1, 0) for place in range(count))


@functools.cache
def found(size: int, place: int) -> int:
    """Calls to settle the first bad record of a refused range."""
    if size == 1:
        return 0
    half = size // 2
    if place < half:
        return 1 + found(half, place)
    return 2 if size - half == 1 else 1 + found(size - half, place - half)


@pytest.mark.parametrize("count", [7, 8, 10])
def test_the_exact_worst_case_is_what_the_search_really_needs(count: int) -> None:
    for bad in range(1, count + 1):
        vendors = [refusing(set(places)) for places in itertools.combinations(range(count), bad)]
        for vendor in vendors:
            vendor.deliver(count)
        assert max(vendor.extra for vendor in vendors) == worst_extra(count, bad)
