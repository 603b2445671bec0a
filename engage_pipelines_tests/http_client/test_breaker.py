"""A vendor that is down is left alone, found again by itself, and costs few calls meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.errors import ContractError, EngageError, RejectedError, RetryableError
from engage_pipelines.http_client import Breaker, Limits, Memory, Rate, RetryPolicy, VendorClient
from engage_pipelines.http_client.pacing import window
from engage_pipelines_tests.http_client.virtual_time import VirtualTime
from engage_pipelines_tests.scripted_vendor import HANG_UP, Script, ScriptedVendor, scripted_vendor

POLICY = RetryPolicy(jitter=lambda: 1.0)
DOWN = (503, b"")
WELL: Script = (200, {})
EVENING = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


class Account:
    """A scripted vendor, the account's memory, and as many clients of it as a test wants."""

    def __init__(self, vendor: ScriptedVendor, file: Path) -> None:
        self.vendor = vendor
        self.file = file
        self.time = VirtualTime()
        self.well_at = 0.0
        self.called_at: list[float] = []
        self.clients: list[VendorClient] = []

    def client(self, retry: RetryPolicy = POLICY, rates: tuple[Rate, ...] = (), in_flight: int = 4) -> VendorClient:
        limits = Limits(rates=rates, in_flight=in_flight, shared=self.file)
        client = VendorClient(
            "AIQ", self.vendor.url, limits=limits, retry=retry,
            sleep=self.sleep, monotonic=self.time.monotonic, now=self.time.now,
        )  # fmt: skip
        self.clients.append(client)
        return client

    def sleep(self, seconds: float) -> None:
        self.note_calls()
        self.time.sleep(seconds)
        if self.well_at and self.time.seconds >= self.well_at:
            self.vendor.answers[:] = [WELL]

    def note_calls(self) -> None:
        """Calls take no time here: what has come since the last look came now."""
        self.called_at += [self.time.seconds] * (len(self.vendor.asked) - len(self.called_at))

    @property
    def calls(self) -> int:
        return len(self.vendor.asked)

    def call(self, client: VendorClient, **options: Any) -> int:
        return client.call("POST", "things", **options).status


Open = Callable[..., Account]


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Open]:
    """Start a vendor with a script."""
    opened: list[AbstractContextManager[Any]] = []
    accounts: list[Account] = []

    def start(*script: Script, well_at: float = 0.0) -> Account:
        served = scripted_vendor(*script)
        account = Account(served.__enter__(), tmp_path / f"{len(accounts)}.rates")
        account.well_at = well_at
        opened.append(served)
        accounts.append(account)
        return account

    yield start
    for client in (client for account in accounts for client in account.clients):
        client.close()
    for each in opened:
        each.__exit__(None, None, None)


def fail(client: VendorClient, times: int) -> None:
    """So many calls that are tried once and fail."""
    client.retry = RetryPolicy(attempts=1, probes=0, jitter=lambda: 1.0)
    for _ in range(times):
        with pytest.raises(RetryableError):
            client.call("GET", "x")


def run(account: Account, client: VendorClient, batches: int = 10) -> tuple[int, EngageError | None]:
    """What a delivery does: one batch after the other, until three have failed in a row."""
    done, failed, first = 0, 0, None
    for _ in range(batches):
        try:
            account.call(client)
            done, failed = done + 1, 0
        except EngageError as error:
            first, failed = first or error, failed + 1
            if failed == 3:
                break
    return done, first


def test_two_minutes_of_trouble_are_survived_without_anybody_and_told(
    vendor: Open, caplog: pytest.LogCaptureFixture
) -> None:
    account = vendor(DOWN, well_at=120.0)
    assert run(account, account.client()) == (10, None)
    # Five quick tries, and one after each rest: of 30, 60 and 120 seconds.
    assert account.calls == 5 + 3 + 9
    assert account.time.seconds == pytest.approx(7.5 + 30 + 60 + 120)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "AIQ: failed 5 times in a row (status 503); left alone until 2026-11-20 02:00:37 UTC; given up by 02:30:07 UTC",
        "AIQ: failed 6 times in a row (status 503); left alone until 2026-11-20 02:01:37 UTC; given up by 02:30:07 UTC",
        "AIQ: failed 7 times in a row (status 503); left alone until 2026-11-20 02:03:37 UTC; given up by 02:30:07 UTC",
        "AIQ: answers again, after 7 failures in a row",
    ]


