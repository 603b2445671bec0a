"""A destination made of a function: what it is given to send, and what a test lets it answer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from engage_pipelines.connector import Batch, BatchLimits, Destination, InDoubt, Options, Outcome, Stream
from engage_pipelines.delivery import Delivered, Delivery, Preview
from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.state import Ledger, open_state
from engage_pipelines.warehouse import Selection
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
EVERYTHING = Selection()


def deliver_all(session: Any, batch: Batch) -> list[Outcome]:
    return [Outcome("delivered", vendor_id=f"v-{key}") for key in batch.keys]


@dataclass(frozen=True)
class Session:
    client: VendorClient


@dataclass
class PostOffice:
    """Delivers the receipts of a small warehouse; remembers every batch that was handed over."""

    folder: Path
    in_flight: int = 1
    url: str = "http://127.0.0.1:9"
    sent: list[Batch] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.till = Loader(self.folder)
        self.engine: sa.Engine = open_state(f"sqlite:///{self.folder}/state.db")
        self.ledger = Ledger(self.engine)
        (self.folder / "receipts.sql").write_text(SQL)
        (self.folder / "rows.sql").write_text(ROWS)
        self.client = VendorClient("acme", self.url, limits=Limits(in_flight=self.in_flight))

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
            name="club", folder=self.folder, options=Options, secrets=(), limits=Limits(),
            connect=lambda options, secrets, limits: None, streams=(stream,),
        )  # fmt: skip
        return Delivery(
            destination=destination, options=Options(), warehouse=self.till.warehouse, ledger=self.ledger,
            store_names={}, batch_items=batch_items or {}, outbox=self.folder / "outbox", now=lambda: NIGHT,
        )  # fmt: skip

    def run(self, stream: Stream, selection: Selection = EVERYTHING, **options: Any) -> Delivered:
        self.sent.clear()
        progress = options.pop("progress", lambda done, total: None)
        return self.delivery(stream, **options).run(stream, Session(self.client), selection, progress)

    def preview(self, stream: Stream) -> Preview:
        return self.delivery(stream).preview(stream, EVERYTHING)

    @property
    def sent_keys(self) -> list[str]:
        return [key for batch in self.sent for key in batch.keys]

    def states(self) -> dict[str, str]:
        """Record -> state, as another process would read it at this moment."""
        connection = sqlite3.connect(self.folder / "state.db")
        try:
            return dict(connection.execute("select record_key, state from deliveries order by 1").fetchall())
        finally:
            connection.close()

    def reasons(self) -> dict[str, str | None]:
        """Record -> reason in the ledger."""
        mirror = self.ledger.mirror()["ops.deliveries"]
        return dict(zip(mirror["record_key"].to_pylist(), mirror["reason"].to_pylist(), strict=True))
