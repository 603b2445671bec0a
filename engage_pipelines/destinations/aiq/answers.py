"""How AIQ says yes and no: a 2xx status, `success` not false, and no `errors`; all three or it is a no."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from engage_pipelines.errors import (
    ConfigError,
    ContractError,
    CredentialsError,
    EngageError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Answer, redact

# Refusals whose body says more than the status does.
READ_STATUSES = frozenset({400, 404, 405, 409, 413, 422})
_LONGEST_REASON = 200
# AIQ writes phone numbers as bare digits, which the general redaction cannot tell from an order number.
_LONG_NUMBER = re.compile(r"\d[\d\s().-]{5,}\d")


class Envelope(msgspec.Struct):
    """The frame of every answer. `errors` holds objects with `message` and `code`, or bare texts."""

    success: bool | None = None
    code: int | str | None = None
    errors: list[Any] | None = None


def raise_if_refused(what: str, answer: Answer, hidden: Callable[[], Iterable[str]]) -> None:
    """Return if AIQ took the call, raise what to do next if not.

    Args:
        what: the call, for messages.
        answer: what AIQ answered.
        hidden: gives values that a refusal must not repeat; asked only when there is a refusal.

    Raises:
        RejectedError: the call as a whole was refused.
        RetryableError: AIQ was too busy, as its error codes say.
        CredentialsError: the key is wrong, as its error codes say.
        ConfigError: there is no such route: base address, path or account id are wrong.
        UnknownOutcomeError: a 2xx with a body that is not the documented one.
    """
    if answer.status in {404, 405}:
        raise ConfigError(f"{what}: status {answer.status}, no such route; check base_url, api_path and uid")
    taken = 200 <= answer.status < 300
    try:
        envelope = answer.json(Envelope)
    except ContractError as error:
        if taken:
            raise UnknownOutcomeError(f"{what}: {error}") from error
        envelope = Envelope(success=False)
    if taken and envelope.success is not False and not envelope.errors:
        return
    raise _refusal(what, answer.status, envelope, hidden())


def _refusal(what: str, status: int, envelope: Envelope, hidden: Iterable[str]) -> EngageError:
    first = next((error for error in envelope.errors or () if error), None)
    code, message = _code_and_message(first)
    code = code or (str(envelope.code) if envelope.code is not None else None)
    text = f"{what}: refused with status {status}" + (f", code {code}" if code else "")
    text += f": {_reason(message, hidden)}" if message else ""
    if code in {"401", "403"}:
        return CredentialsError(f"{text}; check the key and its rights")
    if code == "429" or (code and re.fullmatch(r"5\d\d", code)):
        return RetryableError(text)
    return RejectedError(text, vendor_code=code)


def _code_and_message(error: Any) -> tuple[str | None, str]:
    if isinstance(error, dict):
        code = error.get("code")
        return (None if code is None else redact(str(code))[:60]), str(error.get("message") or "")
    return None, "" if error is None else str(error)


def _reason(message: str, hidden: Iterable[str]) -> str:
    # Longest first: a street that is part of the address must not break the address apart.
    text = redact(message, sorted(hidden, key=len, reverse=True))
    return _LONG_NUMBER.sub("[number]", text)[:_LONGEST_REASON]
