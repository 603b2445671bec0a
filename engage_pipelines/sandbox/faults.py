"""The fault book: which call goes wrong, how and how often. Acting a fault out is `acting.py`.

Kinds, and what the caller sees:

* `throttle`: 429 in the vendor's form, with `retry_after` seconds if given. Nothing was done.
* `forbidden_throttle`: 403, as gateways do when they have had enough of a caller. Nothing was done.
* `status`: `status` (500, 502, 503, ...), optionally with `retry_after`; `handled` true: after the work was done.
* `slow`: the work is done, the answer comes after `seconds`.
* `reset_before`: the connection is reset and nothing was done.
* `reset_after`: the work was done, then the connection is closed without an answer.
* `half_body`: the work was done, the answer breaks off in the middle.
* `broken_json`: the work was done, the answer is complete but no JSON.
* `ok_with_failure`: 200 whose body says that it failed; nothing was done.
* `row_errors`: rows are refused: those whose key is in `keys`, else the first `count`.
* `missing_rows`: the work was done, but those rows are left out of the answer.
* `expired_token`: the credential is no longer valid.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgspec

KINDS = frozenset({
    "throttle", "forbidden_throttle", "status", "slow", "reset_before", "reset_after", "half_body",
    "broken_json", "ok_with_failure", "row_errors", "missing_rows", "expired_token",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule.

    Attributes:
        kind: one of `KINDS`.
        route: regular expression searched in `METHOD /path` (the path below the vendor's mount).
        times: how often it strikes; None: always.
        after: how many matching calls pass first.
        probability: chance that a matching call is struck, drawn from `seed`.
        seed: start of the draw.
        retry_after: seconds for a Retry-After header.
        status: HTTP status of kind `status`.
        seconds: delay of kind `slow`.
        handled: kind `status`: do the work before failing.
        keys: record keys that are refused or left out.
        count: without `keys`: how many rows of the call, from the first.
        message: text of the failure.
    """

    kind: str
    route: str = ""
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    seed: int = 0
    retry_after: float | None = None
    status: int = 500
    seconds: float = 1.0
    handled: bool = False
    keys: tuple[str, ...] = ()
    count: int = 1
    message: str = "made up by the fault book"

    def strikes_row(self, index: int, key: str) -> bool:
        """Whether row number `index` of a call, with that key, is meant."""
        return key in self.keys if self.keys else index < self.count


def read_fault(rule: Mapping[str, Any]) -> Fault:
    """Make a fault of a JSON object.

    Raises:
        ValueError: unknown kind or field, a value of the wrong type, or the route is no regular expression.
    """
    unknown = set(rule) - {known.name for known in fields(Fault)}
    if unknown:
        raise ValueError(f"unknown in a fault: {', '.join(sorted(unknown))}")
    if rule.get("kind") not in KINDS:
        raise ValueError(f"kind is one of {', '.join(sorted(KINDS))}")
    try:
        re.compile(str(rule.get("route", "")))
    except re.error as error:
        raise ValueError(f"route is no regular expression: {error}") from error
    return msgspec.convert(dict(rule), Fault)


@dataclass(slots=True)
class _Rule:
    fault: Fault
    chance: random.Random
    pattern: re.Pattern[str]
    seen: int = 0
    struck: int = 0

    def strike(self, call: str) -> bool:
        fault = self.fault
        spent = fault.times is not None and self.struck >= fault.times
        if spent or not self.pattern.search(call):
            return False
        self.seen += 1
        if self.seen <= fault.after:
            return False
        # Drawn for every call that could be struck, so that the same seed strikes the same calls.
        if fault.probability < 1.0 and self.chance.random() >= fault.probability:
            return False
        self.struck += 1
        return True


@dataclass(slots=True)
class FaultBook:
    """The rules of one vendor; the first one that strikes wins."""

    _rules: list[_Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """Append a rule."""
        with self._lock:
            self._rules.append(_Rule(fault, random.Random(fault.seed), re.compile(fault.route)))

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """The fault that this call suffers, if any; counts it."""
        call = f"{method} {path}"
        with self._lock:
            return next((rule.fault for rule in self._rules if rule.strike(call)), None)

    def listing(self) -> list[dict[str, Any]]:
        """All rules with how many calls they saw and struck."""
        with self._lock:
            return [{**asdict(rule.fault), "seen": rule.seen, "struck": rule.struck} for rule in self._rules]
