"""What a source and a destination are made of: frozen values, functions and SQL files.

Here are the shapes that connectors fill in and that the engines (`ingest`, `delivery`) read. No
behaviour, no registry: the lists of what exists are `sources.SOURCES` and `destinations.DESTINATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engage_pipelines.http_client import Limits, VendorClient


class Options(BaseModel):
    """Base of a connector's own settings: the keys of its table in engage.toml, strict and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open range `[start, end)` of modification times, UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """What one pull asks for: a window at some locations, with the source's options."""

    window: Window
    location_ids: tuple[str, ...]
    options: Any


# Each yielded item is one page: the records' own JSON texts, untouched and in the vendor's order.
PullFunction = Callable[[VendorClient, Scope], Iterator[Sequence[bytes]]]


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind of record a source has, how to pull it and which core tables it fills.

    Attributes:
        name: the noun, as in `raw/<source>__<name>`.
        structure: file with the record's JSON structure in DuckDB's `json_transform` notation; names
            every field that the mapping reads, and within them no others: each is a column while a load lasts.
        tables: core table -> SQL file that shapes it from the view `raw` (one row per record). Of all tables but the
            first it may look into core for what earlier windows brought; windows loaded together share one `raw`.
        checks: SQL file over `raw` that yields `record_id, reason` of records to quarantine.
        pull: yields pages of raw records of a scope.
        prove: asks the vendor a second, cheaper question about the same scope; yields raw pages.
        proof: SQL file over the view `proof` (what `prove` yielded, column `record` JSON) giving
            `location_id, record_id, version`.
        record_id: SQL over `raw` that identifies a record at the till.
        modified_at: SQL over top-level fields of `raw`: when the record was changed last. Of a windowed entity it
            is what the main table has as `modified_at`.
        version: SQL over top-level fields of `raw` that orders changes of one moment, newest last; what a main table
            with a `version` has there.
        windowed: True if pulled by modification window, False if each pull is the whole present state.
        from_the_beginning: True if records older than the history that is pulled are needed too (a customer
            of today may have been created long before the first receipt).
        per_location: True if a pull names locations.
        locations_per_call: how many locations fit one scope.
        walks_locations: True if a pull asks the locations of a scope one after the other: a scope then has no more of
            them than leave enough scopes to be pulled side by side.
    """

    name: str
    structure: str
    tables: Mapping[str, str]
    checks: str
    pull: PullFunction
    prove: PullFunction | None = None
    proof: str | None = None
    record_id: str = "id"
    modified_at: str = "updated_at"
    version: str = "0"
    windowed: bool = True
    from_the_beginning: bool = False
    per_location: bool = False
    locations_per_call: int = 1
    walks_locations: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A till: where it lives, how to talk to it, what it has.

    Attributes:
        name: folder name and prefix of every key (`<name>:<vendor id>`).
        folder: where its SQL and structure files are.
        options: model of its table `[sources.<name>]` in engage.toml.
        secrets: environment variables it needs.
        connect: builds the client from options, secrets and limits (`rates`, `in_flight` of engage.toml).
        locations: asks the vendor for its location ids.
        entities: everything it can pull, in load order.
    """

    name: str
    folder: Path
    options: type[Options]
    secrets: tuple[str, ...]
    connect: Callable[[Any, Mapping[str, str], Limits], VendorClient]
    locations: Callable[[VendorClient, Any], tuple[str, ...]]
    entities: tuple[Entity, ...]
    limits: Limits = field(default_factory=lambda: Limits(in_flight=8))


OutcomeState = Literal["delivered", "accepted", "rejected", "pending"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record of a batch.

    Attributes:
        state: `delivered` (the vendor confirmed this record), `accepted` (it took the batch and never
            confirms records), `rejected` (never again, with a reason), `pending` (try again later).
        reason: one sentence without personal data.
        vendor_code: the vendor's own code.
        vendor_id: the vendor's id of the record, where it tells.
    """

    state: OutcomeState
    reason: str | None = None
    vendor_code: str | None = None
    vendor_id: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one send call carries.

    Attributes:
        id: unique id of the batch, in the ledger and in file names.
        keys: record keys, in order.
        payloads: one JSON text (UTF-8) per key, in the same order.
        file: for file streams, the finished local file to hand over; else None.
        line_count: lines in `file`, header excluded.
    """

    id: str
    keys: tuple[str, ...]
    payloads: tuple[bytes, ...]
    file: Path | None = None
    line_count: int = 0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The vendor's limits of one call: `items` records, `bytes` of payload, `lines` (sum of `weight`)."""

    items: int = 1
    bytes: int = 4_000_000
    lines: int | None = None


