"""Takes keys, tokens and personal data out of anything that is logged or raised."""

from __future__ import annotations

import re
from collections.abc import Iterable

_HIDDEN = "[redacted]"
_PATTERNS = (
    # Basic and bearer credentials, wherever they are printed.
    re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}"),
    # key=value and "key": "value" for anything that names a credential.
    re.compile(
        r"(?i)([\"']?(?:x-)?(?:api[-_]?key|apikey|access[-_]?token|token|secret|password|pass[-_]?code"
        r"|authorization|signature)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]+"
    ),
    re.compile(r"[A-Za-z0-9._%+-]+(?:@|%40)[A-Za-z0-9.-]+\.[A-Za-z]{2,}"),
    # Phone numbers with their country, plain, written in groups or URL-encoded.
    re.compile(r"(?:\+|%2B)\d(?:[\s().-]{0,2}\d){6,14}"),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Give `text` without credentials, e-mail addresses and phone numbers."""
    # The longest first: one secret may begin like another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _PATTERNS[0].sub(lambda m: f"{m[1]} {_HIDDEN}", text)
    text = _PATTERNS[1].sub(lambda m: f"{m[1]}{_HIDDEN}", text)
    for pattern in _PATTERNS[2:]:
        text = pattern.sub(_HIDDEN, text)
    return text
