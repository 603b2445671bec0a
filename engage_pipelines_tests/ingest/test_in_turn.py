"""One pull after the other: the next begins when one has nothing left to ask for, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engage_pipelines.connector import Options, PullFunction, Scope
from engage_pipelines.errors import CredentialsError, RetryableError
from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.ingest import Pulling, PullsInTurn, cut
from engage_pipelines_tests.plain_till import NIGHT, ORDERS

WINDOWS = cut(NIGHT - timedelta(days=4), NIGHT, days=1)
# A wait that is never as long if the code is right.
LONG = 30.0
Opening = Callable[[], AbstractContextManager[Pulling]]


@pytest.fixture
def opening(tmp_path: Path) -> Callable[..., Opening]:
    def make(name: str, how: PullFunction, kind: type[Pulling] = Pulling) -> Opening:
        @contextmanager
        def opened() -> Iterator[Pulling]:
            entity = replace(ORDERS, name=name, pull=how, prove=None, per_location=False)
            with (
                VendorClient("acme", "http://127.0.0.1:9", limits=Limits(in_flight=2)) as client,
                kind(
                    client, entity, source="acme", lake=tmp_path, windows=WINDOWS, location_ids=(),
                    options=Options(), now=lambda: NIGHT,
                ) as pulling,
            ):  # fmt: skip
                yield pulling

        return opened

    return make


class Asked:
    """A pull that notes its windows, with how many another one had had by then, and may wait before it answers."""

    def __init__(self, *, waits: bool = False, error: Exception | None = None, after: Asked | None = None) -> None:
        self.windows: list[Scope] = []
        self.seen: set[int] = set()
        self._after = after
        self.began, self.may_end = threading.Event(), threading.Event()
        self._error = error
        if not waits:
            self.may_end.set()

    def __call__(self, client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
        self.windows.append(scope)
        if self._after:
            self.seen.add(len(self._after.windows))
        self.began.set()
        assert self.may_end.wait(LONG)
        if self._error:
            raise self._error
        yield [b'{"id": "1"}']


def test_the_next_one_is_pulled_before_anything_of_the_first_was_taken(
    opening: Callable[..., Opening],
) -> None:
    first, second = Asked(), Asked()
    with PullsInTurn([opening("orders", first), opening("payments", second)]) as pulls:
        assert second.began.wait(LONG)
        assert len(first.windows) == len(WINDOWS)
        assert pulls.next().finish().windows == len(WINDOWS)
        assert pulls.next().finish().windows == len(WINDOWS)


def test_the_next_one_waits_until_the_first_has_nothing_left_to_ask(
    opening: Callable[..., Opening],
) -> None:
    first = Asked(waits=True)
    second = Asked(after=first)
    with PullsInTurn([opening("orders", first), opening("payments", second)]) as pulls:
        pulling = pulls.next()
        assert first.began.wait(LONG)
        first.may_end.set()
        assert pulling.finish().windows == len(WINDOWS)
        assert pulls.next().finish().windows == len(WINDOWS)
    assert len(second.windows) == len(WINDOWS)
    assert second.seen == {len(WINDOWS)}


def test_after_a_failure_nothing_else_is_asked_for(opening: Callable[..., Opening]) -> None:
    first, second = Asked(error=CredentialsError("acme: 401")), Asked()
    with (
        pytest.raises(CredentialsError),
        PullsInTurn([opening("orders", first), opening("payments", second)]) as pulls,
    ):
        pulls.next().finish()
    assert not second.windows


def test_one_that_cannot_begin_is_told_in_its_turn(opening: Callable[..., Opening]) -> None:
    @contextmanager
    def failing() -> Iterator[Pulling]:
        raise RetryableError("acme: no answer")
        yield

    with PullsInTurn([opening("orders", Asked()), failing]) as pulls:
        assert pulls.next().finish().windows == len(WINDOWS)
        with pytest.raises(RetryableError, match="no answer"):
            pulls.next()


def test_whoever_leaves_early_lets_what_is_under_way_end_and_begins_nothing(
    opening: Callable[..., Opening],
) -> None:
    first, second = Asked(waits=True), Asked()

    class AnsweredOnceStopped(Pulling):
        def stop(self) -> None:
            super().stop()
            first.may_end.set()

    threads = threading.active_count()
    with PullsInTurn([opening("orders", first, AnsweredOnceStopped), opening("payments", second)]) as pulls:
        pulls.next()
        assert first.began.wait(LONG)
    assert threading.active_count() == threads
    assert 0 < len(first.windows) < len(WINDOWS)
    assert not second.windows
