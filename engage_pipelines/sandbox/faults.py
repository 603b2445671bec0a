"""The fault book: which call goes wrong, how and how often. Acting a fault out is `acting.py` and `work.py`.

Kinds, and what the caller sees:

* `throttle`: 429 in the vendor's form, with `retry_after` seconds if given. Nothing was done.
* `forbidden_throttle`: 403, as gateways do when they have had enough of a caller. Nothing was done.
* `status`: `status` (500, 502, 503, ...), optionally with `retry_after`; `handled` true: after the work was done.
* `down`: `status` (503 unless named) to every call. Nothing was done, and no limit is looked at.
* `unreachable`: as `down`, but every connection is reset: nobody answers.
* `slow`: the work is done, the answer comes after `seconds`.
* `reset_before`: the connection is reset and nothing was done.
* `reset_after`: the work was done, then the connection is closed without an answer.
* `half_body`: the work was done, the answer breaks off in the middle (without a body: within its headers).
* `broken_json`: the work was done, the answer is complete but no JSON.
* `ok_with_failure`: 200 whose body says that it failed; nothing was done.
* `accept_and_forget`: the vendor's yes to a call that it never works off, where it answers before it works.
* `row_errors`: rows are refused: those whose key is in `keys` or in the `share`, else the first `count`.
* `missing_rows`: the work was done, but those rows are left out of the answer.
* `poison`: every call that carries a row with such a key is refused as a whole, with 400 and without saying which
  row it was; nothing was done. `by_row` true: the row alone is refused, where the vendor answers row by row.
* `expired_token`: the credential is no longer valid.

At the door of a file drop some of them strike connections, see `door_faults.py`.
Of several rules the first that strikes wins; only poison is there whatever else befalls the call.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgspec

KINDS = frozenset({
    "throttle", "forbidden_throttle", "status", "down", "unreachable", "slow", "reset_before", "reset_after",
    "half_body", "broken_json", "ok_with_failure", "accept_and_forget", "row_errors", "missing_rows", "poison",
    "expired_token",
})  # fmt: skip
# A vendor that is away does not count calls either.
OUTAGES = frozenset({"down", "unreachable"})
_BY_ROW = frozenset({"row_errors", "poison"})
_STRIKING = KINDS - {"poison"}


def is_in_share(key: str, share: float, seed: int) -> bool:
    """Whether a key falls into a share: the first eight bytes of BLAKE2b over `seed:key`, as a part of 2^64."""
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule.

    Attributes:
        kind: one of `KINDS`.
        route: regular expression searched in `METHOD /path` (the path below the vendor's mount).
        times: how often it strikes; None: always.
        after: how many matching calls pass first.
        probability: chance that a matching call is struck, drawn from `seed`.
        seed: start of the draw, and of the choice of keys by `share`.
        retry_after: seconds for a Retry-After header.
        status: HTTP status of `status` (500 unless named), `down` (503) and `poison` (400).
        seconds: delay of kind `slow`.
        handled: kind `status`: do the work before failing.
        keys: record keys that are refused or left out.
        share: part of all keys that are refused or left out beside those, 0.01 for 1 %; see `is_in_share`.
        count: without `keys` and `share`: how many rows of the call, from the first.
        by_row: kind `poison`: refuse the rows and not the call.
        after_bytes: kind `half_body` at a file drop: cut when the sender has sent so much, greetings included.
        from_seconds: the rule begins so long after it was added, on the sandbox's clock.
        until_seconds: the rule ends so long after it was added; None: never.
        message: text of the failure.
    """

    kind: str
    route: str = ""
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    seed: int = 0
    retry_after: float | None = None
    status: int | None = None
    seconds: float = 1.0
    handled: bool = False
    keys: tuple[str, ...] = ()
    share: float | None = None
    count: int = 1
    by_row: bool = False
    after_bytes: int = 16_384
    from_seconds: float = 0.0
    until_seconds: float | None = None
    message: str = "made up by the fault book"

    @property
    def picks_rows(self) -> bool:
        """Whether it means certain rows, and so only calls that carry one of them."""
        return self.kind in _BY_ROW and bool(self.keys or self.share is not None)

    def strikes_row(self, index: int, key: str) -> bool:
        """Whether row number `index` of a call, with that key, is meant."""
        if not self.keys and self.share is None:
            return index < self.count
        return key in self.keys or (self.share is not None and is_in_share(key, self.share, self.seed))

    def struck_rows(self, keys: Iterable[str]) -> list[str]:
        """The keys that are meant."""
        return [key for index, key in enumerate(keys) if self.strikes_row(index, key)]


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
    fault = msgspec.convert(dict(rule), Fault)
    if fault.kind == "poison" and not fault.picks_rows:
        raise ValueError("poison needs keys or a share")
    if fault.share is not None and not 0 <= fault.share <= 1:
        raise ValueError("share is from 0 to 1")
    return fault


