"""engage.toml and the environment: read once, and every mistake named by file, table and key."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from engage_pipelines import settings as settings_module
from engage_pipelines.connector import Options
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.errors import ConfigError, CredentialsError
from engage_pipelines.http_client import parse_rate
from engage_pipelines.settings import (
    CONFIG_VARIABLE,
    INSTANCE_URL_VARIABLE,
    STATE_URL_VARIABLE,
    DestinationSettings,
    Settings,
    SourceSettings,
    child_environment,
    instance_url,
    load_settings,
    parse_settings,
    settings_or_defaults,
    yesterday,
)
from engage_pipelines.sources import SOURCES
from engage_pipelines.state import open_state

REPOSITORY = Path(__file__).resolve().parents[1]
TILL = {"sources": {"square": {"history_from": date(2024, 1, 1)}}}


class Colours(Options):
    colour: str = Field("red", pattern="^(red|blue)$")
    depth: int = 1


def write(folder: Path, text: str) -> Path:
    file = folder / "engage.toml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_settings(write(folder, text))
    return str(raised.value)


def made(folder: Path, **content: Any) -> Settings:
    return parse_settings(content, folder / "engage.toml")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[operater]\ntime_zone = 'UTC'", "[operater]", "allowed: operator, paths, warehouse"),
        ("[operator]\nzone = 'UTC'", "[operator] zone", "allowed: time_zone, business_day_cutover, default_country"),
        ("[operator]\ntime_zone = 'London'", "[operator] time_zone", "Europe/London (found 'London')"),
        ("[operator]\ntime_zone = '../x'", "[operator] time_zone", "not an IANA time zone"),
        ("[operator]\ntime_zone = 5", "[operator] time_zone", "(found 5)"),
        ("[operator]\nbusiness_day_cutover = '25:00'", "[operator] business_day_cutover", "(found '25:00')"),
        ("[operator]\ndefault_country = 'UK!'", "[operator] default_country", "(found 'UK!')"),
        ("[warehouse]\nmemory_limit = 'lots'", "[warehouse] memory_limit", "(found 'lots')"),
        ("[warehouse]\nthreads = 0", "[warehouse] threads", "greater than or equal to 1 (found 0)"),
        ("[warehouse]\nwait_seconds = 0", "[warehouse] wait_seconds", "greater than 0"),
        ("[schedules]\nnightly = 'at night'", "[schedules] nightly", "five cron fields"),
        ("[schedules]\nnightly = '0 25 * * *'", "[schedules] nightly", "five cron fields"),
        ("[schedules]\nnightly = 'a b c d e'", "[schedules] nightly", "five cron fields"),
        ("[schedules]\nenabled = 'perhaps'", "[schedules] enabled", "(found 'perhaps')"),
        ("[sources.square]", "[sources.square] history_from", "is missing and has no default"),
        ("[sources]\nsquare = 5", "[sources] square", "(found 5)"),
        ("[sources.square]\nhistory_from = 'once'", "[sources.square] history_from", "(found 'once')"),
        ("[sources.square]\nhistory_from = 2024-01-01\nreread_days = 91", "[sources.square] reread_days", "90"),
        ("[sources.square]\nhistory_from = 2024-01-01\nwindow_days = 0", "[sources.square] window_days", "1"),
        ("[sources.square]\nhistory_from = 2024-01-01\nsettle_minutes = -1", "[sources.square] settle_minutes", "0"),
        ("[destinations.aiq]\nrates = ['fast']", "[destinations.aiq.rates] 0", "<requests>/<s|min|h|day>"),
        ("[destinations.aiq]\nrates = ['0/s']", "[destinations.aiq.rates] 0", "(found '0/s')"),
        ("[destinations.aiq]\nrates = '5/s'", "[destinations.aiq] rates", "(found '5/s')"),
        ("[destinations.aiq]\nin_flight = 0", "[destinations.aiq] in_flight", "1"),
        ("[destinations.aiq.batch_items]\nsales = 0", "[destinations.aiq.batch_items] sales", "1"),
        ("[stores.'square:L1']\nvoyado = 5", "[stores.square:L1] voyado", "(found 5)"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_with_file_table_and_what_is_allowed(
    tmp_path: Path, text: str, where: str, what: str
) -> None:
    told = complaint(tmp_path, text)
    assert told.startswith(f"{tmp_path / 'engage.toml'}: {where}: ")
    assert what in told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    assert len(complaint(tmp_path, "[operator]\nzone = 1\n[warehouse]\nthreads = 0").splitlines()) == 2


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    assert "engage.toml: not valid TOML" in complaint(tmp_path, "[operator")
    file = tmp_path / "engage.toml"
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(file)


def test_a_missing_or_unreadable_file_is_named_with_the_ways_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: not found; name the file with ENGAGE_CONFIG or --config"):
        load_settings(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_a_connectors_own_key_is_checked_by_its_own_model(tmp_path: Path) -> None:
    settings = made(tmp_path, sources={"square": {"history_from": "2024-01-01", "colour": "blue"}})
    assert settings.options("sources", "square", Colours) == Colours(colour="blue")
    wrong = made(tmp_path, destinations={"aiq": {"color": "blue", "colour": "green", "depth": "x"}})
    with pytest.raises(ConfigError) as raised:
        wrong.options("destinations", "aiq", Colours)
    told = str(raised.value).splitlines()
    assert len(told) == 3
    allowed = "enabled, rates, in_flight, batch_items, in_doubt, colour, depth"
    assert any(f"[destinations.aiq] color: unknown key; allowed: {allowed}" in line for line in told)
    assert any("[destinations.aiq] colour: " in line and "(found 'green')" in line for line in told)


def test_a_connector_without_a_table_is_told_where_to_add_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[sources\.square\] is missing; add the table, see docs/connectors/square"):
        made(tmp_path).options("sources", "square", Colours)


def test_every_rate_that_settings_take_is_one_that_the_pacer_understands(tmp_path: Path) -> None:
    rates = ["5/s", "2,000/h", "90_000/day", "100/10s", "7 / Minute", "010/1min"]
    settings = made(tmp_path, destinations={"aiq": {"rates": rates}})
    for text in settings.destinations["aiq"].rates or ():
        assert parse_rate(text).requests > 0


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/15 0-6 1,15 * mon-fri", "30 4 * jan 7", "0 0 1-31/2 * *"])
def test_usual_schedules_are_taken(tmp_path: Path, cron: str) -> None:
    assert made(tmp_path, schedules={"nightly": cron}).schedules.nightly == cron


def test_missing_keys_of_an_account_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "k")
    monkeypatch.setenv("ACME_EMPTY", "")
    settings = made(tmp_path)
    assert settings.secrets(["ACME_KEY"]) == {"ACME_KEY": "k"}
    with pytest.raises(
        CredentialsError, match=r"missing ACME_EMPTY, ACME_TOKEN: set it in the environment or in .*env"
    ):
        settings.secrets(["ACME_KEY", "ACME_EMPTY", "ACME_TOKEN"])


def test_keys_may_lie_in_a_dotenv_file_beside_the_settings_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("# keys\nexport ACME_A='one'\nACME_B=pa$${x}ss#1\nACME_C=file\n")
    monkeypatch.setenv("ACME_C", "environment")
    settings = made(tmp_path)
    assert settings.secrets(["ACME_A", "ACME_B", "ACME_C"]) == {
        "ACME_A": "one", "ACME_B": "pa$${x}ss#1", "ACME_C": "environment",
    }  # fmt: skip
    assert set(settings.optional_secrets("ACME_")) == {"ACME_A", "ACME_B", "ACME_C"}


def test_a_store_has_a_name_at_those_destinations_that_it_has_one_for(tmp_path: Path) -> None:
    settings = made(tmp_path, stores={"square:L1": {"aiq": "Soho", "voyado": "1"}, "square:L2": {"aiq": ""}})
    assert settings.store_names("aiq") == {"square:L1": "Soho"}
    assert settings.store_names("voyado") == {"square:L1": "1"}
    assert settings.store_names("crmcom") == {}


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_or_defaults()
    assert (settings.sources, settings.destinations, settings.operator.time_zone) == ({}, {}, "UTC")
    assert settings.operator.business_day_cutover == time(4)
    assert settings.data == tmp_path / "data"
    assert settings.state_url == f"sqlite:///{tmp_path}/data/state/state.db"


def test_a_file_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "other.toml"))
    with pytest.raises(ConfigError, match="not found"):
        settings_or_defaults()
    (tmp_path / "other.toml").write_text("[operator]\ntime_zone = 'Asia/Tokyo'")
    assert settings_or_defaults().operator.time_zone == "Asia/Tokyo"


def test_the_data_folder_is_relative_to_the_file_and_not_to_where_a_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    file = write(tmp_path / "shop", "[paths]\ndata = '../kept'")
    monkeypatch.chdir("/")
    assert load_settings(file).data == tmp_path / "kept"


def test_the_state_is_where_the_environment_says_else_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = made(tmp_path, state={"url": "postgresql://file/x"})
    assert settings.state_url == "postgresql://file/x"
    monkeypatch.setenv(STATE_URL_VARIABLE, "postgresql://environment/x")
    assert settings.state_url == "postgresql://environment/x"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql+psycopg2://u:p@h/d"), ("", None), (None, None),
    ],
)  # fmt: skip
def test_the_plain_form_of_a_postgres_url_is_fine(
    monkeypatch: pytest.MonkeyPatch, given: str | None, used: str | None
) -> None:
    if given is not None:
        monkeypatch.setenv(INSTANCE_URL_VARIABLE, given)
    assert instance_url() == used


def test_the_state_of_a_plain_sqlite_url_is_made_with_its_folder(tmp_path: Path) -> None:
    open_state(made(tmp_path).state_url).dispose()
    assert (tmp_path / "data" / "state" / "state.db").exists()


def test_a_child_process_gets_this_environment_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "k")
    assert child_environment(OTHER="1").items() >= {("ACME_KEY", "k"), ("OTHER", "1")}


def test_days_begin_at_midnight_of_the_operator_also_when_the_clocks_change(tmp_path: Path) -> None:
    settings = made(tmp_path, operator={"time_zone": "Europe/London"})
    assert settings.midnight(date(2026, 3, 29)) == datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    assert settings.midnight(date(2026, 3, 30)) == datetime(2026, 3, 29, 23, 0, tzinfo=UTC)
    assert settings.day_of(datetime(2026, 6, 30, 23, 30, tzinfo=UTC)) == date(2026, 7, 1)
    assert yesterday(settings, datetime(2026, 6, 30, 23, 30, tzinfo=UTC)) == date(2026, 6, 30)


def test_mappings_are_told_the_cut_over_in_minutes_the_country_and_the_zone(tmp_path: Path) -> None:
    settings = made(tmp_path, operator={"business_day_cutover": "04:30", "default_country": "FR"})
    assert settings.sql_variables == {
        "business_day_cutover": 270, "default_country": "FR", "fallback_time_zone": "UTC",
    }  # fmt: skip


def keys_of(model: type[BaseModel]) -> set[str]:
    return {name for name in model.model_fields if name != "file"}


def test_the_file_in_the_repository_is_valid_and_names_every_key() -> None:
    file = REPOSITORY / "engage.toml"
    settings = load_settings(file)
    text = file.read_text(encoding="utf-8")
    sections = [
        value for value in vars(settings_module).values()
        if isinstance(value, type) and issubclass(value, settings_module._Section)
    ]  # fmt: skip
    models = [*sections, SourceSettings, DestinationSettings]
    models += [each.options for each in (*SOURCES, *DESTINATIONS)]
    wanted = set().union(*(keys_of(model) for model in models))
    assert sorted(key for key in wanted if key not in text) == []
    for kind, known in (("sources", SOURCES), ("destinations", DESTINATIONS)):
        for connector in known:
            if connector.name in getattr(settings, kind):
                settings.options(kind, connector.name, connector.options)
