"""A destination made of a function: what it is given to send, and what a test lets it answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa

from engage_pipelines.connector import Batch, BatchLimits, Destination, InDoubt, Options, Outcome, Policy, Stream
from engage_pipelines.delivery import Bounds, Delivered, Delivery, Preview
from engage_pipelines.http_client import Limits, Rate, RetryPolicy, VendorClient
from engage_pipelines.state import Ledger, Queue, Runs, open_state
from engage_pipelines.state.database import METADATA
from engage_pipelines.state.under_way import rows_now
from engage_pipelines.warehouse import Selection, Warehouse
from engage_pipelines_tests.plain_till import NIGHT, Loader, order

Send = Callable[[Any, Batch], Sequence[Outcome]]
SQL = """
select transaction_id as record_key, to_json({id: transaction_id, total: total_amount}) as payload,
    case when not is_countable then status end as skipped_reason,
    case when total_amount > 1000 then 'too much money' end as rejected_reason, line_count as weight
from selected
"""
ROWS = """
select p.record_key as receipt, l.name
from payloads as p, (select unnest(['first', 'second']) as name) as l
order by all
"""
# What a platform that can change nothing is given instead: a return, and the record anew.
CORRECTION = """
select record_key, record_key || ':return:' || sent_mark as correction_key,
    to_json({id: record_key || ':return:' || sent_mark, total: -((sent_payload ->> 'total')::decimal(18, 4))})
        as payload, 1 as weight
from corrected
union all
select record_key, record_key || ':new:' || new_mark,
    to_json({id: record_key || ':new:' || new_mark, total: (payload ->> 'total')::decimal(18, 4)}), 1
from corrected
where skipped_reason is null
"""
EVERYTHING = Selection()


def deliver_all(session: Any, batch: Batch) -> list[Outcome]:
    return [Outcome("delivered", vendor_id=f"v-{key}") for key in batch.keys]


class PowerCutError(Exception):
    """Stands for the end of a process: nothing of ours expects it, so nothing is noted after it."""


def power_cut(session: Any, batch: Batch) -> list[Outcome]:
    """A platform whose caller dies before it knows anything."""
    raise PowerCutError


class PostOptions(Options):
    """The platform's settings."""

    correct_diverged: bool = False


@dataclass(frozen=True)
class Session:
    client: VendorClient


@cache
def _empty_warehouse() -> dict[str, bytes]:
    """The files of a warehouse without a record; making one takes longer than most tests."""
    with TemporaryDirectory() as folder:
        with Warehouse(Path(folder)).connection():
            pass
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


@dataclass
class PostOffice:
    """Delivers the receipts of a small warehouse, a run a night; remembers every batch that was handed over."""

    folder: Path
    in_flight: int = 1
    url: str = "http://127.0.0.1:9"
    bounds: Bounds = field(default_factory=Bounds)
    policies: dict[str, Policy] = field(default_factory=dict)
    now: datetime = NIGHT
    rates: tuple[Rate, ...] = ()
    correct_diverged: bool = False
    state_url: str = ""
    sent: list[Batch] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if not (self.folder / "warehouse").exists():
            (self.folder / "warehouse").mkdir()
            for name, content in _empty_warehouse().items():
                (self.folder / "warehouse" / name).write_bytes(content)
        self.till = Loader(self.folder)
        self.state_url = self.state_url or f"sqlite:///{self.folder}/state.db"
        self.engine: sa.Engine = open_state(self.state_url)
        self.ledger, self.queue, self.runs = Ledger(self.engine), Queue(self.engine), Runs(self.engine)
        (self.folder / "receipts.sql").write_text(SQL)
        (self.folder / "rows.sql").write_text(ROWS)
        (self.folder / "correction.sql").write_text(CORRECTION)
        self.client = VendorClient(
            "acme", self.url, limits=Limits(self.rates, self.in_flight), retry=RetryPolicy(attempts=1)
        )

    def close(self) -> None:
        self.client.close()
        self.engine.dispose()

    def fill(self, count: int) -> list[str]:
        """Put receipts into the warehouse; gives their keys."""
        self.till.load(*[order(f"O{n:03}") for n in range(count)])
        return [f"acme:O{n:03}" for n in range(count)]

    def stream(self, send: Send = deliver_all, **changes: Any) -> Stream:
        def remember(session: Any, batch: Batch) -> Sequence[Outcome]:
            with self.lock:
                self.sent.append(batch)
            return send(session, batch)

        plain = Stream(
            name="receipts", sql="receipts.sql", selects="transactions", limits=BatchLimits(items=10),
            send=remember, in_doubt=InDoubt("resend", "the vendor knows our key"), summary="Receipts.",
        )  # fmt: skip
        return replace(plain, **changes)

    def delivery(self, stream: Stream, batch_items: dict[str, int] | None = None) -> Delivery:
        destination = Destination(
            name="club", folder=self.folder, options=PostOptions, secrets=(), limits=Limits(),
            connect=lambda options, secrets, limits: None, streams=(stream,),
        )  # fmt: skip
        return Delivery(
            destination=destination, options=PostOptions(correct_diverged=self.correct_diverged),
            warehouse=self.till.warehouse, ledger=self.ledger, queue=self.queue, runs=self.runs, bounds=self.bounds,
            policies=self.policies, limits=self.client.limits, store_names={}, batch_items=batch_items or {},
            outbox=self.folder / "outbox", now=lambda: self.now,
        )  # fmt: skip

    def run(self, stream: Stream, selection: Selection = EVERYTHING, **options: Any) -> Delivered:
        self.sent.clear()
        progress = options.pop("progress", lambda done, total: None)
        yes_really = options.pop("yes_really", False)
        delivery = self.delivery(stream, **options)
        try:
            return delivery.run(stream, Session(self.client), selection, progress, yes_really=yes_really)
        finally:
            self.now += timedelta(days=1)

    def lose(self, stream: Stream, selection: Selection = EVERYTHING) -> None:
        """A run of the stream whose process dies with its first call."""
        with pytest.raises(PowerCutError):
            self.run(replace(stream, send=power_cut), selection)

    def preview(self, stream: Stream, selection: Selection = EVERYTHING) -> Preview:
        return self.delivery(stream).preview(stream, selection)

    @property
    def sent_keys(self) -> list[str]:
        return [key for batch in self.sent for key in batch.keys]

    def states(self) -> dict[str, str]:
        """Record -> state, as another process would read it at this moment."""
        engine = open_state(self.state_url)
        try:
            with engine.connect() as connection:
                d = rows_now(connection).c
                found = connection.execute(sa.select(d.record_key, d.state).order_by(d.record_key))
                return {row.record_key: row.state for row in found}
        finally:
            engine.dispose()

    def noted(self, table: str = "deliveries") -> list[dict[str, Any]]:
        """Rows of a table of the state, such as `deliveries`, `delivery_runs` or `delivery_batches`."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.select(METADATA.tables[table])).mappings()]

    def plans(self) -> list[Path]:
        """The plans that are kept; each is in the folder of its run."""
        return sorted(self.folder.glob("outbox/**/plan.parquet"))

    def reasons(self) -> dict[str, str | None]:
        """Record -> reason in the ledger."""
        return {row["record_key"]: row["reason"] for row in self.noted()}
