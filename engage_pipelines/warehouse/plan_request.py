"""What a plan is asked for, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from engage_pipelines.connector import Stream


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a run considers: everything, those touched by loads of a time range, business days, or some keys.

    Attributes:
        touched: range of modification time `[start, end)`; rows of loads that overlap it.
        business: range of business days `[first, end)`.
        keys: these records only.
        is_owed: True if the range reaches back to everything that the stream owes.
    """

    touched: tuple[datetime, datetime] | None = None
    business: tuple[date, date] | None = None

    keys: tuple[str, ...] | None = None
    is_owed: bool = False

    @property
    def reach(self) -> str:
        """How far it reaches: `everything`, `owed` (all that is owed), `days` or `keys`."""
        if self.keys is not None:
            return "keys"
        return "everything" if self.is_everything else "owed" if self.is_owed else "days"

    @property
    def is_everything(self) -> bool:
        """True if nothing is left out."""
        return self.touched is None and self.business is None and self.keys is None

    @property
    def days(self) -> int:
        """How many days the selection spans; 1 where it is not one of days."""
        first, end = self.touched or self.business or (None, None)
        return max(1, (end - first).days) if first and end else 1


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to plan.

    Attributes:
        stream: its declaration.
        policy: what happens to records in doubt.
        folder: where the destination's SQL files are.
        selection: rows to consider.
        known: what the ledger knows of some records: `record_key, state, payload_hash, delivered_hash,
            correction_count`.
        held: all records that the ledger knows as simply held, to read once: `record_key, delivered_hash`.
        special: what it knows of all others (neither delivered nor accepted, or corrected), columns as in `known`.
        needed: what it knows of some records of the stream that this one needs, columns as in `known`.
        fixes: `record_key, instead_of, payload` that a person has put in the place of what the source gives.
        originals: `record_key, payload_hash, payload` of records in doubt, as they were sent.
        variables: the destination's options.
        store_names: store_id -> name at the destination.
        file: Parquet file to write: `record_key, payload, payload_hash, weight, byte_count, is_in_doubt, changed_to`,
            in key order; `byte_count` is the size of the payload, `changed_to` the hash of the present form where an
            older one has to go again.
    """

    stream: Stream
    policy: str
    folder: Path
    selection: Selection
    known: Callable[[Sequence[str]], pa.Table]
    held: Callable[[], AbstractContextManager[pa.RecordBatchReader]]
    special: pa.Table
    needed: Callable[[Sequence[str]], pa.Table]
    fixes: pa.Table
    originals: pa.Table
    variables: Mapping[str, Any]
    store_names: Mapping[str, str]
    file: Path


@dataclass(frozen=True, slots=True)
class Note:
    """A record that the ledger must note without a call; the payload only of a refused one."""

    record_key: str
    state: str
    payload_hash: str
    reason: str
    payload: str | None


@dataclass(frozen=True, slots=True)
class PlanResult:
    """What a plan found.

    Attributes:
        counts: action -> records; actions are `send_new`, `send_changed`, `send_again`, `unchanged`,
            `rejected`, `diverged`, `held`, `waiting` and `skipped`.
        skipped: reason -> records.
        rejected: reason -> records.
        notes: records the ledger must note without a call.
        amounts: currency -> amount of the receipts to send; empty for other streams.
        gone: records that the platform holds and the source does not have any more; 0 for a part of the source.
        withdrawn: records that the platform holds and that, since now, should not be there any more.
        is_everything: True if the whole source was looked at.
        diverged: the records that have diverged, where records were chosen by key.
    """

    counts: dict[str, int]
    skipped: dict[str, int]
    rejected: dict[str, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    amounts: dict[str, Decimal] = field(default_factory=dict)
    gone: int = 0
    withdrawn: int = 0
    is_everything: bool = False
    diverged: tuple[str, ...] = ()

    @property
    def source_records(self) -> int:
        """Records considered in all."""
        return sum(self.counts.values())

    @property
    def to_send(self) -> int:
        """Records that need a call."""
        return sum(self.counts.get(action, 0) for action in ("send_new", "send_changed", "send_again"))
