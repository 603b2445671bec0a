"""Records that changed after a platform took them for good: what it holds, and what they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pyarrow as pa

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.delivery import mask
from engage_pipelines.delivery.archive import find_sent
from engage_pipelines.delivery.doubt import read_sent
from engage_pipelines.on_use import pq
from engage_pipelines.operations.carriers import carriers, ledger_name
from engage_pipelines.operations.desk import Desk
from engage_pipelines.operations.payloads import Difference, differences
from engage_pipelines.state import Waiting
from engage_pipelines.warehouse import PlanRequest, Selection, write_plan

# As it was sent: an amount must look the same.
_AS_SENT = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Diverged:
    """One record in both versions; what identifies a person is masked unless it was asked for openly.

    Attributes:
        reason: what happened to it.
        delivered_at: when the platform took what it holds.
        noticed_at: when the difference was noted.
        held: what the platform holds; None where its payload is not kept.
        now: what would be sent today; None where nothing would.
        differences: field by field, where both are known.
    """

    destination: str
    stream: str
    record_key: str
    reason: str | None
    delivered_at: datetime | None
    noticed_at: datetime | None
    held: Any
    now: Any
    differences: tuple[Difference, ...] = ()

    def values(self) -> dict[str, Any]:
        """The record as plain values."""
        return asdict(self)


def find_diverged(
    desk: Desk, destination: str | None = None, stream: str | None = None, *, reveal: bool = False
) -> list[Diverged]:
    """The records that differ from what a platform holds and cannot be changed there, oldest first.

    Raises:
        ConfigError: no such destination or stream.
    """
    waiting = desk.queue.waiting("diverged", destination, ledger_name(desk, destination, stream))
    found: list[Diverged] = []
    for platform in desk.destinations:
        for declared in {each.ledger_name: each for each in platform.streams}.values():
            here = [w for w in waiting if (w.destination, w.stream) == (platform.name, declared.ledger_name)]
            if here:
                found += _both_versions(desk, platform, declared, here, reveal=reveal)
    return found


def _both_versions(
    desk: Desk, destination: Destination, stream: Stream, waiting: Sequence[Waiting], *, reveal: bool
) -> list[Diverged]:
    now = _present(desk, destination, stream, [w.record_key for w in waiting])
    wanted = {w.record_key: w.delivered_hash for w in waiting if w.delivered_hash}
    held = find_sent(desk.settings.data / "outbox" / destination.name, wanted)
    personal = frozenset().union(*(s.personal for s in destination.streams if s.ledger_name == stream.ledger_name))
    return [_diverged(w, held.get(w.record_key), now.get(w.record_key), personal, reveal=reveal) for w in waiting]


def _diverged(
    record: Waiting, held: str | None, now: str | None, personal: frozenset[str], *, reveal: bool
) -> Diverged:
    def shown(payload: str | None) -> Any:
        if payload is None:
            return None
        return _AS_SENT.decode(payload) if reveal else mask(payload, personal)

    apart = differences(held, now, personal, reveal=reveal) if held and now else []
    return Diverged(
        record.destination, record.stream, record.record_key, record.reason, record.delivered_at, record.settled_at,
        shown(held), shown(now), tuple(apart),
    )  # fmt: skip


def _present(desk: Desk, destination: Destination, stream: Stream, keys: Sequence[str]) -> Mapping[str, str]:
    """What would be sent of some records if the platform had none of them."""
    found: dict[str, str] = {}
    outbox = desk.delivery(destination).outbox
    outbox.mkdir(parents=True, exist_ok=True)
    for carrier, part in carriers(desk, destination, stream, keys):
        if part:
            with TemporaryDirectory(dir=outbox) as folder:
                file = Path(folder) / "plan.parquet"
                write_plan(desk.warehouse, _as_new(desk, destination, carrier, part, file))
                rows = pq.read_table(file, columns=["record_key", "payload"])
                found.update(zip(rows["record_key"].to_pylist(), rows["payload"].to_pylist(), strict=True))
    return found


def _as_new(desk: Desk, destination: Destination, stream: Stream, keys: tuple[str, ...], file: Path) -> PlanRequest:
    """A plan for a platform that holds none of the records, so that whatever goes there is in it."""
    delivery, here = desk.delivery(destination), (destination.name, stream.ledger_name)
    return PlanRequest(
        stream=stream, policy="hold", folder=destination.folder, selection=Selection(keys=keys),
        known=lambda keys: desk.ledger.known(*here, []), held=lambda: desk.ledger.held(*here),
        special=_not_held(desk.ledger.known(*here, keys)), needed=_all_there,
        fixes=desk.queue.fixes(*here), originals=read_sent(delivery.outbox, ()),
        variables=delivery.options.model_dump(), store_names=delivery.store_names, file=file,
    )  # fmt: skip


def _all_there(keys: Sequence[str]) -> pa.Table:
    there = pa.array(keys, pa.string())
    return pa.table({"record_key": there, "state": there, "delivered_hash": there})


def _not_held(known: pa.Table) -> pa.Table:
    nothing, pending = pa.nulls(known.num_rows, pa.string()), pa.repeat("pending", known.num_rows)
    known = known.set_column(known.column_names.index("delivered_hash"), "delivered_hash", nothing)
    return known.set_column(known.column_names.index("state"), "state", pending)
