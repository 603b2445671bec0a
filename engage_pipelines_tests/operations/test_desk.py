"""The desk: from settings to the thing to do, and every wrong name answered with the right ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from engage_pipelines.errors import ConfigError, CredentialsError
from engage_pipelines.http_client import Limits, Rate
from engage_pipelines.operations import Desk
from engage_pipelines.settings import DestinationSettings
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests.installation import KEYS, desk_of

NOWHERE = "http://127.0.0.1:9"


def test_only_what_is_configured_and_enabled_exists(tmp_path: Path) -> None:
    desk = desk_of(NOWHERE, tmp_path, aiq={"enabled": False})
    assert [source.name for source in desk.sources] == ["square"]
    assert [destination.name for destination in desk.destinations] == ["crmcom", "voyado"]


def test_a_wrong_name_is_answered_with_those_that_exist(tmp_path: Path) -> None:
    desk = desk_of(NOWHERE, tmp_path, aiq={"enabled": False})
    with pytest.raises(ConfigError, match=r"engage\.toml: no enabled destination 'aiq'; there are: crmcom, voyado"):
        desk.destination("aiq")
    with pytest.raises(ConfigError, match="no enabled source 'toast'; there are: square"):
        desk.source("toast")
    with pytest.raises(ConfigError, match="square has no entity 'tables'; there are: locations, catalog"):
        desk.entity(desk.source("square"), "tables")
    with pytest.raises(ConfigError, match="crmcom has no stream 'sales'; there are: products"):
        desk.stream(desk.destination("crmcom"), "sales")


def test_all_keys_that_are_missing_are_named_before_anything_is_pulled(tmp_path: Path) -> None:
    keys = {name: value for name, value in KEYS.items() if not name.startswith(("AIQ", "SQUARE"))}
    with pytest.raises(CredentialsError, match="missing SQUARE_ACCESS_TOKEN, AIQ_API_KEY: set it in"):
        desk_of(NOWHERE, tmp_path, keys=keys).check()
    desk_of(NOWHERE, tmp_path).check()


def test_a_wrong_option_is_found_before_anything_is_pulled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[destinations\.voyado\] matchkey: unknown key; allowed: enabled, rates"):
        desk_of(NOWHERE, tmp_path, voyado={"matchkey": "email"}).check()


def test_a_days_range_is_the_operators(tmp_path: Path) -> None:
    start, end = desk_of(NOWHERE, tmp_path).range_of((date(2024, 3, 31), date(2024, 3, 31)))
    assert f"{start:%d %H:%M} {end:%d %H:%M}" == "31 00:00 31 23:00"


def test_the_documented_limits_hold_until_the_settings_say_otherwise(tmp_path: Path) -> None:
    desk = desk_of(NOWHERE, tmp_path)
    documented = replace(desk.destination("aiq"), limits=Limits(rates=(Rate(5, 1.0),), in_flight=3))
    plain = desk._limits(documented, DestinationSettings())
    assert (plain.rates, plain.in_flight) == ((Rate(5, 1.0),), 3)
    tighter = desk._limits(documented, DestinationSettings(rates=("1/s", "10/min"), in_flight=1))
    assert (tighter.rates, tighter.in_flight) == ((Rate(1, 1.0), Rate(10, 60.0)), 1)
    assert desk._limits(documented, DestinationSettings(rates=())).rates == ()


def test_a_loaded_shop_can_be_previewed_without_a_key_or_a_vendor(loaded: Desk) -> None:
    (loaded.settings.file.parent / ".env").write_text("")
    crmcom = loaded.destination("crmcom")
    preview = loaded.preview(crmcom, crmcom.streams[0], Selection())
    assert preview.source_records == preview.new + sum(preview.rejected.values()) + sum(preview.skipped.values()) > 0
    assert loaded.ledger.states() == {}


def test_progress_is_reported_under_the_name_of_the_flow(loaded: Desk) -> None:
    heard: dict[str, list[tuple[int, int]]] = {}
    desk = replace(loaded, reporter=lambda flow: lambda done, total: heard.setdefault(flow, []).append((done, total)))
    source = desk.source("square")
    entity = desk.entity(source, "orders")
    desk.load(source, entity, (date(2024, 3, 28), date(2024, 4, 3)))
    assert list(heard) == ["core/orders"]
    done, total = heard["core/orders"][-1]
    assert done == total > 0
