"""Fixtures of the suite: one till for all source tests, one platform per test, and a witness that reads along."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.delivery import Delivered
from engage_pipelines.errors import EngageError
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.conformance.vendors import PLATFORMS
from engage_pipelines_tests.installation import KEYS, WRONG_KEYS, desk_of, listed, selection_of
from engage_pipelines_tests.ledger_rows import known_all


class Witness:
    """Collects everything that anybody could read: error texts and log records."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.texts: list[str] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Swallow an error of ours and remember its text."""
        try:
            yield
        except EngageError as error:
            self.note(error)

    def note(self, error: BaseException | None) -> None:
        """Remember an error with everything that it was raised from."""
        while error is not None:
            self.texts.append(f"{error} {error!r}")
            error = error.__cause__

    def assert_discreet(self) -> None:
        """Nothing that was seen names a person or a key."""
        seen = "\n".join([*self.texts, *(record.getMessage() for record in self._caplog.records)])
        hidden = [*small_shop.personal_values(), *KEYS.values(), *WRONG_KEYS.values()]
        assert [value for value in hidden if value in seen] == []


def streams_before(destination: Destination, stream: Stream) -> list[Stream]:
    """The streams that go before, in the order of the declaration."""
    wanted, found = list(stream.after), set[str]()
    while wanted:
        name = wanted.pop()
        found.add(name)
        wanted += next(each for each in destination.streams if each.name == name).after
    return [each for each in destination.streams if each.name in found]


def deliver(desk: Desk, destination: Destination, stream: Stream) -> Delivered:
    """Deliver every record of the small shop's week."""
    return desk.deliver(destination, stream, selection_of(desk, destination, stream))


@pytest.fixture
def witness(caplog: pytest.LogCaptureFixture) -> Iterator[Witness]:
    caplog.set_level(logging.INFO)
    one = Witness(caplog)
    yield one
    one.assert_discreet()


@pytest.fixture(scope="session")
def shared_till(filled_till: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    state = tmp_path_factory.mktemp("till")
    shutil.copytree(filled_till, state, dirs_exist_ok=True)
    with running_sandbox(state, vendors=("square",)) as running:
        yield running


@pytest.fixture
def till(shared_till: Sandbox) -> Iterator[Sandbox]:
    """The stand-ins of all tills, without faults; tests that change what is on a till use `sandbox`."""
    yield shared_till
    for name in shared_till.frames:
        shared_till.clear_faults(name)


@pytest.fixture
def platform(tmp_path: Path, loaded_folder: Path) -> Iterator[Callable[[str], Sandbox]]:
    """Starts the stand-in of one platform, beside a warehouse that holds the small shop."""
    shutil.copytree(loaded_folder / "data", tmp_path / "data")
    running = []

    def start(vendor: str) -> Sandbox:
        context = running_sandbox(tmp_path / "stand-ins", vendors=(vendor,))
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


class Held(NamedTuple):
    """What counts in the end: what the platform holds of a stream, and what the ledger says.

    Attributes:
        applied: key at the platform -> how often a call, or a file, had an effect on it.
        report: counts and amounts of the whole platform.
        ledger: record -> state, hash of what was sent, hash of what is there.
    """

    applied: dict[str, int]
    report: dict[str, Any]
    ledger: dict[str, tuple[str, ...]]

    @property
    def sent(self) -> set[str]:
        """The records that the platform takes."""
        return {key for key, (state, *_) in self.ledger.items() if state in {"delivered", "accepted"}}


def held(sandbox: Sandbox, desk: Desk, destination: Destination, stream: Stream) -> Held:
    """What is at the platform, and in the ledger, at this moment."""
    platform = PLATFORMS[destination.name]
    # Files and queued receipts are imported by this.
    report = sandbox.stand_ins[destination.name].report()
    if stream.rows:
        records = listed(sandbox, destination.name, platform.kinds[stream.name])
        applied = {str(number): record["times_received"] for number, record in enumerate(records)}
    else:
        journal = sandbox.frames[destination.name].journal
        entries = journal.listing(platform.kinds[stream.name], "all", 0, 10_000)["records"]
        applied = {entry["key"]: entry["created"] + entry["changed"] for entry in entries}
    return Held(applied, {name: report[name] for name in platform.holds}, ledger_of(desk, destination, stream))


def ledger_of(desk: Desk, destination: Destination, stream: Stream) -> dict[str, tuple[str, ...]]:
    """A stream's records: state, hash of what was sent, hash of what is there."""
    known = known_all(desk.ledger, destination.name, stream.ledger_name).to_pylist()
    return {row["record_key"]: (row["state"], row["payload_hash"], row["delivered_hash"]) for row in known}


class Worlds:
    """Installations right before the first run of a stream, each beside the stand-in of its platform.

    Args:
        loaded: an installation that has delivered nothing.
        folder: where copies are made.
    """

    def __init__(self, loaded: Path, folder: Path) -> None:
        self._loaded = loaded
        self._folder = folder
        self._prepared: dict[tuple[str, str], Path] = {}
        self._wanted: dict[tuple[str, str], Held] = {}

    @contextmanager
    def open(self, destination: Destination, stream: Stream, folder: Path) -> Iterator[Sandbox]:
        """Copy one to `folder` and start its stand-in; what is owed to other streams before it is there."""
        shutil.copytree(self._before(destination, stream), folder, dirs_exist_ok=True)
        with _lenient_sandbox(folder, destination) as sandbox:
            yield sandbox

    def wanted(self, destination: Destination, stream: Stream) -> Held:
        """What a run without any fault leaves."""
        key = (destination.name, stream.name)
        if key not in self._wanted:
            folder = self._folder / "undisturbed" / destination.name / stream.name
            with self.open(destination, stream, folder) as sandbox:
                desk = desk_of(sandbox.url, folder)
                deliver(desk, destination, stream)
                self._wanted[key] = held(sandbox, desk, destination, stream)
        return self._wanted[key]

    def _before(self, destination: Destination, stream: Stream) -> Path:
        key = (destination.name, stream.name)
        if key not in self._prepared:
            folder = self._folder / "before" / destination.name / stream.name
            shutil.copytree(self._loaded / "data", folder / "data")
            with _lenient_sandbox(folder, destination) as sandbox:
                desk = desk_of(sandbox.url, folder)
                for before in streams_before(destination, stream):
                    deliver(desk, destination, before)
            # Nobody remembers the pace of another test.
            shutil.rmtree(folder / "data" / "state" / "pacing", ignore_errors=True)
            self._prepared[key] = folder
        return self._prepared[key]


@contextmanager
def _lenient_sandbox(folder: Path, destination: Destination) -> Iterator[Sandbox]:
    """The platform's stand-in without rates: clients here do not wait."""
    with running_sandbox(folder / "stand-ins", vendors=(destination.name,)) as sandbox:
        sandbox.frames[destination.name].windows.change([(1_000_000, 1.0)])
        yield sandbox


@pytest.fixture(scope="session")
def worlds(loaded_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return Worlds(loaded_folder, tmp_path_factory.mktemp("worlds"))
