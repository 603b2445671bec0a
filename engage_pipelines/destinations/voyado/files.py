"""Handing history over as files: check, name, upload, and write down what was handed over."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from engage_pipelines.connector import Batch, Outcome
from engage_pipelines.destinations.voyado.session import Session
from engage_pipelines.destinations.voyado.validation import (
    FileCheck,
    totals_per_currency,
    validate_contacts,
    validate_receipts,
)
from engage_pipelines.errors import ConfigError, ContractError
from engage_pipelines.on_use import pc

_SEQUENCE_DIGITS = 12
_NO_TIME = "1970-01-01T00:00:00"


def send_contact_file(session: Session, batch: Batch) -> list[Outcome]:
    """Check a contact file and hand it over; Voyado reports about contacts only in its Integration log.

    Raises:
        ConfigError: customer notifications are on.
        ContractError: the file breaks a rule; nothing was uploaded.
        RetryableError: the file drop could not be reached.
    """
    table = validate_contacts(_check(session, batch))
    counts = {"kind": "contacts", "contacts": len(batch.keys), **_times(table, "createdOn", "Created")}
    return _hand_over(session, batch, session.options.contact_folder, counts)


def send_receipt_file(session: Session, batch: Batch) -> list[Outcome]:
    """Check a transaction file and hand it over; Voyado reports about receipts only in its Integration log.

    Raises:
        ConfigError: customer notifications are on.
        ContractError: the file breaks a rule; nothing was uploaded.
        RetryableError: the file drop could not be reached.
    """
    ids = tuple(map(_id_in_file, batch.keys, batch.payloads))
    table = validate_receipts(replace(_check(session, batch), keys=ids))
    counts = {
        "kind": "transactions", "receipts": len(batch.keys), "totals": totals_per_currency(table),
        **_times(table, "createdDate", "CreatedDate"),
    }  # fmt: skip
    return _hand_over(session, batch, session.options.transaction_folder, counts)


class _Receipt(msgspec.Struct):
    """The part of a payload that names it in the file."""

    id: str | None = msgspec.field(default=None, name="uniqueReceiptId")


def _id_in_file(key: str, payload: bytes) -> str:
    # Inside a value the quotes would have backslashes, so this can only be the field itself.
    if b'"uniqueReceiptId":"' + key.encode() + b'"' in payload:
        return key
    # A receipt that goes anew after a correction has another id than its record.
    return msgspec.json.decode(payload, type=_Receipt).id or key


def _check(session: Session, batch: Batch) -> FileCheck:
    if session.options.customer_notifications:
        raise ConfigError(
            "Voyado: history is not sent while customer_notifications is on: years of receipts and contacts "
            "would set off messages to customers; switch the tenant's automations and the setting off first"
        )
    if batch.file is None:
        raise ContractError(f"Voyado: batch {batch.id} of a file stream came without a file")
    return FileCheck(batch.file, batch.line_count, session.options.match_key_type, batch.keys)


def _hand_over(session: Session, batch: Batch, folder: str, counts: dict[str, Any]) -> list[Outcome]:
    file = batch.file
    assert file is not None  # noqa: S101 - _check has seen it
    name = file_name(batch.id, counts["kind"], counts.pop("stamp"))
    with session.open_drop() as drop:
        drop.put(file, folder, name)
    write_manifest(file, {"file": name, **counts, "lines": batch.line_count, "batch": batch.id})
    return [Outcome("accepted")] * len(batch.keys)


def file_name(batch_id: str, kind: str, last_time: str) -> str:
    """`[YYYYMMDDHHmmss]_[sequence]_<kind>.csv`, the same for the same batch: a resend replaces the file.

    The time is the last one in the file, so that files sort by what is in them; the sequence is made from
    the batch id.
    """
    digits = re.sub(r"\D", "", last_time[:19])
    number = int.from_bytes(hashlib.sha256(batch_id.encode()).digest()[:8]) % 10**_SEQUENCE_DIGITS
    return f"{digits}_{number:0{_SEQUENCE_DIGITS}d}_{kind}.csv"


def write_manifest(file: Path, facts: dict[str, Any]) -> Path:
    """Write `<name>.manifest.json` beside the local file, with its size and SHA-256; gives its path."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    manifest = file.with_name(f"{facts['file']}.manifest.json")
    aside = manifest.with_name(manifest.name + ".part")
    body = msgspec.json.encode({**facts, "bytes": file.stat().st_size, "sha256": digest})
    aside.write_bytes(msgspec.json.format(body, indent=2))
    aside.replace(manifest)
    return manifest


def _times(table: pa.Table, column: str, suffix: str) -> dict[str, str]:
    # Local times with offsets: compared as they read on the receipts, good enough for a file name.
    known = table.filter(pc.not_equal(table[column], ""))[column]
    first, last = pc.min_max(known).as_py().values()
    times = {f"first{suffix}": first, f"last{suffix}": last} if last else {}
    return {"stamp": last or _NO_TIME, **times}
