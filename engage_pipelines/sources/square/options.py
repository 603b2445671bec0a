"""The settings of `[sources.square]` in engage.toml."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pydantic import Field, field_validator

from engage_pipelines.connector import Options

# Words that shop staff type where the article's name belongs, as real till data has them.
CLERK_NOTES = (
    r"(?i)^[?\s]*(check(ed)?|counted|damag(e|ed|es)|found|lost|missing|smashed|broken|crushed|mouldy|test|faulty"
    r"|adjust(ment)?|sold as .*|wrong(ly)?\b.*|incorrect(ly)?\b.*|wet([/ ](damaged|rusty|pallet))?"
    r"|(.*\W)?thrown? away.*)?[?\s]*$"
)


class SquareOptions(Options):
    """How this operator's Square account is read; every key is described in docs/connectors/square.md."""

    base_url: str = "https://connect.squareup.com"
    api_version: str = Field(default="2025-08-20", pattern=r"^\d{4}-\d{2}-\d{2}$")
    page_size: int = Field(default=500, ge=1, le=1000)
    created_from: datetime = datetime(2009, 1, 1, tzinfo=UTC)
    note_pattern: str = CLERK_NOTES
    test_source_pattern: str = ""

    @field_validator("note_pattern", "test_source_pattern")
    @classmethod
    def _is_a_pattern(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        return text

    @field_validator("created_from")
    @classmethod
    def _has_a_zone(cls, moment: datetime) -> datetime:
        if moment.tzinfo is None:
            raise ValueError("needs a zone, e.g. 2009-01-01T00:00:00Z")
        return moment.astimezone(UTC)
