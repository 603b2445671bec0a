"""Shared by the tests of the Square source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engage_pipelines_tests.sources.square.mapping import Shop, open_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = open_shop(tmp_path)
    yield opened
    opened.connection.close()
