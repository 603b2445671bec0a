"""A vendor's answer, and what can be read out of any vendor's: JSON, error code, the request's id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from engage_pipelines.errors import ContractError
from engage_pipelines.http_client.redaction import redact

# A code, not a sentence: what has blanks in it may well name a customer.
_VALUE = re.compile(r"""value (['"]).*\1""", re.DOTALL)
_CODE = re.compile(r"[\w.:/-]{1,60}")
_ID_HEADERS = ("x-request-id", "x-correlation-id", "request-id")
_LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """A vendor's answer: status, headers (lower-case names) and body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self, shape: Any = Any) -> Any:
        """Decode the body, checked against `shape` (a msgspec type) when given.

        Raises:
            ContractError: the body is not JSON, or not of that shape.
        """
        try:
            return msgspec.json.decode(self.content, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # msgspec names the path and the types; a value only where it is none of a list of allowed ones.
            problem = redact(_VALUE.sub("value", str(error)))
            raise ContractError(f"answer with status {self.status} is not the documented JSON: {problem}") from None


def vendor_code(content: bytes) -> str | None:
    """The vendor's own error code in a refusal, if it is where vendors put it; never free text."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    places = [body, body.get("status"), body.get("error"), *(errors if isinstance(errors, list) else [errors])]
    codes = (_code_in(place) for place in places if isinstance(place, dict))
    return next((code for code in codes if code), None)


def _code_in(place: Mapping[str, Any]) -> str | None:
    for name in ("code", "errorCode", "error_code"):
        value = place.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and _CODE.fullmatch(str(value)):
            return redact(str(value))
    return None


def request_id(headers: Mapping[str, str], secrets: tuple[str, ...] = ()) -> str | None:
    """The vendor's own name of the request, for talking with its support; redacted, at most 64 characters."""
    value = next((headers[name] for name in _ID_HEADERS if headers.get(name)), "")
    return redact("".join(filter(str.isprintable, value)).strip(), secrets)[:_LONGEST_ID] or None
