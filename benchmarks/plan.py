"""What was asked for on the command line; every measure is given it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# What a measure tells of one contender in one setting; it is written to `latest.json` as it is.
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how large.

    Attributes:
        rounds: how often each contender is measured; the median round is told.
        data: folder for whatever is made; removed at the end.
        is_quick: small sizes, one round: shows that everything works.
        is_large: the largest sizes too.
        large_rounds: the same as `rounds`, for the sizes of which a round takes several minutes.
        as_installed: peers without tuning too.
    """

    rounds: int
    data: Path
    is_quick: bool = False
    is_large: bool = False
    large_rounds: int = 3
    as_installed: bool = False

    def for_large(self) -> Plan:
        """The same with the rounds of the largest sizes."""
        return replace(self, rounds=self.large_rounds)
