"""The documents cannot drift from the code: whatever exists is written down where people look for it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from engage_pipelines.cli.application import app
from engage_pipelines.cli.output import NEEDS_A_PERSON
from engage_pipelines.connector import Destination, Source
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.errors import EngageError
from engage_pipelines.model import TABLES, tables_page
from engage_pipelines.settings import Settings, load_settings
from engage_pipelines.sources import SOURCES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ENGAGE_TOML = (ROOT / "engage.toml").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
CONNECTORS: list[Source | Destination] = [*SOURCES, *DESTINATIONS]
COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
# Where a setting is explained that stands in every connector's table.
NOT_SETTINGS = {"file"}


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner = [kind for kind in (field.annotation, *_arguments(field.annotation)) if _is_model(kind)]
        if inner:
            found += _keys(inner[0], f"{prefix}{name}.")
        elif name not in NOT_SETTINGS:
            found.append(f"{prefix}{name}")
    return found


def _arguments(kind: object) -> tuple[object, ...]:
    return getattr(kind, "__args__", ())


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(command: str) -> None:
    assert f"engage {command}" in README


@pytest.mark.parametrize("key", _keys(Settings))
def test_every_setting_is_in_engage_toml(key: str) -> None:
    name = key.rsplit(".", 1)[-1]
    if key == "stores":
        assert re.search(r"^#?\s*\[stores\.", ENGAGE_TOML, re.MULTILINE)
    else:
        assert re.search(rf"^#?\s*(\[.*\.)?{name}\b.*[=\]]", ENGAGE_TOML, re.MULTILINE), key


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda c: c.name)
def test_every_option_of_a_connector_is_on_its_page_or_in_engage_toml(connector: Source | Destination) -> None:
    page = (DOCS / "connectors" / f"{connector.name}.md").read_text(encoding="utf-8")
    missing = [n for n in connector.options.model_fields if f"`{n}`" not in page]
    assert missing == []


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda c: c.name)
def test_every_connector_has_a_page_that_the_readme_links(connector: Source | Destination) -> None:
    assert f"docs/connectors/{connector.name}.md" in README
    assert f".{connector.name}]" in ENGAGE_TOML
    for secret in connector.secrets:
        assert secret in README + ENGAGE_TOML, secret


def test_no_page_is_left_of_a_connector_that_is_gone() -> None:
    pages = {file.stem for file in (DOCS / "connectors").glob("*.md")}
    assert pages == {connector.name for connector in CONNECTORS}


def test_the_page_of_tables_is_what_the_model_says() -> None:
    page = (DOCS / "tables.md").read_text(encoding="utf-8")
    assert page == tables_page()
    for table in TABLES:
        assert f"{table.full_name}" in page
        assert all(f"`{column.name}`" in page for column in table.columns)


def test_the_runbook_names_every_error_that_stops_a_run() -> None:
    runbook = (DOCS / "runbook.md").read_text(encoding="utf-8")
    assert [kind.__name__ for kind in EngageError.__subclasses__() if kind.__name__ not in runbook] == []
    assert NEEDS_A_PERSON == 1


def test_decisions_are_numbered_without_a_gap() -> None:
    names = sorted(file.name for file in (DOCS / "decisions").iterdir())
    assert names
    assert [name[:5] for name in names] == [f"{number:04}-" for number in range(1, len(names) + 1)]
    for name in names:
        text = (DOCS / "decisions" / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {name[:4]} ")
        assert "Decision" in text
        assert "Why" in text


def test_engage_toml_is_valid_as_it_stands() -> None:
    tomllib.loads(ENGAGE_TOML)
    settings = load_settings(ROOT / "engage.toml")
    for kind, connectors in (("sources", SOURCES), ("destinations", DESTINATIONS)):
        for connector in connectors:
            if connector.name in getattr(settings, kind):
                settings.options(kind, connector.name, connector.options)


@pytest.mark.parametrize("page", ["README.md", *sorted(str(f.relative_to(ROOT)) for f in DOCS.rglob("*.md"))])
def test_links_lead_to_files_that_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not ((ROOT / page).parent / link).exists()] == []
