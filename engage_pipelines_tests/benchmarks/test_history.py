"""The bare script that writes history files: what it is compared with must be worth comparing."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from benchmarks import history_bare
from benchmarks.history_ours import compare
from benchmarks.history_world import LINES, build, desk_of

RECEIPTS = 600


@pytest.fixture
def world(tmp_path: Path) -> Path:
    build(desk_of(tmp_path / "world"), RECEIPTS)
    return tmp_path / "world"


def test_the_bare_script_writes_every_line_of_the_warehouse(world: Path) -> None:
    assert history_bare.write(world) == RECEIPTS * LINES
    found = compare(desk_of(world))
    assert found["is_complete"]
    assert found["files"] == 24
    assert found["ledger_rows"] == 0


def test_its_files_hold_whole_receipts_and_no_more_lines_than_asked(world: Path) -> None:
    history_bare.write(world, lines_in_a_file=20)
    found = compare(desk_of(world))
    assert found["is_complete"]
    assert 20 - LINES < found["most_lines"] < 20 + LINES
    files = [str(file) for file in (world / "data" / "drop").glob("**/*.csv")]
    in_several = duckdb.execute(
        "select count(*) from (select uniqueReceiptId from read_csv(?, delim = ';', all_varchar = true, "
        "filename = true) group by uniqueReceiptId having count(distinct filename) > 1)", [files],
    ).fetchall()  # fmt: skip
    assert in_several == [(0,)]