def test_an_hour_of_trouble_costs_few_calls_and_the_next_run_succeeds(vendor: Open) -> None:
    account = vendor(DOWN, well_at=3600.0)
    failed = 0
    while account.time.seconds < 3600:
        done, error = run(account, account.client(), batches=50)
        if error is None:
            break
        failed += 1
        assert done == 0
        assert isinstance(error, RetryableError)
        assert error.retry_at is not None
        account.sleep(60.0)
    assert failed >= 1
    assert sum(moment < 3600 for moment in account.called_at) <= 12
    assert run(account, account.client()) == (10, None)
    # Found well again no later than one rest after it was.
    assert account.time.seconds < 3600 + 900


def test_a_run_waits_for_one_trouble_no_longer_than_its_patience(vendor: Open) -> None:
    account = vendor(DOWN)
    done, error = run(account, account.client())
    assert (done, type(error)) == (0, RetryableError)
    assert account.time.seconds <= 1800 + 10
    calls = account.calls
    client = account.client(RetryPolicy(patience=100))
    with pytest.raises(
        RetryableError, match=r"^AIQ: failed \d+ times in a row \(status 503\); left alone until "
    ) as no:
        account.call(client)
    assert no.value.retry_at is not None
    assert account.calls == calls
    assert account.time.now() < no.value.retry_at <= account.time.now() + timedelta(seconds=900)


def test_the_error_of_a_call_that_gives_up_says_when_the_next_try_is(vendor: Open) -> None:
    account = vendor(DOWN)
    message = r"^AIQ: POST things: status 503 after 8 tries; left alone until 2026-11-20 02:07:37 UTC$"
    with pytest.raises(RetryableError, match=message) as raised:
        account.call(account.client())
    assert raised.value.retry_at == EVENING + timedelta(seconds=7.5 + 30 + 60 + 120 + 240)


def test_rests_double_up_to_a_quarter_of_an_hour() -> None:
    assert [POLICY.rest(number) for number in range(7)] == [30, 60, 120, 240, 480, 900, 900]
    assert POLICY.rest(255) == 900
    assert RetryPolicy(first_wait=0.0).rest(3) == 0


@pytest.mark.parametrize("script", [HANG_UP, (500, b""), (502, b""), (501, b"")])
def test_no_answer_and_any_5xx_count(vendor: Open, script: Script) -> None:
    account = vendor(script)
    client = account.client(RetryPolicy(attempts=1, probes=0))
    for _ in range(5):
        with pytest.raises((RetryableError, ContractError)):
            account.call(client)
    client.retry = RetryPolicy(patience=10)
    with pytest.raises(RetryableError, match="failed 5 times in a row"):
        account.call(client)


def test_an_answer_in_between_ends_the_row(vendor: Open) -> None:
    account = vendor(DOWN, DOWN, DOWN, DOWN, (404, b""), DOWN, DOWN, DOWN, DOWN, WELL)
    client = account.client()
    fail(client, 4)
    with pytest.raises(RejectedError):
        account.call(client)
    fail(client, 4)
    assert account.call(client) == 200
    assert account.time.seconds == 0.0


def test_being_throttled_neither_counts_nor_ends_the_row(vendor: Open) -> None:
    account = vendor(*[(429, b"")] * 6, DOWN, DOWN, (429, b""), DOWN, DOWN, DOWN, WELL)
    client = account.client()
    fail(client, 12)
    client.retry = RetryPolicy(patience=10)
    with pytest.raises(RetryableError, match="failed 5 times in a row"):
        account.call(client)


def test_threads_and_processes_count_together(vendor: Open) -> None:
    account = vendor(DOWN)
    first, second = account.client(), account.client()
    fail(first, 3)
    fail(second, 2)
    for client in (first, second):
        client.retry = RetryPolicy(patience=10)
        with pytest.raises(RetryableError, match="left alone until 2026-11-20 02:00:30 UTC"):
            account.call(client)
    assert account.calls == 5


