"""The demonstration's last lines."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.cli.demo_summary import print_summary
from engage_pipelines.settings import CONFIG_VARIABLE

NOTHING: dict[str, Any] = {"receipts": 0, "lines": 0, "amount": {}}
SUMMARY: dict[str, Any] = {
    "reconciled": True, "problems": [], "in_doubt": 0, "sent": 0, "seconds": 1.0, "pulls": [], "flows": [],
    "totals": {"pos": NOTHING, "core": NOTHING, "delivered": {}, "received": {}},
}  # fmt: skip


def test_the_way_to_ask_on_can_be_typed_as_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("/a folder/with [blanks]/and-a-name-that-is-much-longer-than-a-terminal-is-wide" + "/deeper" * 10)
    print_summary(SUMMARY, folder / "warehouse" / "analytics.duckdb", folder / "engage.toml")
    last = capsys.readouterr().err.splitlines()[-1]
    exported, asked = last.partition(": ")[2].split("; ")
    assert shlex.split(exported) == ["export", f"{CONFIG_VARIABLE}={folder / 'engage.toml'}"]
    assert asked == "engage status"
