"""Messages to people: what nobody would see before somebody looks, sent to a chat by its webhook.

Two addresses, each of which is a secret of its own: one takes messages, the other (a dead man's switch) is called after
every good night and raises the alarm itself when it is not.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from engage_pipelines.errors import ConfigError
from engage_pipelines.http_client import RetryPolicy, VendorClient
from engage_pipelines.settings import ALERT_WEBHOOK_VARIABLE, HEARTBEAT_VARIABLE, Settings

# What waits for an answer here is a sensor that has a minute for everything; its next turn is another try.
_RETRY = RetryPolicy(attempts=2, first_wait=1.0, patience=5.0)
_TIMEOUT = 8.0
# The shortest limit of a chat that is in use (Discord's).
_LONGEST_MESSAGE = 2_000


def send_alert(settings: Settings, text: str) -> None:
    """Send a message to the chat of the webhook; what is too long for one message is cut.

    Raises:
        CredentialsError: there is no webhook, or it does not take messages.
        ConfigError: the webhook is no address.
        RejectedError, RetryableError: the chat did not take the message.
    """
    address = settings.secrets([ALERT_WEBHOOK_VARIABLE])[ALERT_WEBHOOK_VARIABLE]
    body = {settings.alerts.text_field: _shortened(text)}
    _call("alert webhook", ALERT_WEBHOOK_VARIABLE, address, "POST", body)


def send_heartbeat(settings: Settings) -> None:
    """Tell the dead man's switch that a night went well.

    Raises:
        CredentialsError: there is none, or it does not know us.
        ConfigError: it is no address.
        RejectedError, RetryableError: it did not hear.
    """
    address = settings.secrets([HEARTBEAT_VARIABLE])[HEARTBEAT_VARIABLE]
    _call("heartbeat", HEARTBEAT_VARIABLE, address, "GET", None)


def _call(name: str, variable: str, address: str, method: str, body: dict[str, str] | None) -> None:
    base, path = _parts(variable, address)
    # Whoever knows the address can write to the chat: no part of it is told.
    with VendorClient(
        name, base, secrets=(path, path.partition("?")[0]), retry=_RETRY, timeout=_TIMEOUT
    ) as client:  # fmt: skip
        client.call(method, path, json=body)


def _parts(variable: str, address: str) -> tuple[str, str]:
    """An address up to its last slash, and the rest, query included."""
    try:
        split = urlsplit(address.strip())
    except ValueError:
        split = urlsplit("")
    if split.scheme not in {"http", "https"} or not split.hostname:
        raise ConfigError(f"{variable}: not an address; write https://… as the service shows it")
    folder, _, last = split.path.rpartition("/")
    query = f"?{split.query}" if split.query else ""
    return f"{split.scheme}://{split.netloc}{folder}", f"{last}{query}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"
