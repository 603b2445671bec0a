"""Cutting a plan into batches by the vendor's limits: records, bytes and lines at once."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engage_pipelines.connector import BatchLimits
from engage_pipelines.on_use import pq

Counts = npt.NDArray[np.int64]
Range = tuple[int, int]
# Rows that are taken out of Arrow together.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Records of one call: keys, payload hashes, payloads, and an id that depends on nothing else.

    `in_doubt` names those that may have arrived with an earlier attempt, `changed_to` those that go in an older form,
    with the hash of the present one. `rows` are the same records as Arrow rows, where they were read from a plan.
    """

    id: str
    keys: tuple[str, ...]
    hashes: tuple[str, ...]
    payloads: tuple[bytes, ...]
    in_doubt: frozenset[str] = frozenset()
    changed_to: Mapping[str, str] = field(default_factory=dict)
    rows: pa.Table | None = field(default=None, repr=False, compare=False)

    def table(self) -> pa.Table:
        """The batch as Arrow rows `record_key, payload`."""
        if self.rows is not None:
            return self.rows.select(["record_key", "payload"])
        payloads = pa.array([p.decode() for p in self.payloads], pa.string())
        return pa.table({"record_key": pa.array(self.keys, pa.string()), "payload": payloads})

    def part(self, start: int, end: int) -> PlannedBatch:
        """Records `start..end` as a batch of their own."""
        part = _batch(self.keys[start:end], self.hashes[start:end], self.payloads[start:end])
        return replace(part, in_doubt=self.in_doubt, changed_to=self.changed_to)


def cut(sizes: Counts, weights: Counts, limits: BatchLimits) -> list[Range]:
    """Cut rows into consecutive `[start, end)` ranges, each as full as the limits allow.

    A row that alone is over a limit gets a range of its own: the vendor then says what is wrong with it.
    """
    by_bytes = np.concatenate([[0], np.cumsum(sizes + 1)])
    by_lines = np.concatenate([[0], np.cumsum(weights)])
    ranges, start, count = [], 0, len(sizes)
    while start < count:
        end = min(start + limits.items, count)
        # Brackets around the list and a comma per record are part of the body.
        end = min(end, int(np.searchsorted(by_bytes, by_bytes[start] + limits.bytes - 1, side="right")) - 1)
        if limits.lines is not None:
            end = min(end, int(np.searchsorted(by_lines, by_lines[start] + limits.lines, side="right")) - 1)
        end = max(end, start + 1)
        ranges.append((start, end))
        start = end
    return ranges


def count_rows(plan: Path) -> int:
    """How many records a plan has."""
    return int(pq.read_metadata(plan).num_rows)


def minimal_calls(plan: Path, limits: BatchLimits) -> int:
    """The least number of calls that can carry a plan within the limits."""
    items = size = lines = 0
    most = limits.lines or 1
    # Not the payloads themselves: they are most of the plan.
    for piece in pq.ParquetFile(plan).iter_batches(columns=["byte_count", "weight"]):
        sizes, weights = _measures(pa.Table.from_batches([piece]))
        items += len(sizes)
        # A record that is over a limit by itself fills one call, not several.
        size += int(np.minimum(sizes, limits.bytes).sum())
        lines += int(np.minimum(weights, most).sum())
    needed = [math.ceil(items / limits.items), math.ceil(size / limits.bytes)]
    if limits.lines is not None:
        needed.append(math.ceil(lines / limits.lines))
    return max(needed)


def cut_batches(plan: Path, limits: BatchLimits) -> Iterator[PlannedBatch]:
    """Read a plan piece by piece and yield its batches in order.

    Memory holds one piece, and of that a thousand records, or one batch if that has more, as texts.
    """
    rest: pa.Table | None = None
    for piece in pq.ParquetFile(plan).iter_batches(batch_size=4096):
        rows = pa.Table.from_batches([piece])
        rows = pa.concat_tables([rest, rows]).combine_chunks() if rest is not None else rows
        ranges = cut(*_measures(rows), limits)
        # The last range may still grow with the next piece.
        yield from _planned(rows, ranges[:-1])
        rest = rows.slice(ranges[-1][0]) if ranges else None
    if rest is not None and rest.num_rows:
        yield from _planned(rest, cut(*_measures(rest), limits))


def _measures(rows: pa.Table) -> tuple[Counts, Counts]:
    sizes, weights = (rows[name].to_numpy(zero_copy_only=False).astype(np.int64) for name in ("byte_count", "weight"))
    return sizes, weights


def _planned(rows: pa.Table, ranges: Sequence[Range]) -> Iterator[PlannedBatch]:
    for span in _spans(ranges):
        first = span[0][0]
        part = rows.slice(first, span[-1][1] - first)
        keys, hashes, changes = (part[name].to_pylist() for name in ("record_key", "payload_hash", "changed_to"))
        # As bytes from the start: decoding texts and encoding them again would take longer than all the rest here.
        payloads = part["payload"].cast(pa.binary()).to_pylist()
        doubts = part["is_in_doubt"].to_pylist()
        for start, end in span:
            own = slice(start - first, end - first)
            changed = ((key, change) for key, change in zip(keys[own], changes[own], strict=True) if change is not None)
            yield replace(
                _batch(tuple(keys[own]), tuple(hashes[own]), tuple(payloads[own])),
                in_doubt=frozenset(itertools.compress(keys[own], doubts[own])), changed_to=dict(changed),
                rows=rows.slice(start, end - start),
            )  # fmt: skip


def _spans(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    """Neighbouring ranges, as many as make some thousand rows: taking columns apart costs as much for one row."""
    span: list[Range] = []
    for each in ranges:
        span.append(each)
        if each[1] - span[0][0] >= _AT_ONCE:
            yield span
            span = []
    if span:
        yield span


def _batch(keys: tuple[str, ...], hashes: tuple[str, ...], payloads: tuple[bytes, ...]) -> PlannedBatch:
    digest = hashlib.sha256()
    for key, payload_hash in zip(keys, hashes, strict=True):
        digest.update(f"{key}\n{payload_hash}\n".encode())
    return PlannedBatch(digest.hexdigest()[:24], keys, hashes, payloads)
