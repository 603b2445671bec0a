"""The operational memory on both databases: a test that takes one of these runs once on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from engage_pipelines.state import open_state
from engage_pipelines_tests.postgres import fresh_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of this test's own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/state.db"
        return
    with fresh_postgres() as url:
        yield url


@pytest.fixture
def engine(state_url: str) -> Iterator[sa.Engine]:
    """The operational memory, opened, with its tables."""
    engine = open_state(state_url)
    yield engine
    engine.dispose()
