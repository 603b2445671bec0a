"""Changing a payload by hand, and telling two of them apart field by field."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import msgspec

from engage_pipelines.delivery import mask
from engage_pipelines.delivery.masking import MASK
from engage_pipelines.errors import ConfigError

# An amount must not become a float on its way through a correction.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not the same in two payloads; None where it is absent."""

    path: str
    held: Any
    now: Any


def compact(text: str) -> str:
    """A payload without needless white space, as the warehouse writes them.

    Raises:
        ConfigError: it is no JSON object.
    """
    try:
        value = _DECODER.decode(text)
    except (msgspec.DecodeError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise ConfigError("the payload is no JSON object")
    return _ENCODER.encode(value).decode()


def change(payload: str, changes: Collection[str]) -> str:
    """A payload with some values set: `path=value`, the value being JSON, or else text.

    An empty value, or null, takes the field out: what is absent is never sent as empty.

    Raises:
        ConfigError: a change is no `path=value`, or its path leads nowhere.
    """
    value = _DECODER.decode(payload)
    for each in changes:
        path, separator, text = each.partition("=")
        if not separator or not path:
            raise ConfigError(f"--set {path}: write it as path=value, e.g. visit.location=Store1")
        _set(value, path, _value(text))
    return _ENCODER.encode(value).decode()


def check_key(before: str | None, after: str, key: str) -> None:
    """Refuse a payload that does not name its record any more where it did: the platform would take it for another.

    Raises:
        ConfigError: names the field.
    """
    if before is None:
        return
    now = dict(_leaves(_DECODER.decode(after), ""))
    for path, value in _leaves(_DECODER.decode(before), ""):
        if value == key and now.get(path) != key:
            raise ConfigError(
                f"{path}: must stay {key}; the platform knows the record by it and would take it for another one"
            )


def differences(held: str, now: str, personal: Collection[str], *, reveal: bool = False) -> list[Difference]:
    """The fields in which two payloads differ; values that identify a person are masked unless asked for openly."""

    def shown(path: Sequence[str], value: Any) -> Any:
        if value is _ABSENT or reveal:
            return None if value is _ABSENT else value
        return MASK if set(path) & set(personal) else mask(_ENCODER.encode(value), personal)

    found = _differences(_DECODER.decode(held), _DECODER.decode(now), ())
    return [Difference(".".join(path), shown(path, one), shown(path, other)) for path, one, other in found]


def _differences(held: Any, now: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if held == now:
        return
    for name, one, other in _parts(held, now):
        if name is None:
            yield path, one, other
        else:
            yield from _differences(one, other, (*path, name))


def _parts(held: Any, now: Any) -> Iterator[tuple[str | None, Any, Any]]:
    if isinstance(held, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*held, *now]):
            yield name, held.get(name, _ABSENT), now.get(name, _ABSENT)
    elif isinstance(held, list) and isinstance(now, list):
        for position, (one, other) in enumerate(zip_longest(held, now, fillvalue=_ABSENT)):
            yield str(position), one, other
    else:
        yield None, held, now


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def _set(value: Any, path: str, wanted: Any) -> None:
    *way, last = path.split(".")
    for step in way:
        value = _step(value, step, path)
    place = _place(value, last, path)
    if wanted not in (None, ""):
        value[place] = wanted
    elif isinstance(value, list) or place in value:
        del value[place]


def _place(value: Any, last: str, path: str) -> Any:
    if isinstance(value, dict):
        return last
    if isinstance(value, list) and last.isdigit() and int(last) < len(value):
        return int(last)
    raise ConfigError(f"--set {path}: leads nowhere in the payload")


def _step(value: Any, step: str, path: str) -> Any:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    raise ConfigError(f"--set {path}: there is no {step!r} in the payload")


def _value(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, ValueError):
        return text
