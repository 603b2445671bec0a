"""What was sent and stays sent: payloads of immutable streams, found again in the plans that their runs left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from engage_pipelines.on_use import pq


def find_sent(outbox: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Find payloads by record and hash; a record whose plan is gone is missing in the result.

    Args:
        outbox: the destination's folder of the outbox.
        wanted: record_key -> payload_hash.
    """
    found: dict[str, str] = {}
    for plan in outbox.glob("*/*/plan.parquet"):
        left = {key: payload_hash for key, payload_hash in wanted.items() if key not in found}
        if not left:
            break
        try:
            found.update(_payloads_in(plan, left))
        except (FileNotFoundError, pa.ArrowInvalid):
            # Of a run or a preview under way: not written to its end yet, or just cleared away.
            continue
    return found


def _payloads_in(plan: Path, wanted: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    # Keys and hashes first: most plans hold none of them, and payloads are most of what a plan is.
    known = pq.read_table(plan, columns=["record_key", "payload_hash"], filters=[("record_key", "in", list(wanted))])
    keys = [key for key, payload_hash in _pairs(known, "payload_hash") if wanted[key] == payload_hash]
    if keys:
        rows = pq.read_table(plan, columns=["record_key", "payload"], filters=[("record_key", "in", keys)])
        yield from _pairs(rows, "payload")


def _pairs(rows: pa.Table, name: str) -> Iterator[tuple[str, str]]:
    return zip(rows["record_key"].to_pylist(), rows[name].to_pylist(), strict=True)
