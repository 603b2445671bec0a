"""What the tenant holds, and its integration log."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from engage_pipelines.sandbox.holdings import Holdings

_SCHEMA = """
create table if not exists contacts (
    number integer primary key, id text not null unique, contact_type text not null, external_id text,
    member_number text, email text, mobile_phone text, social_security_number text, approved integer not null,
    source text not null, channel text not null, attributes text not null, preferences text not null,
    consents text not null, times_received integer not null
);
create index if not exists contacts_by_external_id on contacts (external_id);
create index if not exists contacts_by_member_number on contacts (member_number);
create index if not exists contacts_by_email on contacts (email);
create index if not exists contacts_by_mobile_phone on contacts (mobile_phone);
create table if not exists stores (
    external_id text primary key, name text not null, active integer not null, ghost integer not null,
    body text not null, times_received integer not null
) without rowid;
create table if not exists receipts (
    unique_receipt_id text primary key, contact_id text not null, store text not null, currency text not null,
    total text not null, line_count integer not null, created text not null, receipt_number text not null,
    channel text not null, fingerprint text not null, lines text not null
);
create index if not exists receipts_by_contact on receipts (contact_id);
create table if not exists receipts_received (
    unique_receipt_id text primary key, by_api integer not null, by_file integer not null
) without rowid;
create table if not exists receipt_queue (number integer primary key, due_at real not null, body text not null);
create table if not exists bulk_batches (
    id text primary key, kind text not null, contact_type text not null, due_at real not null, status text not null,
    body text not null, taken integer not null, failed integer not null
);
create table if not exists integration_log (
    number integer primary key, logged_at text not null, kind text not null, source text not null,
    key text not null, message text not null
);
"""


class Tenant:
    """The tenant's file and clock.

    Args:
        directory: folder of the sandbox's state.
        clock: epoch seconds.
    """

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self.holdings = Holdings(directory, "voyado", _SCHEMA)
        self.clock = clock

    def log(self, change: sqlite3.Connection, kind: str, source: str, key: str, message: str) -> None:
        """Write one entry of the integration log; no personal data."""
        moment = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="seconds")
        change.execute(
            "insert into integration_log (logged_at, kind, source, key, message) values (?, ?, ?, ?, ?)",
            (moment, kind, source, key, message),
        )


class RefusalError(Exception):
    """A call that Voyado refuses.

    Args:
        status: HTTP status.
        code: Voyado's error name.
        message: what was wrong.
    """

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.status = status
        self.code = code