# What a look at the platform tells of a record that may or may not have arrived. `unknown`: it cannot tell, or not yet.
Verdict = Literal["there", "absent", "unknown"]
Policy = Literal["resend", "verify", "hold"]


@dataclass(frozen=True, slots=True)
class InDoubt:
    """What happens to records that may or may not have arrived, and why that is safe.

    Attributes:
        policy: `resend` (sent again exactly as it was), `verify` (looked up first), `hold` (a person decides).
        reason: why the platform's documents allow it.
        verify: looks up each record of a batch as it was sent; exactly one verdict per key, in order. Reads only.
            Where it is given, engage.toml may choose `verify` instead of the policy here; `hold` may always be chosen.
    """

    policy: Policy
    reason: str
    verify: Callable[[Any, Batch], Sequence[Verdict]] | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of record a destination takes.

    The SQL file is one SELECT with the columns `record_key`, `payload` (JSON text), `skipped_reason`
    (null, or why this record does not go there), `rejected_reason` (null, or why it can never be
    sent as it is) and, optionally, `weight` (lines it takes in a file, default 1) and `needs_key`. It reads core
    tables, the temporary views `selected` (the rows of `selects` to deliver in this run; receipts come in
    slices, so the SQL treats each on its own) and
    `store_names(store_id, store_name)`, and the destination's options as `getvariable('<option>')`.

    Attributes:
        name: the noun, as in `<destination>/<name>`.
        sql: file in the destination's folder.
        selects: core table that drives the stream.
        limits: what fits one call.
        send: sends one batch and gives exactly one outcome per key, in order.
        in_doubt: policy after a crash.
        summary: one sentence for the UI and the docs.
        windowed: True if a run delivers the rows touched in its partition, False if it compares all.
        immutable: True if the vendor can never change a delivered record: a change becomes `diverged`.
        ledger: stream name in the ledger when two channels carry the same records; default `name`.
        rows: SQL file that turns payloads (view `payloads`: `record_key, payload`) into file lines.
        history: True if it carries the months before go-live.
        after: streams of the same destination that must have run before.
        elsewhere: the skipped_reason that means "another stream carries this record".
        needs: stream of the same destination that must have brought the record named in the column `needs_key` (a
            receipt's contact) before this one goes; until then it waits, `pending`.
        personal: names of the payload's fields, at any depth, whose values identify a person: masked wherever a
            payload is shown.
        correction: SQL file that corrects a record which the vendor cannot change, see `warehouse/corrections.py`.
    """

    name: str
    sql: str
    selects: str
    limits: BatchLimits
    send: Callable[[Any, Batch], Sequence[Outcome]]
    in_doubt: InDoubt
    summary: str
    windowed: bool = False
    immutable: bool = False
    ledger: str | None = None
    rows: str | None = None
    history: bool = False
    after: tuple[str, ...] = ()
    elsewhere: str | None = None
    needs: str | None = None
    personal: frozenset[str] = frozenset()
    correction: str | None = None

    @property
    def ledger_name(self) -> str:
        """The name under which the ledger keeps this stream's records."""
        return self.ledger or self.name


@dataclass(frozen=True, slots=True)
class Destination:
    """A platform that takes our records.

    Attributes:
        name: folder name.
        folder: where its SQL files are.
        options: model of its table `[destinations.<name>]` in engage.toml.
        secrets: environment variables it needs.
        limits: what the vendor documents; `rates` and `in_flight` in engage.toml override it.
        connect: builds the session that `Stream.send` gets: (options, secrets, limits) -> session with
            a `client` attribute (VendorClient).
        streams: everything it takes.
    """

    name: str
    folder: Path
    options: type[Options]
    secrets: tuple[str, ...]
    limits: Limits
    connect: Callable[[Any, Mapping[str, str], Limits], Any]
    streams: tuple[Stream, ...]
    docs: str = field(default="")