@dataclass(frozen=True, slots=True)
class Struck:
    """A call as the fault book sees it.

    Attributes:
        name: `METHOD /path`, below the vendor's mount.
        keys: gives the keys of its rows; asked only by rules that pick rows.
    """

    name: str
    keys: Callable[[], Sequence[str]] = tuple


@dataclass(slots=True)
class _Rule:
    fault: Fault
    added_at: float
    chance: random.Random
    pattern: re.Pattern[str]
    seen: int = 0
    struck: int = 0

    def strike(self, call: Struck, now: float) -> bool:
        fault = self.fault
        if not self._is_on(now) or not self.pattern.search(call.name):
            return False
        if fault.picks_rows and not fault.struck_rows(call.keys()):
            return False
        self.seen += 1
        if self.seen <= fault.after:
            return False
        # Drawn for every call that could be struck, so that the same seed strikes the same calls.
        if fault.probability < 1.0 and self.chance.random() >= fault.probability:
            return False
        self.struck += 1
        return True

    def _is_on(self, now: float) -> bool:
        fault, age = self.fault, now - self.added_at
        is_spent = fault.times is not None and self.struck >= fault.times
        is_over = fault.until_seconds is not None and age >= fault.until_seconds
        return not is_spent and not is_over and age >= fault.from_seconds


@dataclass(slots=True)
class FaultBook:
    """The rules of one vendor.

    Attributes:
        clock: epoch seconds, for rules that begin and end.
        struck_by_kind: how often each kind has struck, forgotten rules included.
        poisoned: keys of poison that has struck.
    """

    clock: Callable[[], float] = time.time
    struck_by_kind: Counter[str] = field(default_factory=Counter)
    poisoned: set[str] = field(default_factory=set)
    _rules: list[_Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """Append a rule; its time begins now."""
        with self._lock:
            self._rules.append(_Rule(fault, self.clock(), random.Random(fault.seed), re.compile(fault.route)))

    def clear(self, kind: str | None = None) -> None:
        """Forget all rules, or those of one kind."""
        with self._lock:
            self._rules = [rule for rule in self._rules if kind not in (None, rule.fault.kind)]

    def strike(self, call: Struck, kinds: Collection[str] = _STRIKING) -> Fault | None:
        """The fault of one of these kinds that this call suffers, if any; counts it."""
        with self._lock:
            now = self.clock()
            fault = next((r.fault for r in self._rules if r.fault.kind in kinds and r.strike(call, now)), None)
            if fault:
                self.struck_by_kind[fault.kind] += 1
        return fault

    def poison_in(self, call: Struck) -> Fault | None:
        """The poison that this call carries, if any; counts it."""
        fault = self.strike(call, ("poison",))
        if fault:
            self.poisoned.update(fault.struck_rows(call.keys()))
        return fault

    def poison_among(self, keys: Iterable[str]) -> list[str]:
        """Which of these keys a rule of poison means, whether or not a call has brought them."""
        with self._lock:
            poison = [rule.fault for rule in self._rules if rule.fault.kind == "poison"]
        return [key for key in keys if any(fault.strikes_row(0, key) for fault in poison)]

    def listing(self) -> list[dict[str, Any]]:
        """All rules with how many calls they saw and struck."""
        with self._lock:
            return [{**asdict(rule.fault), "seen": rule.seen, "struck": rule.struck} for rule in self._rules]
