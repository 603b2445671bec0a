"""How the operational memory is opened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from engage_pipelines.model import TABLE_BY_NAME
from engage_pipelines.state import database, open_state
from engage_pipelines.state.database import BOOKMARKS, DELIVERIES, DELIVERY_RUNS


def pragma(engine: sa.Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"pragma {name}").scalar()


def test_sqlite_writes_ahead_and_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    engine = open_state(f"sqlite:///{tmp_path}/deep/down/state.db")
    try:
        assert pragma(engine, "journal_mode") == "wal"
        assert pragma(engine, "synchronous") == 2  # FULL
        assert pragma(engine, "busy_timeout") == 60_000
    finally:
        engine.dispose()


def test_opening_again_finds_what_was_there(state_url: str) -> None:
    moment = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
    for count in (1, 2):
        engine = open_state(state_url)
        with engine.begin() as connection:
            values = {"source": "acme", "entity": "orders", "location_id": str(count), "through_at": moment}
            connection.execute(sa.insert(BOOKMARKS).values(values))
            assert connection.execute(sa.select(sa.func.count()).select_from(BOOKMARKS)).scalar() == count
        engine.dispose()


@pytest.mark.parametrize("hours", [0, 1, -5])
def test_a_moment_comes_back_as_the_same_moment_in_utc_and_sorts_as_text(engine: sa.Engine, hours: int) -> None:
    moment = datetime(2026, 11, 20, 2, 0, 0, 5, tzinfo=timezone(timedelta(hours=hours)))
    with engine.begin() as connection:
        for number in range(3):
            connection.execute(
                sa.insert(BOOKMARKS).values(
                    source="acme", entity="orders", location_id=str(number), through_at=moment + timedelta(days=number)
                )
            )
        rows = connection.execute(sa.select(BOOKMARKS.c.through_at).order_by(BOOKMARKS.c.through_at)).scalars().all()
        text = connection.exec_driver_sql("select min(through_at) from bookmarks").scalar()
    assert rows == [moment + timedelta(days=number) for number in range(3)]
    assert rows[0].utcoffset() == timedelta(0)
    assert text == moment.astimezone(UTC).isoformat(timespec="microseconds")


@pytest.mark.parametrize(
    ("table", "mirrored", "inner"),
    [(DELIVERIES, "ops.deliveries", {"vendor_id"}), (DELIVERY_RUNS, "ops.delivery_runs", set())],
)
def test_the_memory_has_the_columns_of_its_mirror_in_the_warehouse(
    table: sa.Table, mirrored: str, inner: set[str]
) -> None:
    assert [c.name for c in table.c if c.name not in inner] == list(TABLE_BY_NAME[mirrored].column_names)
    required = {c.name for c in table.c if not c.nullable}
    assert set(TABLE_BY_NAME[mirrored].required) <= required


def test_the_plain_form_of_a_postgres_url_gets_the_driver_that_is_there() -> None:
    # Nobody listens there: what counts is that the driver was found and tried.
    with pytest.raises(sa.exc.OperationalError, match="psycopg2"):
        database.open_state("postgres://u:p@127.0.0.1:9/d")
