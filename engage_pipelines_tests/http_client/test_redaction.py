"""Nothing that is logged or raised carries a key or a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage_pipelines.http_client import redact


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer EAAAl8f-Zz_90", "authorization=Basic dXNlcjpwYXNz", "X-Api-Key: 0a1b2c3d",
        "apikey=0a1b2c",
        '"access_token": "abc123"', "https://h/x?token=abc123&a=b", "password=hunter2", "signature: f00f00",
        "jane.doe+shop@example.co.uk", "jane%40example.com", "+447700900123", "%2B447700900123", "+44 7700 900 123",
        "+1 (212) 555-0100",
    ],
)  # fmt: skip
def test_credentials_and_people_are_hidden(secret: str) -> None:
    hidden = redact(f"before {secret} after")
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    for part in ("EAAA", "dXNl", "0a1b", "abc123", "hunter2", "f00f", "jane", "7700", "900 123", "555"):
        assert part not in hidden


def test_known_secrets_are_hidden_whatever_they_look_like() -> None:
    assert redact("k=xyzzy, xyzzy-2", ["xyzzy", "xyzzy-2", ""]) == "k=[redacted], [redacted]"


@pytest.mark.parametrize(
    "text", ["voyado: GET api/v3/contacts/id", "status 429 after 5 tries", "2026-11-20 12:00:00+00:00", "3 + 4 = 7", ""]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text, ["another"]) == text


@given(st.text(min_size=8, alphabet=st.characters(min_codepoint=97, max_codepoint=122)), st.text())
def test_a_known_secret_never_comes_through(secret: str, around: str) -> None:
    assert secret not in redact(f"{around}{secret}{around}", [secret]).replace("[redacted]", "")
