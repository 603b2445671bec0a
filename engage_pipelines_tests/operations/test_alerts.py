"""Messages to people: they arrive as the chat wants them, and no part of a secret address is ever told."""

from __future__ import annotations

from pathlib import Path

import pytest

from engage_pipelines.errors import ConfigError, CredentialsError, EngageError, RejectedError
from engage_pipelines.operations import send_alert, send_heartbeat
from engage_pipelines.settings import Settings, parse_settings
from engage_pipelines_tests.installation import write_keys
from engage_pipelines_tests.scripted_vendor import scripted_vendor


def settings_of(folder: Path, keys: dict[str, str], **alerts: str) -> Settings:
    write_keys(folder, keys)
    return parse_settings({"alerts": alerts}, folder / "engage.toml")


def test_a_message_is_one_field_of_a_posted_body(tmp_path: Path) -> None:
    with scripted_vendor((200, b"ok")) as chat:
        send_alert(settings_of(tmp_path, {"ENGAGE_ALERT_WEBHOOK": f"{chat.url}/services/T1/B2/x3"}), "the night failed")
    (asked,) = chat.asked
    assert (asked.method, asked.path, asked.json()) == ("POST", "/services/T1/B2/x3", {"text": "the night failed"})


def test_the_field_is_the_one_that_the_chat_reads(tmp_path: Path) -> None:
    with scripted_vendor((204, b"")) as chat:
        keys = {"ENGAGE_ALERT_WEBHOOK": f"{chat.url}/api/webhooks/1/token"}
        send_alert(settings_of(tmp_path, keys, text_field="content"), "the night failed")
    assert chat.asked[0].json() == {"content": "the night failed"}


@pytest.mark.parametrize(
    "path",
    [
        "/bot12:abc/sendMessage?chat_id=42", "/workflows/a/invoke?sig=x%2Fy&sp=%2Frun", "/ping/", "/", "/hook",
    ],
)  # fmt: skip
def test_an_address_is_called_as_it_was_given(tmp_path: Path, path: str) -> None:
    with scripted_vendor((200, b"ok")) as chat:
        send_alert(settings_of(tmp_path, {"ENGAGE_ALERT_WEBHOOK": f"{chat.url}{path}"}), "x")
    assert chat.asked[0].path == path


def test_what_no_chat_takes_whole_is_cut(tmp_path: Path) -> None:
    with scripted_vendor((200, b"ok")) as chat:
        send_alert(settings_of(tmp_path, {"ENGAGE_ALERT_WEBHOOK": f"{chat.url}/hook"}), "x" * 2_001)
    text = chat.asked[0].json()["text"]
    assert (len(text), text[-2:]) == (2_000, "x…")


def test_a_heartbeat_is_a_plain_call(tmp_path: Path) -> None:
    with scripted_vendor((200, b"OK")) as switch:
        send_heartbeat(settings_of(tmp_path, {"ENGAGE_HEARTBEAT_URL": f"{switch.url}/ping/uuid"}))
    (asked,) = switch.asked
    assert (asked.method, asked.path, asked.body) == ("GET", "/ping/uuid", b"")


@pytest.mark.parametrize(
    ("send", "variable"),
    [(lambda settings: send_alert(settings, "x"), "ENGAGE_ALERT_WEBHOOK"), (send_heartbeat, "ENGAGE_HEARTBEAT_URL")],
)
def test_without_an_address_the_variable_is_named(tmp_path: Path, send: object, variable: str) -> None:
    with pytest.raises(CredentialsError, match=f"missing {variable}: set it"):
        send(settings_of(tmp_path, {}))  # type: ignore[operator]


@pytest.mark.parametrize("address", ["hooks.example.com/secret", "ftp://x/secret", "https:///secret", "http://[secret"])
def test_what_is_no_address_is_refused_without_being_told(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="ENGAGE_ALERT_WEBHOOK: not an address") as told:
        send_alert(settings_of(tmp_path, {"ENGAGE_ALERT_WEBHOOK": address}), "x")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(("status", "error"), [(404, RejectedError), (403, CredentialsError)])
def test_a_refusal_tells_no_part_of_the_address(tmp_path: Path, status: int, error: type[EngageError]) -> None:
    with scripted_vendor((status, b"no_service")) as chat:
        settings = settings_of(tmp_path, {"ENGAGE_ALERT_WEBHOOK": f"{chat.url}/services/team/token?sig=signed"})
        with pytest.raises(error) as told:
            send_alert(settings, "x")
    assert "alert webhook" in str(told.value)
    assert not any(part in str(told.value) for part in ("services", "team", "token", "signed"))
