"""The way of one receipt, from the till's window to each platform's answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.delivery import Preview
from engage_pipelines.errors import ConfigError
from engage_pipelines.operations.carriers import carriers
from engage_pipelines.operations.desk import Desk
from engage_pipelines.warehouse import Receipt, Selection, Version, find_receipt
from engage_pipelines.warehouse.spools import lines_of
from engage_pipelines.warehouse.trace import Quarantined, find_quarantined

_RECORD = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a version of a receipt came from.

    Attributes:
        version: the version and its load.
        file: the spool file; None if it was deleted.
        line: where the receipt stands in it, from 1; None if a later pull of the window brought no such record.
    """

    version: Version
    file: Path | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Absence:
    """A platform that never got a receipt, and why."""

    destination: str
    stream: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a receipt came from and where it is.

    Attributes:
        receipt: as core has it; None if all that came of it is in quarantine.
        origins: its versions with their spool files, oldest first.
        deliveries: the ledger's rows of it, with their `batches`; keys are columns of `ops.deliveries` and
            `ops.delivery_batches`.
        absences: platforms that take receipts and do not have this one.
        quarantined: what the till sent of it and could not become a row.
    """

    receipt: Receipt | None
    origins: tuple[Origin, ...]
    deliveries: tuple[dict[str, Any], ...]
    absences: tuple[Absence, ...]
    quarantined: tuple[Quarantined, ...]

    @property
    def holders(self) -> tuple[str, ...]:
        """Who holds it now, in whatever version."""
        return tuple(f"{row['destination']}/{row['stream']}" for row in self.deliveries if row["delivered_hash"])


def trace(desk: Desk, wanted: str) -> Trace:
    """Follow a receipt, named by our key, by the till's own id or by its printed number.

    Raises:
        ConfigError: neither core nor quarantine has such a receipt.
    """
    receipt = find_receipt(desk.warehouse, wanted)
    quarantined = tuple(find_quarantined(desk.warehouse, receipt.transaction_id if receipt else wanted))
    if receipt is None:
        if not quarantined:
            raise ConfigError(
                f"{wanted}: no such receipt in core.transactions (our key, the till's id or the number on it); if it "
                "is new, pull and load its day first"
            )
        return Trace(None, (), (), (), quarantined)
    deliveries = tuple(desk.queue.attempts(receipt.transaction_id))
    known = {(row["destination"], row["stream"]) for row in deliveries if row["record_key"] == receipt.transaction_id}
    return Trace(
        receipt=receipt,
        origins=tuple(_origin(desk.settings.data / "lake", receipt, version) for version in receipt.versions),
        deliveries=deliveries,
        absences=tuple(_absences(desk, receipt.transaction_id, known)),
        quarantined=quarantined,
    )


def _origin(lake: Path, receipt: Receipt, version: Version) -> Origin:
    file = lake / version.spool_path / "records.ndjson.zst" if version.spool_path else None
    if file is None or not file.exists():
        return Origin(version, None, None)
    return Origin(version, file, _line_of(file, receipt.source_transaction_id))


def _line_of(file: Path, record_id: str) -> int | None:
    """The line whose record has this id among its own fields; those that only mention it do not count."""
    wanted = msgspec.json.encode(record_id)
    for number, line in enumerate(lines_of(file), start=1):
        if wanted in line and wanted in map(bytes, _fields(line)):
            return number
    return None


def _fields(line: bytes) -> list[msgspec.Raw]:
    try:
        return list(_RECORD.decode(line).values())
    except (msgspec.DecodeError, msgspec.ValidationError):
        return []


def _absences(desk: Desk, key: str, known: set[tuple[str, str]]) -> Iterator[Absence]:
    for destination in desk.destinations:
        flows = {s.ledger_name: s for s in destination.streams if s.selects == "transactions"}
        for name, stream in flows.items():
            if (destination.name, name) not in known:
                yield Absence(destination.name, name, _why_not(desk, destination, stream, key))


def _why_not(desk: Desk, destination: Destination, stream: Stream, key: str) -> str:
    """What a plan for this one receipt says."""
    for carrier, part in carriers(desk, destination, stream, (key,)):
        if part:
            return _reason(desk.preview(destination, carrier, Selection(keys=part)))
    return "goes with no stream"


def _reason(preview: Preview) -> str:
    reasons = [*preview.skipped, *preview.rejected]
    return f"does not go there: {reasons[0]}" if reasons else "not sent yet"
