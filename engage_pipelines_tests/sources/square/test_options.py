"""The settings of the Square source."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from engage_pipelines.sources import SOURCES
from engage_pipelines.sources.square import SQUARE, SquareOptions


def test_square_is_in_the_list_of_sources() -> None:
    assert SQUARE in SOURCES


def test_every_declared_file_lies_in_the_folder() -> None:
    for entity in SQUARE.entities:
        files = {entity.structure, entity.checks, *entity.tables.values(), *([entity.proof] if entity.proof else [])}
        assert all((SQUARE.folder / file).is_file() for file in files), entity.name


def test_the_defaults_are_those_of_the_documented_contract() -> None:
    options = SquareOptions()
    assert (options.base_url, options.api_version) == ("https://connect.squareup.com", "2025-08-20")
    assert options.page_size == 500


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError):
        SquareOptions.model_validate({"page_sise": 3})


@pytest.mark.parametrize("key", ["note_pattern", "test_source_pattern"])
def test_a_pattern_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        SquareOptions.model_validate({key: "("})


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs a zone"):
        SquareOptions(created_from=datetime(2020, 1, 1))  # noqa: DTZ001 - that is the point


def test_a_moment_is_kept_in_utc() -> None:
    options = SquareOptions.model_validate({"created_from": "2020-01-01T02:00:00+02:00"})
    assert options.created_from == datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "note",
    ["?", "???missing", "check", "damages?", "Damaged", "found", "lost", "adjustment", "sold as set on dotcom",
     "thrown away-can't sell", "wrong barcode", "wet pallet", "mouldy, thrown away.", "test"],
)  # fmt: skip
def test_what_clerks_type_in_place_of_a_name_is_a_note(note: str) -> None:
    assert re.search(SquareOptions().note_pattern, note)


@pytest.mark.parametrize(
    "name", ["CHECKED NAPKIN", "LOST PROPERTY BOX", "TEST TUBE VASE", "Wetsuit", "Wetherby mug", "Damask cloth"]
)
def test_an_article_that_starts_like_a_note_keeps_its_name(name: str) -> None:
    assert not re.search(SquareOptions().note_pattern, name)
