"""What may go wrong at each vendor, and drawing from it. All kinds leave the vendor honest: what it took it keeps."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

Rule = dict[str, Any]

_ANYWHERE: Sequence[Rule] = (
    {"kind": "throttle"},
    {"kind": "throttle", "retry_after": 1.0},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 500, "handled": True},
    {"kind": "status", "status": 502, "handled": True},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 503, "retry_after": 1.0},
    {"kind": "slow", "seconds": 0.6},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "half_body"},
    {"kind": "broken_json"},
)
# They end a run at once: rarer than the rest.
_FINAL: Sequence[Rule] = ({"kind": "forbidden_throttle"}, {"kind": "expired_token"})
# Out for a while, whoever calls.
_OUTAGES: Sequence[Rule] = (
    {"kind": "down", "probability": 1.0, "times": None, "from_seconds": 0.5, "until_seconds": 2.0},
    {"kind": "unreachable", "probability": 1.0, "times": None, "from_seconds": 0.5, "until_seconds": 1.5},
)
_OWN: Mapping[str, Sequence[Rule]] = {
    # Only orders are proved; a record that another list leaves out is nobody's to miss.
    "square": ({"kind": "ok_with_failure"}, {"kind": "missing_rows", "route": "orders/search", "count": 2}),
    "aiq": ({"kind": "ok_with_failure"},),
    "crmcom": ({"kind": "missing_rows", "route": "synchronise", "count": 3},),
    "voyado": ({"kind": "ok_with_failure"},),
}
# A refusal of the whole call without a reason per row: of a batch of one it is a rejection, and rightly so. Safe only
# while batches are large.
_LARGE_BATCHES_ONLY: Mapping[str, Sequence[Rule]] = {
    "crmcom": ({"kind": "ok_with_failure", "route": "synchronise", "times": 2},)
}


def draw_faults(rng: random.Random, vendor: str, *, first: bool = False) -> list[Rule]:
    """Up to three rules for a vendor; in the `first` round batches are known to be large."""
    menu = [*_ANYWHERE, *_OUTAGES, *_OWN[vendor], *(_LARGE_BATCHES_ONLY.get(vendor, ()) if first else ())]
    chosen = rng.sample(menu, rng.choice((0, 1, 2, 2, 3)))
    if rng.random() < 0.15:
        chosen.append(rng.choice(_FINAL) | {"times": 1, "after": rng.randrange(30)})
    return [_made_random(rng, rule) for rule in chosen]


def _made_random(rng: random.Random, rule: Rule) -> Rule:
    """The rule striking at random, and not for ever: a vendor that is down for good proves nothing."""
    return {
        "probability": rng.choice((0.03, 0.08, 0.2)), "times": rng.choice((1, 2, 4, 8)), "after": rng.randrange(6),
        "seed": rng.randrange(1_000_000), **rule,
    }  # fmt: skip
