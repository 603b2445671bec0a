"""Limits as data, and the pacer that keeps them."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage_pipelines.errors import BudgetSpentError, ConfigError, RetryableError
from engage_pipelines.http_client import Limits, Memory, Pacer, Rate, VendorClient, parse_rate
from engage_pipelines.http_client.pacing import window
from engage_pipelines.settings import child_environment
from engage_pipelines_tests.fake_clock import FakeClock
from engage_pipelines_tests.scripted_vendor import scripted_vendor

REPOSITORY = Path(__file__).resolve().parents[2]
_RATES = st.lists(
    st.builds(Rate, st.integers(1, 8), st.sampled_from([0.5, 1.0, 3.0, 60.0])), min_size=1, max_size=3
)  # fmt: skip


def pacer_of(clock: FakeClock, rates: Sequence[Rate] = (), file: Path | None = None, **options: Any) -> Pacer:
    memory = Memory(rates, file=file, clock=clock.monotonic)
    return Pacer(memory, sleep=clock.sleep, now=clock.now, **options)


def leaving_times(rates: list[Rate], idle: list[float], pauses: dict[int, float]) -> list[float]:
    """When requests leave whose callers come after `idle` seconds each."""
    clock = FakeClock()
    pacer = pacer_of(clock, rates)
    left = []
    for number, seconds in enumerate(idle):
        clock.seconds += seconds
        if number in pauses:
            pacer.pause(pauses[number])
        pacer.wait()
        left.append(clock.seconds)
    return left


def most_within(times: list[float], seconds: float) -> int:
    """The largest number of moments in any half-open stretch of this length."""
    return max(sum(start <= moment < start + seconds for moment in times) for start in times)


@given(_RATES, st.lists(st.floats(0, 2), min_size=1, max_size=40), st.dictionaries(st.integers(0, 39), st.floats(0, 5)))
@settings(max_examples=150, deadline=None)
def test_no_rate_is_ever_exceeded_in_any_stretch_of_time(
    rates: list[Rate], idle: list[float], pauses: dict[int, float]
) -> None:
    left = leaving_times(rates, idle, pauses)
    for rate in rates:
        assert most_within(left, rate.seconds) <= rate.requests


def test_requests_below_the_rate_leave_at_once() -> None:
    assert leaving_times([Rate(5, 1.0), Rate(100, 60.0)], [0.0] * 5, {}) == [0.0] * 5


def test_the_pacer_is_not_much_slower_than_the_rate_allows() -> None:
    left = leaving_times([Rate(10, 1.0)], [0.0] * 101, {})
    assert 10.0 <= left[-1] < 10.3


def test_a_request_that_was_sent_late_counts_from_then() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, [Rate(2, 1.0)])
    late, second = pacer.wait(), pacer.wait()
    clock.seconds += 0.3
    pacer.is_sent(late)
    pacer.is_sent(second)
    assert pacer.wait().waited == pytest.approx(window(Rate(2, 1.0)))


class SlowReader(threading.Thread):
    """A vendor on a socket that reads the first request only after a while, on a clock of its own."""

    def __init__(self, clock: FakeClock, late: float) -> None:
        super().__init__(daemon=True)
        self._clock, self._late = clock, late
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.arrived: list[float] = []

    def run(self) -> None:
        connection, _ = self._socket.accept()
        with self._socket, connection:
            for late in (self._late, 0.0):
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(1)
                size = int(
                    next(line for line in head.lower().split(b"\r\n") if b"content-length" in line).split(b":")[1]
                )
                self._clock.seconds += late
                while size:
                    size -= len(connection.recv(min(size, 1 << 20)))
                self.arrived.append(self._clock.seconds)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_a_request_that_is_long_on_its_way_out_lets_no_other_go_too_soon() -> None:
    clock = FakeClock()
    vendor = SlowReader(clock, late=0.3)
    vendor.start()
    limits = Limits(rates=(Rate(1, 1.0),), in_flight=1)
    with VendorClient("acme", vendor.url, limits=limits, monotonic=clock.monotonic, sleep=clock.sleep) as client:
        for _ in range(2):
            # More than the sockets hold: it is sent when the vendor reads.
            client.call("POST", "orders", content=b" " * (32 << 20))
    vendor.join(10)
    assert vendor.arrived[1] - vendor.arrived[0] >= 1.0


def test_a_pause_holds_every_later_request_back() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock)
    pacer.pause(30)
    pacer.pause(10)
    assert [pacer.wait().waited, pacer.wait().waited] == [30.0, 0.0]


def test_threads_share_one_rate() -> None:
    # The clock stands still here: what counts are the moments that the pacer gives out.
    pacer = Pacer(Memory([Rate(3, 1.0)], clock=lambda: 0.0), sleep=lambda seconds: None)
    with ThreadPoolExecutor(8) as pool:
        left = sorted(pool.map(lambda _: pacer.wait().waited, range(60)))
    assert most_within(left, 1.0) == 3
    assert len(set(left)) == 20


@given(_RATES, st.lists(st.tuples(st.integers(0, 2), st.floats(0, 2)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_processes_that_share_a_file_keep_the_rates_together(
    rates: list[Rate], callers: list[tuple[int, float]]
) -> None:
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "acme.pace"
        pacers = [pacer_of(clock, rates, file) for _ in range(3)]
        left = []
        for caller, seconds in callers:
            clock.seconds += seconds
            pacers[caller].wait()
            left.append(clock.seconds)
    for rate in rates:
        assert most_within(left, rate.seconds) <= rate.requests


def ask_often(file: Path) -> None:
    """What one of several processes does; prints when each request may leave."""
    memory = Memory([Rate(3, 1.0)], file=file, clock=lambda: 1000.0)
    pacer = Pacer(memory, sleep=lambda seconds: None)
    for _ in range(50):
        print(1000.0 + pacer.wait().waited)  # noqa: T201  that is how the parent hears of it


def test_two_processes_at_once_share_one_rate(tmp_path: Path) -> None:
    code = f"from {__name__} import *; ask_often(Path({str(tmp_path / 'acme.pace')!r}))"
    children = [
        subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, env=child_environment(), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    left = sorted(float(moment) for child in children for moment in child.communicate()[0].split())
    assert len(left) == 100
    assert most_within(left, 1.0) == 3


def test_a_forked_process_waits_for_the_memory_of_its_parent(tmp_path: Path) -> None:
    memory = Memory([Rate(1, 1.0)], file=tmp_path / "acme.pace")
    (begin, may_begin), (heard, has_it) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.read(begin, 1)
        with memory.held():
            os.write(has_it, b".")
        os._exit(0)
    with memory.held():
        os.write(may_begin, b".")
        assert select.select([heard], [], [], 0.3)[0] == []
    assert select.select([heard], [], [], 20)[0] == [heard]
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in (begin, may_begin, heard, has_it):
        os.close(descriptor)


def test_a_pause_is_kept_by_every_process_and_by_the_next_one(tmp_path: Path) -> None:
    clock = FakeClock()
    first, second = (pacer_of(clock, file=tmp_path / "acme.pace") for _ in range(2))
    first.pause(30)
    assert second.wait().waited == 30.0
    first.pause(10)
    assert pacer_of(clock, file=tmp_path / "acme.pace").wait().waited == 10.0


def test_a_pause_beyond_our_patience_is_told_at_once_to_every_process_until_it_is_over(tmp_path: Path) -> None:
    clock = FakeClock()

    def pacer() -> Pacer:
        return pacer_of(clock, file=tmp_path / "acme.pace", patience=60)

    pacer().pause(1200)
    with pytest.raises(RetryableError, match="asked to be left alone until"):
        pacer().wait()
    clock.seconds += 1150
    assert pacer().wait().waited == 50.0


def test_other_rates_begin_a_new_memory(tmp_path: Path) -> None:
    clock = FakeClock()

    def pacer(rate: Rate) -> Pacer:
        return pacer_of(clock, [rate], tmp_path / "acme.pace")

    assert [pacer(Rate(1, 60.0)).wait().waited, pacer(Rate(2, 60.0)).wait().waited] == [0.0, 0.0]


def test_a_spent_budget_of_a_day_is_told_and_not_waited_for() -> None:
    clock = FakeClock()
    pacer = pacer_of(clock, [Rate(5, 1.0), Rate(2, 86_400.0)])
    pacer.wait()
    pacer.wait()
    reset = clock.now() + timedelta(seconds=window(Rate(2, 86_400.0)))
    for _ in range(20):
        # Nothing is counted: asking again does not push the reset away.
        with pytest.raises(BudgetSpentError, match=r"budget of 2/d is spent until 2026-11-21 ") as raised:
            pacer.wait()
        assert raised.value.retry_at == reset
    clock.seconds += 90_000
    assert pacer.wait().waited == 0.0


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    gate = threading.Barrier(6, timeout=10)

    def ask(client: VendorClient) -> int:
        gate.wait()
        return client.call("GET", "x").status

    with scripted_vendor((200, {})) as vendor, VendorClient("v", vendor.url, limits=Limits(in_flight=2)) as client:
        with ThreadPoolExecutor(6) as pool:
            assert [f.result() for f in [pool.submit(ask, client) for _ in range(6)]] == [200] * 6
        assert vendor.most_under_way <= 2
        assert client.calls == 6


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5/s", Rate(5, 1.0)), ("120/min", Rate(120, 60.0)), ("2,000/h", Rate(2000, 3600.0)),
        ("90_000/day", Rate(90000, 86400.0)), ("100/10s", Rate(100, 10.0)), (" 7 / Minute ", Rate(7, 60.0)),
    ],
)  # fmt: skip
def test_a_rate_is_read_as_people_write_it(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "5", "5/fortnight", "0/s", "5/0s", "/s", ",/s", "-1/s", "1.5/s"])
def test_a_rate_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"<requests>/<s\|min\|h\|day>"):
        parse_rate(text)