def test_exactly_one_request_goes_as_a_probe(vendor: Open) -> None:
    account = vendor(DOWN, well_at=200.0)
    clients = [account.client(in_flight=8) for _ in range(2)]
    answers: list[int] = []

    def call(client: VendorClient) -> None:
        answers.append(account.call(client))

    account.time.run(*[partial(call, client) for client in clients * 4])
    assert answers == [200] * 8
    account.note_calls()
    assert account.called_at[:8] == [0.0] * 5 + [30.0, 90.0, 210.0]


def test_a_probe_under_way_is_waited_for_and_one_that_got_lost_is_replaced(tmp_path: Path) -> None:
    time = VirtualTime()
    memory = Memory((), clock=time.monotonic)
    breaker = Breaker(memory, sleep=time.sleep, now=time.now, name="AIQ")
    for _ in range(5):
        assert breaker.admit(lease=60.0) is False
        breaker.note_failure("status 500", POLICY, probe=False)
    assert breaker.admit(lease=60.0) is None
    breaker.wait(POLICY)
    assert time.seconds == 30.0
    assert breaker.admit(lease=60.0) is True
    assert breaker.admit(lease=60.0) is None
    breaker.wait(POLICY)
    assert time.seconds == 90.0
    assert breaker.admit(lease=60.0) is True


def test_what_left_before_the_vendor_was_left_alone_does_not_lengthen_the_rest(tmp_path: Path) -> None:
    time = VirtualTime()
    breaker = Breaker(Memory((), clock=time.monotonic), sleep=time.sleep, now=time.now, name="AIQ")
    for _ in range(9):
        breaker.note_failure("status 500", POLICY, probe=False)
    assert breaker.next_try_at() == EVENING + timedelta(seconds=30)
    breaker.note_answer()
    assert breaker.next_try_at() is None


def test_a_probe_that_is_throttled_is_followed_by_another_one(vendor: Open) -> None:
    account = vendor(*[DOWN] * 5, (429, b"", {"Retry-After": "40"}), DOWN, WELL)
    client = account.client()
    fail(client, 5)
    client.retry = POLICY
    assert account.call(client) == 200
    assert account.time.seconds == 30 + 40 + 60


def test_the_rest_and_the_vendors_wish_hold_both(vendor: Open) -> None:
    account = vendor(*[DOWN] * 4, (503, b"", {"Retry-After": "100"}), WELL)
    assert account.call(account.client()) == 200
    assert account.time.seconds == pytest.approx(7.5 + 100)


def test_the_next_process_knows_of_the_trouble(vendor: Open) -> None:
    account = vendor(*[DOWN] * 5, WELL)
    fail(account.client(), 5)
    account.time.seconds = 20.0
    # Ten seconds are left: it waits for them, and its first call is the probe.
    assert run(account, account.client()) == (10, None)
    assert account.time.seconds == 30.0
    assert account.calls == 5 + 10


@pytest.mark.parametrize("left", [b"", b"acme" * 40, b"\0" * 4096])
def test_a_memory_of_another_make_is_begun_anew(vendor: Open, left: bytes) -> None:
    account = vendor(WELL)
    account.file.write_bytes(left)
    assert account.call(account.client(rates=(Rate(5, 1.0),))) == 200


def test_a_record_that_the_vendor_cannot_digest_does_not_stop_the_others(vendor: Open) -> None:
    account = vendor(*[(500, b"")] * 8, WELL)
    client = account.client(in_flight=1)
    with pytest.raises(RetryableError, match="status 500 after 8 tries"):
        account.call(client)
    assert run(account, client) == (10, None)
    assert account.time.seconds < 480


def test_a_request_that_waits_for_its_turn_does_not_leave_when_the_vendor_fails_meanwhile(vendor: Open) -> None:
    rate = Rate(4, 20.0)
    account = vendor(DOWN, well_at=40.0)
    client = account.client(rates=(rate,), in_flight=6)
    account.time.run(*[lambda: account.call(client)] * 6)
    # Four may leave every twenty seconds. The first of the second four was the fifth to fail.
    assert account.called_at[:6] == pytest.approx([0.0] * 4 + [window(rate), window(rate) + 30.0])


def test_a_clock_that_is_set_back_does_not_lengthen_the_rest(vendor: Open) -> None:
    account = vendor(*[DOWN] * 5, WELL)
    client = account.client()
    fail(client, 5)
    client.retry = POLICY
    account.time.wall_is_off_by = -7200.0
    assert account.call(client) == 200
    assert account.time.seconds == 30.0
