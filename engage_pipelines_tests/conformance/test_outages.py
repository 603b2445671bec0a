"""A platform that is down for an hour: what a run does meanwhile, and that the first one after it delivers everything.

The stand-in and the clients tell the time by one clock, which moves only when a client waits or a test moves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.errors import RetryableError
from engage_pipelines.http_client import VendorClient
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.clock import SandboxClock
from engage_pipelines.sandbox.faults import OUTAGES
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests.conformance.conftest import Held, Witness, Worlds, deliver, held, ledger_of
from engage_pipelines_tests.conformance.vendors import CALLING, PLATFORMS, name_of
from engage_pipelines_tests.installation import calls_of, desk_of

HOUR = 3600.0
# The longest rest of a platform, and the longest that a run waits for one outage.
LONGEST_REST, PATIENCE = 900.0, 1800.0
# What a run as a whole does is the same for every stream of a platform.
ONE_EACH = [(d, s) for d, s in CALLING if s.name in {"sales", "products", "receipts"}]
# As shipped; other tests do not wait between tries.
WAITS = {"voyado": {"retry_first_wait": 10.0}}


def on_clock(destination: Destination, clock: SandboxClock, **patience: float) -> Destination:
    """The platform, connected with a client that lives by this clock."""

    def connect(*given: Any) -> Any:
        session = destination.connect(*given)
        client = session.client
        client.close()
        told = VendorClient(
            client.vendor, str(client._http.base_url), headers=dict(client._http.headers), limits=client.limits,
            secrets=client._secrets, retry=replace(client.retry, **patience),
            sleep=clock.advance, monotonic=clock, now=clock.moment,
        )  # fmt: skip
        if is_dataclass(session):
            return replace(session, client=told)  # type: ignore[type-var]
        session.client = told
        return session

    return replace(destination, connect=connect)


@dataclass(frozen=True)
class Night:
    """A desk before the first run of a stream, on a clock that stands."""

    sandbox: Sandbox
    desk: Desk
    destination: Destination
    stream: Stream
    wanted: Held

    @property
    def clock(self) -> SandboxClock:
        return self.sandbox.clock

    @property
    def calls(self) -> int:
        return calls_of(self.sandbox, self.destination.name)

    def run(self, **patience: float) -> Any:
        return deliver(self.desk, on_clock(self.destination, self.clock, **patience), self.stream)

    def fails(self, witness: Witness, **patience: float) -> RetryableError:
        """A run that ends by itself because the platform is down."""
        with pytest.raises(RetryableError) as caught:
            self.run(**patience)
        witness.note(caught.value)
        return caught.value

    def refused_until(self, witness: Witness) -> datetime:
        """A run that does not wait, makes no call and says when there is a point in trying again."""
        calls = self.calls
        error = self.fails(witness, patience=0.0)
        assert "left alone until " in str(error)
        assert self.calls == calls
        assert error.retry_at is not None
        assert error.retry_at > self.clock.moment()
        return error.retry_at

    def delivers_everything(self) -> None:
        """This run brings all that is owed, and the next one has nothing to do."""
        result = self.run()
        assert result.is_balanced
        assert held(self.sandbox, self.desk, self.destination, self.stream) == self.wanted
        assert set(self.wanted.applied.values()) == {1}
        assert self.run().calls == 0


@contextmanager
def night(worlds: Worlds, folder: Path, destination: Destination, stream: Stream) -> Iterator[Night]:
    wanted = worlds.wanted(destination, stream)
    with worlds.open(destination, stream, folder) as sandbox:
        sandbox.clock.run(running=False)
        changes: dict[str, Any] = {
            destination.name: {**PLATFORMS[destination.name].several_calls, **WAITS.get(destination.name, {})}
        }
        desk = desk_of(sandbox.url, folder, **changes)
        yield Night(sandbox, desk, destination, stream, wanted)


@pytest.mark.parametrize("kind", sorted(OUTAGES))
@pytest.mark.parametrize(("destination", "stream"), CALLING, ids=name_of)
def test_an_hours_outage_costs_few_calls_and_the_first_run_after_it_delivers_everything(
    worlds: Worlds, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream, kind: str
) -> None:
    with night(worlds, tmp_path, destination, stream) as one:
        began = one.clock()
        one.sandbox.add_fault(destination.name, kind=kind, until_seconds=HOUR)
        one.fails(witness)
        # By itself, and long before the hour is over.
        assert one.clock() - began < PATIENCE + 60
        assert one.calls <= 12
        rows = ledger_of(one.desk, destination, stream)
        states = {state for key, (state, *_) in rows.items() if key in one.wanted.sent}
        # A connection that breaks off leaves open what was done before.
        assert states <= ({"pending"} if kind == "down" else {"pending", "in_doubt"})
        assert one.refused_until(witness) <= one.clock.moment() + timedelta(seconds=LONGEST_REST)

        one.clock.advance(max(began + HOUR - one.clock(), 0.0))
        one.delivers_everything()
        assert one.clock() - began <= HOUR + LONGEST_REST


@pytest.mark.parametrize(("destination", "stream"), ONE_EACH, ids=name_of)
def test_the_error_that_ends_a_run_says_when_the_platform_is_tried_again(
    worlds: Worlds, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    with night(worlds, tmp_path, destination, stream) as one:
        one.sandbox.add_fault(destination.name, kind="down")
        error = one.fails(witness)
        assert error.retry_at == one.refused_until(witness)


@pytest.mark.parametrize(
    ("destination", "stream"),
    [pytest.param(d, s, id=f"{d.name}-{s.name}") for d, s in ONE_EACH],
)
def test_an_outage_of_minutes_is_waited_for_and_needs_no_other_run(
    worlds: Worlds, tmp_path: Path, destination: Destination, stream: Stream
) -> None:
    with night(worlds, tmp_path, destination, stream) as one:
        one.sandbox.add_fault(destination.name, kind="down", until_seconds=150.0)
        began = one.clock()
        one.delivers_everything()
        assert 150 <= one.clock() - began <= 300


@pytest.mark.parametrize(("destination", "stream"), ONE_EACH, ids=name_of)
def test_two_desks_on_one_account_leave_its_platform_alone_together(
    worlds: Worlds, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    with night(worlds, tmp_path, destination, stream) as one:
        # Another process would see the same: what they share is a file.
        other = replace(one, desk=Desk(one.desk.settings, now=one.desk.now))
        one.sandbox.add_fault(destination.name, kind="down", until_seconds=HOUR)
        one.fails(witness)
        assert other.refused_until(witness) == one.refused_until(witness)

        one.clock.advance(HOUR)
        other.delivers_everything()
        # The other's first call has found the platform well again, for both.
        one.sandbox.clock.advance(60.0)
        assert one.run(patience=0.0).calls == 0
