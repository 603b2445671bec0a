"""The operational tables and how the database is opened."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Dialect, make_url

METADATA = sa.MetaData()


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A moment, kept as ISO 8601 text in UTC: sorts right and means the same in both databases."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write a moment."""
        del dialect
        return value.astimezone(UTC).isoformat(timespec="microseconds") if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a moment."""
        del dialect
        return datetime.fromisoformat(value) if value else None


BOOKMARKS = sa.Table(
    "bookmarks",
    METADATA,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("entity", sa.String(64), primary_key=True),
    sa.Column("location_id", sa.String(128), primary_key=True),
    sa.Column("through_at", UtcTime, nullable=False),
)

DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("stream", sa.String(64), primary_key=True),
    sa.Column("record_key", sa.String(256), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("payload_hash", sa.String(32), nullable=False),
    sa.Column("delivered_hash", sa.String(32)),
    sa.Column("delivered_at", UtcTime),
    sa.Column("delivered_batch_id", sa.String(128)),
    sa.Column("batch_id", sa.String(128)),
    sa.Column("run_id", sa.String(64)),
    sa.Column("attempt_count", sa.Integer, nullable=False, default=0),
    # How often the record was taken back and sent anew, where the platform can change nothing.
    sa.Column("correction_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reason", sa.String(400)),
    sa.Column("vendor_code", sa.String(64)),
    sa.Column("vendor_id", sa.String(128)),
    sa.Column("first_attempt_at", UtcTime),
    sa.Column("last_attempt_at", UtcTime),
    sa.Column("settled_at", UtcTime),
)
SETTLED_STATES = ("delivered", "accepted")


def is_special(columns: Any) -> Any:
    """Rows that are not simply held by the platform; few at any time."""
    # Written out, not bound: only so do the databases see that the partial index is meant.
    settled: list[Any] = [sa.literal_column(f"'{state}'") for state in SETTLED_STATES]
    return sa.or_(columns.state.not_in(settled), columns.correction_count > sa.literal_column("0"))


# Finds those few without reading the others, and costs nothing for the others.
sa.Index(
    "deliveries_special", DELIVERIES.c.destination, DELIVERIES.c.stream, DELIVERIES.c.state,
    sqlite_where=is_special(DELIVERIES.c), postgresql_where=is_special(DELIVERIES.c),
)  # fmt: skip

# Finds what has changed since the ledger was last published. Moments only grow, so keeping it costs little.
sa.Index("deliveries_settled", DELIVERIES.c.settled_at)

DELIVERY_BATCHES = sa.Table(
    "delivery_batches",
    METADATA,
    # The same records in the same form make the same batch again: it is the run that tells attempts apart.
    sa.Column("batch_id", sa.String(128), primary_key=True),
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("destination", sa.String(64), nullable=False),
    sa.Column("stream", sa.String(64), nullable=False),
    sa.Column("record_count", sa.Integer, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("call_count", sa.Integer),
    sa.Column("route", sa.String(200)),
    sa.Column("status", sa.Integer),
    sa.Column("request_id", sa.String(64)),
    sa.Column("outcomes", sa.Text),
    sa.Column("answer", sa.String(400)),
    # While it is under way, [record_key, payload_hash] of its records as JSON: only its end writes their rows.
    sa.Column("sending", sa.Text),
)
_IS_OPEN = DELIVERY_BATCHES.c.sending.is_not(None)
sa.Index(
    "delivery_batches_open", DELIVERY_BATCHES.c.destination, DELIVERY_BATCHES.c.stream,
    sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN,
)  # fmt: skip

sa.Index("delivery_batches_ended", DELIVERY_BATCHES.c.ended_at)

# Payloads that a person may have to look at: of refused records, until they are settled otherwise.
PAYLOADS = sa.Table(
    "payloads",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("stream", sa.String(64), primary_key=True),
    sa.Column("record_key", sa.String(256), primary_key=True),
    sa.Column("payload_hash", sa.String(32), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
)

# Payloads that a person has put in the place of what the source gives, as long as the source gives just that.
FIXES = sa.Table(
    "fixes",
    METADATA,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("stream", sa.String(64), primary_key=True),
    sa.Column("record_key", sa.String(256), primary_key=True),
    sa.Column("instead_of", sa.String(32), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("fixed_at", UtcTime, nullable=False),
)

DELIVERY_RUNS = sa.Table(
    "delivery_runs",
    METADATA,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("destination", sa.String(64), nullable=False),
    sa.Column("stream", sa.String(64), nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("planned_count", sa.Integer),
    sa.Column("planned_amounts", sa.Text),
    sa.Column("day_count", sa.Integer),
    sa.Column("reach", sa.String(16)),
    sa.Column("source_record_count", sa.Integer),
    sa.Column("delivered_count", sa.Integer),
    sa.Column("accepted_count", sa.Integer),
    sa.Column("rejected_count", sa.Integer),
    sa.Column("pending_count", sa.Integer),
    sa.Column("in_doubt_count", sa.Integer),
    sa.Column("diverged_count", sa.Integer),
    sa.Column("unchanged_count", sa.Integer),
    sa.Column("skipped_count", sa.Integer),
    sa.Column("skipped", sa.Text),
    sa.Column("call_count", sa.Integer),
    sa.Column("minimal_call_count", sa.Integer),
)


def open_state(url: str) -> sa.Engine:
    """Open the state database and make its tables where they are missing.

    Args:
        url: `sqlite:///<file>` or `postgresql://…` (the plain form is fine).
    """
    parsed = make_url(re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url))
    engine = _open_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _open_postgres(parsed)
    METADATA.create_all(engine)
    _bring_up_to_date(engine)
    return engine


def _bring_up_to_date(engine: sa.Engine) -> None:
    """Tables only ever gain columns and indexes: add those that an older release did not have."""
    found = sa.inspect(engine)
    with engine.begin() as connection:
        for table in METADATA.sorted_tables:
            known = {column["name"] for column in found.get_columns(table.name)}
            for column in table.c:
                if column.name not in known:
                    statement = sa.schema.CreateColumn(column).compile(dialect=engine.dialect)
                    connection.execute(sa.text(f"alter table {table.name} add column {statement}"))
            for index in table.indexes:
                index.create(connection, checkfirst=True)


def _open_postgres(url: URL) -> sa.Engine:
    # Statements of one batch travel together; one round trip per record would cap delivery.
    return sa.create_engine(url, executemany_mode="values_plus_batch", pool_pre_ping=True)


def _open_sqlite(url: URL) -> sa.Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": 60})

    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("pragma journal_mode = wal")
        # The step "noted as sending" must be on disk before the call leaves: NORMAL could lose it.
        cursor.execute("pragma synchronous = full")
        # 64 MB of log before it is merged into the file: keys lie all over their index, and a page that was touched by
        # many commits is then written once.
        cursor.execute("pragma wal_autocheckpoint = 16000")
        cursor.execute("pragma busy_timeout = 60000")
        cursor.close()

    sa.event.listen(engine, "connect", configure)
    return engine
