"""Whether and when a call is repeated."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engage_pipelines.http_client import RetryPolicy
from engage_pipelines.http_client.retries import NOT_DONE_STATUSES, RETRYABLE_STATUSES, retry_after_seconds

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_client_errors_are_not_repeated_but_throttling_and_timeouts_are() -> None:
    assert RETRYABLE_STATUSES & set(range(400, 500)) == {408, 425, 429}
    assert {500, 502, 503, 504} <= RETRYABLE_STATUSES
    assert 501 not in RETRYABLE_STATUSES
    assert NOT_DONE_STATUSES < RETRYABLE_STATUSES


def test_the_wait_doubles_up_to_a_cap_and_is_spread() -> None:
    longest = RetryPolicy(attempts=9, first_wait=1, longest_wait=10, jitter=lambda: 1.0)
    shortest = RetryPolicy(attempts=9, first_wait=1, longest_wait=10, jitter=lambda: 0.0)
    assert [longest.next_wait(n, None) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert [shortest.next_wait(n, None) for n in range(1, 4)] == [0.5, 1, 2]


def test_two_callers_do_not_come_back_at_the_same_moment() -> None:
    policy = RetryPolicy()
    assert len({policy.next_wait(1, None) for _ in range(20)}) > 10


def test_what_the_vendor_asks_for_is_obeyed_in_full_up_to_the_patience() -> None:
    policy = RetryPolicy(longest_wait=30, patience=600)
    assert policy.next_wait(1, 599.0) == 599.0
    assert policy.next_wait(1, 601.0) is None


def test_after_the_last_try_there_is_no_other() -> None:
    assert RetryPolicy(attempts=3).next_wait(3, 1.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0), ("1.5", 1.5), ("0", 0.0), (" 7 ", 7.0),
        ("Fri, 20 Nov 2026 12:20:00 GMT", 1200.0), ("Fri, 20 Nov 2026 13:20:00 +0100", 1200.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0), ("Fri, 20 Nov 2026 12:00:05 -0000", 5.0),
        ("", None), ("soon", None), ("-5", None), ("nan", None), ("inf", None), ("Fri, 99 Nov 2026 12:20:00 GMT", None),
        ("99999999999999999999", 366 * 86400.0), ("Fri, 20 Nov 9999 12:20:00 GMT", 366 * 86400.0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_and_as_a_date_and_garbage_is_ignored(value: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds


def test_no_header_is_no_wish() -> None:
    assert retry_after_seconds({}, NOW) is None
