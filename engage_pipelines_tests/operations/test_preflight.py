"""What is misspelt or missing is told before anything is asked of a vendor, and never left out without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.errors import ConfigError
from engage_pipelines.operations import Desk
from engage_pipelines.settings import parse_settings
from engage_pipelines_tests.installation import KEYS, desk_of, settings_content, write_keys

NOWHERE = "http://127.0.0.1:9"


def desk_with(folder: Path, **tables: Any) -> Desk:
    write_keys(folder)
    return Desk(parse_settings({**settings_content(NOWHERE, folder), **tables}, folder / "engage.toml"))


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (
            {"sources": {"sqare": {"history_from": "2024-10-01"}}},
            r"engage\.toml: \[sources\] sqare: unknown; did you mean square\? there are: square",
        ),
        (
            {"destinations": {"voyadoo": {}}},
            r"\[destinations\] voyadoo: unknown; did you mean voyado\? there are: aiq, crmcom, voyado",
        ),
        ({"destinations": {"hubspot": {}}}, r"\[destinations\] hubspot: unknown; there are: aiq, crmcom, voyado"),
        (
            {"stores": {"square:L1": {"voyadoo": "store01"}}},
            r'\[stores\."square:L1"\] voyadoo: unknown; did you mean voyado\?',
        ),
        ({"stores": {"L1": {"voyado": "store01"}}}, r'\[stores\."L1"\]: not a store\'s key; write <till>:<'),
        ({"stores": {"square:": {"voyado": "store01"}}}, r'\[stores\."square:"\]: not a store\'s key'),
    ],
)
def test_a_name_that_does_not_exist_is_refused_at_once(tmp_path: Path, tables: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        desk_with(tmp_path, **tables)


def test_a_platform_that_is_switched_off_may_be_named(tmp_path: Path) -> None:
    desk = desk_with(tmp_path, stores={"square:L1": {"voyado": "store01", "aiq": "Store1"}})
    assert desk.problems() == []
    assert desk.settings.store_names("voyado") == {"square:L1": "store01"}


def test_everything_that_is_wrong_is_told_together(tmp_path: Path) -> None:
    keys = {name: value for name, value in KEYS.items() if not name.startswith("AIQ")}
    desk = desk_of(
        NOWHERE, tmp_path, keys=keys, crmcom={"in_doubt": {"products": "verify"}},
        voyado={"matchkey": "email", "batch_items": {"receipt": 10}},
    )  # fmt: skip
    told = [str(problem) for problem in desk.problems()]
    assert len(told) == 4
    assert "[destinations.crmcom] in_doubt: products cannot be 'verify'" in told[0]
    assert "[destinations.voyado] matchkey: unknown key" in told[1]
    assert "[destinations.voyado] batch_items: there is no stream 'receipt'; there are: contact_history" in told[2]
    assert "missing AIQ_API_KEY" in told[3]
    with pytest.raises(ConfigError, match="products cannot be"):
        desk.check()
