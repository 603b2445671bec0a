"""Fixtures that several rooms share: the small shop, the stand-ins around it, and a desk that talks to them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox, running_sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import KEYS, desk_of, pull_and_load


@pytest.fixture(scope="session")
def filled_till(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State of the stand-ins with the small shop on the till; copy it, never serve it."""
    state = tmp_path_factory.mktemp("filled")
    small_shop.fill(state / "square")
    return state


@pytest.fixture(scope="session")
def loaded_folder(filled_till: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an installation that has pulled and loaded the small shop and delivered nothing; copy it."""
    folder = tmp_path_factory.mktemp("loaded")
    shutil.copytree(filled_till, folder / "stand-ins")
    with running_sandbox(folder / "stand-ins") as sandbox:
        pull_and_load(desk_of(sandbox.url, folder))
    return folder


@pytest.fixture
def sandbox(tmp_path: Path, filled_till: Path) -> Iterator[Sandbox]:
    """All stand-ins, with the small shop on the till; this test's own."""
    shutil.copytree(filled_till, tmp_path / "stand-ins")
    with running_sandbox(tmp_path / "stand-ins") as running:
        yield running


@pytest.fixture
def desk(sandbox: Sandbox, tmp_path: Path) -> Desk:
    """A desk for the sandbox, in the night after the shop's last day."""
    return desk_of(sandbox.url, tmp_path)


@pytest.fixture
def loaded(sandbox: Sandbox, tmp_path: Path, loaded_folder: Path) -> Desk:
    """A desk an hour later, whose warehouse holds the small shop already."""
    shutil.copytree(loaded_folder / "data", tmp_path / "data")
    return desk_of(sandbox.url, tmp_path, now=lambda: small_shop.NOW + timedelta(hours=1))


@pytest.fixture(autouse=True)
def no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own keys or settings reach a test."""
    for name in (*KEYS, "ENGAGE_CONFIG", "ENGAGE_STATE_URL", "DAGSTER_HOME", "DAGSTER_POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)
