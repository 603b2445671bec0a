"""Pulling: windows side by side, each finished or not there."""

from __future__ import annotations

import itertools
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Entity, Options, PullFunction, Scope, Window
from engage_pipelines.errors import RetryableError
from engage_pipelines.http_client import Limits, Rate, VendorClient
from engage_pipelines.ingest import Pulled, Pulling, Spool, cut
from engage_pipelines_tests.plain_till import NIGHT, ORDERS
from engage_pipelines_tests.scripted_vendor import scripted_vendor

WINDOWS = cut(NIGHT - timedelta(days=6), NIGHT, days=1)
Pages = Iterator[Sequence[bytes]]


def one_record(client: VendorClient, scope: Scope) -> Pages:
    yield [json.dumps({"id": f"{scope.window.start:%d}-{'+'.join(scope.location_ids)}"}).encode()]


def entity(how: PullFunction, **changes: Any) -> Entity:
    values: dict[str, Any] = {"pull": how, "prove": None, "per_location": False} | changes
    return replace(ORDERS, **values)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Pulled]:
    def start(what: Entity, windows: Sequence[Window] = WINDOWS, in_flight: int = 4, **options: Any) -> Pulled:
        with (
            VendorClient("acme", "http://127.0.0.1:9", limits=Limits(in_flight=in_flight)) as client,
            Pulling(
                client, what, source="acme", lake=tmp_path, windows=windows, options=Options(), now=lambda: NIGHT,
                **{"location_ids": ("L3", "L1", "L2"), **options},
            ) as pulling,
        ):  # fmt: skip
            return pulling.finish()

    return start


def spooled(lake: Path) -> list[tuple[Window, tuple[str, ...]]]:
    found = [
        (Window(m.window_start, m.window_end), m.location_ids) for _, m in Spool(lake, "acme", "orders").finished()
    ]
    return sorted(found, key=lambda item: (item[0].start, item[1]))


def test_every_window_is_spooled_and_counted(run: Callable[..., Pulled], tmp_path: Path) -> None:
    pulled = run(entity(one_record))
    assert (pulled.windows, pulled.pages, pulled.records) == (6, 6, 6)
    assert spooled(tmp_path) == [(window, ()) for window in WINDOWS]


def test_locations_are_asked_in_groups_as_large_as_the_till_allows(run: Callable[..., Pulled], tmp_path: Path) -> None:
    run(entity(one_record, per_location=True, locations_per_call=2), WINDOWS[:1])
    assert spooled(tmp_path) == [(WINDOWS[0], ("L1", "L2")), (WINDOWS[0], ("L3",))]


@pytest.mark.parametrize(
    ("stores", "sizes"), [(0, []), (3, [1] * 3), (8, [1] * 8), (20, [3] * 6 + [2]), (200, [10] * 20)]
)
def test_locations_that_are_walked_share_a_window_once_there_are_enough_of_them(
    run: Callable[..., Pulled], tmp_path: Path, stores: int, sizes: list[int]
) -> None:
    names = tuple(f"L{number:03}" for number in range(stores))
    walked = entity(one_record, per_location=True, locations_per_call=10, walks_locations=True)
    run(walked, WINDOWS[:1], location_ids=names)
    groups = [locations for _, locations in spooled(tmp_path)]
    assert [len(group) for group in groups] == sizes
    assert [name for group in groups for name in group] == list(names)


@pytest.mark.parametrize(("windows", "pages"), [(2, 0), (1, 1)])
def test_a_window_that_waits_for_its_next_page_has_none_in_memory_or_the_one_that_is_written_if_it_is_alone(
    run: Callable[..., Pulled], windows: int, pages: int
) -> None:
    size, held = 4_000_000, []

    def large_pages(client: VendorClient, scope: Scope) -> Pages:
        for _ in range(4):
            held.append(tracemalloc.get_traced_memory()[0])
            yield [b"7" * size]

    tracemalloc.start()
    try:
        run(entity(large_pages), WINDOWS[:windows], in_flight=1)
    finally:
        tracemalloc.stop()
    assert len(held) == 4 * windows
    # A page that is written is there once more as it goes to the file.
    assert max(held) < (2 * pages + 1) * size


def test_an_entity_without_windows_is_pulled_once_as_of_the_last_end(
    run: Callable[..., Pulled], tmp_path: Path
) -> None:
    assert run(entity(one_record, windowed=False)).windows == 1
    assert spooled(tmp_path) == [(WINDOWS[-1], ())]


