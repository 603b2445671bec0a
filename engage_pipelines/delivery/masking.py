"""Showing a payload without showing a person."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from engage_pipelines.http_client import redact

MASK = "•••"
# Numbers as text: an amount must look as it was sent.
_DECODER = msgspec.json.Decoder(float_hook=str)


def mask(payload: str | bytes, personal: Collection[str]) -> Any:
    """A payload as plain values; those of the `personal` fields, at any depth, are hidden.

    E-mail addresses and phone numbers are hidden wherever they stand. Text that is no JSON is not shown at all.
    """
    try:
        value = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return MASK
    return _masked(value, frozenset(personal))


def _masked(value: Any, personal: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {k: MASK if k in personal and v is not None else _masked(v, personal) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(each, personal) for each in value]
    return redact(value) if isinstance(value, str) else value
