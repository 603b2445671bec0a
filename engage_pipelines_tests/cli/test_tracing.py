"""`engage trace`: a story for people, the same as JSON, and a clear word about what is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.cli.test_commands import Engage
from engage_pipelines_tests.installation import write_settings


@pytest.fixture
def engage(sandbox: Sandbox, tmp_path: Path, loaded_folder: Path) -> Engage:
    """The week is loaded, and AIQ has it."""
    shutil.copytree(loaded_folder / "data", tmp_path / "data")
    write_settings(sandbox.url, tmp_path)
    engage = Engage(tmp_path)
    engage.json("deliver", "aiq", "sales", "--all")
    return engage


def test_a_receipt_tells_its_story_under_each_of_its_names(engage: Engage, tmp_path: Path) -> None:
    ours, till, printed = (engage.json("trace", name) for name in ("square:O40", "O40", "R40"))
    assert ours == till == printed
    (origin,) = ours["origins"]
    assert Path(origin["file"]).is_relative_to(tmp_path / "data" / "lake" / "square" / "orders")
    assert origin["line"] > 0
    (sale,) = ours["deliveries"]
    assert (sale["destination"], sale["state"], sale["batches"][0]["status"]) == ("aiq", "accepted", 200)
    assert ours["absences"] == [{"destination": "voyado", "stream": "receipts", "reason": "not sent yet"}]
    assert ours["holders"] == ["aiq/sales"]


def test_the_story_for_people_goes_to_standard_error_and_names_nobody(engage: Engage) -> None:
    done = engage("trace", "R40")
    assert (done.returncode, done.stdout) == (0, "")
    said = " ".join(done.stderr.split())
    for word in ("square:O40", "records.ndjson.zst", "POST", "accepted", "Held now by: aiq/sales"):
        assert word in said
    assert [value for value in small_shop.personal_values() if value in said] == []


def test_a_receipt_that_is_not_there_ends_with_3(engage: Engage) -> None:
    done = engage("trace", "O99", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "O99: no such receipt" in " ".join(done.stderr.split())