def most_under_way(tmp_path: Path, *, clock: Callable[[], float], rates: tuple[Rate, ...] = ()) -> int:
    """Pull 6 windows of 3 pages with up to 6 calls in flight, on a clock for the calls; gives the most at once."""
    under_way: list[int] = [0]
    lock = threading.Lock()

    def three_pages(client: VendorClient, scope: Scope) -> Pages:
        with lock:
            under_way.append(under_way[-1] + 1)
        for _ in range(3):
            yield [client.call("GET", "orders").content]
        with lock:
            under_way.append(under_way[-1] - 1)

    limits = Limits(rates=rates, in_flight=6)
    with (
        scripted_vendor((200, {"id": "1"})) as vendor,
        VendorClient("acme", vendor.url, limits=limits, monotonic=clock, sleep=lambda seconds: None) as client,
        Pulling(client, entity(three_pages), source="acme", lake=tmp_path, windows=WINDOWS, location_ids=(),
                options=Options()) as pulling,
    ):  # fmt: skip
        assert pulling.finish().windows == 6
    return max(under_way)


def test_windows_are_pulled_side_by_side_where_answers_are_waited_for(tmp_path: Path) -> None:
    looks = itertools.count()
    # Every look at the clock is a minute later.
    assert most_under_way(tmp_path, clock=lambda: 60.0 * next(looks)) > 2


def test_no_more_windows_than_keep_the_processor_busy_are_under_way(tmp_path: Path) -> None:
    # A clock that stands still: whatever was computed, nothing was waited for.
    assert most_under_way(tmp_path, clock=lambda: 0.0) == 2


def test_windows_are_given_out_in_their_order_and_only_those_that_are_whole(tmp_path: Path) -> None:
    first_may_end = threading.Event()

    def first_waits(client: VendorClient, scope: Scope) -> Pages:
        yield [b"{}"]
        if scope.window == WINDOWS[0]:
            first_may_end.wait(10)

    with (
        VendorClient("acme", "http://127.0.0.1:9", limits=Limits(in_flight=2)) as client,
        Pulling(client, entity(first_waits), source="acme", lake=tmp_path, windows=WINDOWS, location_ids=(),
                options=Options(), now=lambda: NIGHT) as pulling,
    ):  # fmt: skip
        spool = Spool(tmp_path, "acme", "orders")
        while len(spool.finished()) < len(WINDOWS) - 1:
            assert pulling.next(within=0.0) is None
        first_may_end.set()
        given = [pulling.next() for _ in WINDOWS]
        assert [found[1].window_start for found in given if found] == [window.start for window in WINDOWS]
        assert all(found and (found[0] / "manifest.json").exists() for found in given)
        assert pulling.next() is None


def test_the_second_question_comes_after_the_first(run: Callable[..., Pulled], tmp_path: Path) -> None:
    asked: list[str] = []

    def first(client: VendorClient, scope: Scope) -> Pages:
        asked.append("first")
        yield [b"{}"]
        asked.append("first ended")

    def second(client: VendorClient, scope: Scope) -> Pages:
        asked.append("second")
        yield [b'{"id":"1"}', b'{"id":"2"}']

    run(entity(first, prove=second), WINDOWS[:1])
    assert asked == ["first", "first ended", "second"]
    assert Spool(tmp_path, "acme", "orders").finished()[0][1].proofs == 2


def test_an_error_keeps_the_windows_that_were_finished_and_the_next_pull_brings_the_rest(
    run: Callable[..., Pulled], tmp_path: Path
) -> None:
    def fail_on_the_third(client: VendorClient, scope: Scope) -> Pages:
        yield [b"{}"]
        if scope.window == WINDOWS[2]:
            raise RetryableError("acme: GET orders: status 503 after 5 tries")

    with pytest.raises(RetryableError, match="503"):
        run(entity(fail_on_the_third), in_flight=1)
    kept = spooled(tmp_path)
    assert (WINDOWS[0], ()) in kept
    assert (WINDOWS[1], ()) in kept
    assert (WINDOWS[2], ()) not in kept
    run(entity(one_record))
    assert spooled(tmp_path) == [(window, ()) for window in WINDOWS]
    assert list((tmp_path / "acme" / "orders").glob("*.part")) == []


def test_progress_counts_windows(run: Callable[..., Pulled]) -> None:
    heard: list[tuple[int, int]] = []
    run(entity(one_record), progress=lambda done, total: heard.append((done, total)))
    assert heard == [(n, 6) for n in range(1, 7)]


def test_calls_are_counted_and_no_windows_is_no_work(tmp_path: Path) -> None:
    def ask(client: VendorClient, scope: Scope) -> Pages:
        yield [client.call("GET", "orders").content]

    with scripted_vendor((200, {"id": "1"})) as vendor, VendorClient("acme", vendor.url) as client:

        def start(windows: Sequence[Window]) -> Pulled:
            with Pulling(client, entity(ask), source="acme", lake=tmp_path, windows=windows, location_ids=(),
                         options=Options()) as pulling:  # fmt: skip
                return pulling.finish()

        assert start(WINDOWS).calls == 6
        assert start([]).calls == 0
