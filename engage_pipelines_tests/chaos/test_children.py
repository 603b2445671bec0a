"""Children of the zygote: they end by themselves, at a place, by SIGKILL, and with the campaign at the latest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.chaos.children import KILLED, HungError, Nursery, nursery
from engage_pipelines_tests.chaos.points import COUNT, POINT_BY_NAME, POINTS, counted, kill_order
from engage_pipelines_tests.installation import write_settings

SECONDS = 60.0
DAYS = ("--from", small_shop.FIRST_DAY.isoformat(), "--to", small_shop.LAST_DAY.isoformat())


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with nursery(tmp_path_factory.mktemp("children"), {}) as running:
        yield running


def test_a_child_prints_into_files_and_ends_with_the_exit_code_of_the_command(children: Nursery) -> None:
    fine = children.run("tables", "--help", seconds=SECONDS)
    assert fine.code == 0
    assert "Usage" in fine.out.read_text()
    wrong = children.run("tables", "--no-such-flag", seconds=SECONDS)
    assert wrong.code == 2
    assert "no-such-flag" in wrong.last_words


def test_a_child_that_is_killed_says_so(children: Nursery, tmp_path: Path) -> None:
    # It reads its settings from a pipe that nobody writes to.
    waiting = tmp_path / "engage.toml"
    os.mkfifo(waiting)
    child = children.start("status", "--config", str(waiting))
    assert not child.ends_within(0.05)
    child.kill()
    assert child.code == KILLED
    assert child.was_killed
    assert not child.has_crashed


def test_a_child_that_does_not_end_is_killed_and_reported(children: Nursery, tmp_path: Path) -> None:
    waiting = tmp_path / "engage.toml"
    os.mkfifo(waiting)
    child = children.start("status", "--config", str(waiting))
    with pytest.raises(HungError, match=r"engage status --config .*: no end after 0.05 s"):
        child.wait(0.05)
    assert child.was_killed


def test_no_child_outlives_its_nursery(tmp_path: Path) -> None:
    waiting = tmp_path / "engage.toml"
    os.mkfifo(waiting)
    with nursery(tmp_path / "children", {}) as short_lived:
        child = short_lived.start("status", "--config", str(waiting))
    assert child.ends_within(SECONDS)
    assert child.was_killed


def test_every_place_to_die_at_is_met_by_its_commands(children: Nursery, sandbox: Sandbox, tmp_path: Path) -> None:
    config = ("--config", str(write_settings(sandbox.url, tmp_path)))
    met: Counter[str] = Counter()
    for number, command in enumerate((
        ("pull", "square", *DAYS), ("pull", "square", "orders", *DAYS), ("load", "square", *DAYS),
        ("deliver", "crmcom", "--all"), ("deliver", "voyado", "contact_history", "--month", "2024-03"), ("publish",),
    )):  # fmt: skip
        file = tmp_path / f"met-{number}"
        child = children.run(*command, *config, seconds=SECONDS, environment={COUNT: str(file)})
        assert child.code == 0, child.last_words
        met += Counter(
            {place: times for place, times in counted(file).items() if command[0] in POINT_BY_NAME[place].of}
        )
    assert [point.name for point in POINTS if not met[point.name]] == []


def test_a_child_dies_at_the_place_that_it_was_told(children: Nursery, sandbox: Sandbox, tmp_path: Path) -> None:
    config = ("--config", str(write_settings(sandbox.url, tmp_path)))
    place = POINT_BY_NAME["putting a spool in place"]
    child = children.run(
        "pull", "square", "locations", *DAYS, *config, seconds=SECONDS, environment=kill_order(place, 1)
    )
    assert child.was_killed
    # Written aside, and never put in place.
    folders = list((tmp_path / "data" / "lake" / "square" / "locations").iterdir())
    assert [folder.suffix for folder in folders] == [".part"]
    assert children.run("pull", "square", "locations", *DAYS, *config, seconds=SECONDS).code == 0
