"""Fixtures of the suite: one till for all source tests, one platform per test, and a witness that reads along."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engage_pipelines.errors import EngageError
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import KEYS, WRONG_KEYS


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
