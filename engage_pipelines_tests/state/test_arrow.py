"""Rows of the operational tables as Arrow: all of them, as they are, whichever way SQLite is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from engage_pipelines.state.arrow import read_arrow, stream_arrow

NAMES = ("record_key", "reason", "call_count", "settled_at")
ROWS = 12_345


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """Rows in an order of their own, with gaps, quotes and letters of all kinds."""
    opened = sa.create_engine(f"sqlite:///{tmp_path / 'state.db'}")
    with opened.begin() as connection:
        connection.exec_driver_sql("create table notes (record_key text, reason text, call_count int, settled_at text)")
        connection.exec_driver_sql(
            f"""with recursive n(i) as (select 1 union all select i + 1 from n where i < {ROWS})
            insert into notes select 'k' || i, iif(i % 3, null, 'said "no", naïve \\ {{' || i || char(10) || '}}'),
            iif(i % 5, i, null), iif(i % 7, '2026-12-01T05:06:07.000008+00:00', null) from n order by i desc"""
        )
    yield opened
    opened.dispose()


def _read(engine: sa.Engine, sql: str) -> pa.Table:
    query = sa.select(*(sa.literal_column(name).label(name) for name in NAMES)).select_from(sa.text(sql))
    with stream_arrow(engine, query, NAMES) as rows:
        return rows.read_all()


def test_all_rows_come_in_their_order_as_they_are(engine: sa.Engine) -> None:
    found = _read(engine, "notes")
    assert found["record_key"].to_pylist() == [f"k{i}" for i in range(ROWS, 0, -1)]
    assert found.slice(ROWS - 15, 1).to_pylist() == [
        {"record_key": "k15", "reason": 'said "no", naïve \\ {15\n}', "call_count": None,
         "settled_at": datetime(2026, 12, 1, 5, 6, 7, 8, UTC)}
    ]  # fmt: skip
    assert found["reason"].null_count == ROWS - ROWS // 3
    assert found["settled_at"].null_count == ROWS // 7
    assert _read(engine, "notes where call_count < 0").num_rows == 0


def test_more_rows_than_are_put_aside_come_too(tmp_path: Path) -> None:
    many = 1_000_001
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'large.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("create table notes (record_key text, call_count int)")
        connection.exec_driver_sql(
            f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {many}) "
            "insert into notes select 'k' || i, iif(i % 5, i, null) from n"
        )
    names = NAMES[0], NAMES[2]
    query = sa.select(*(sa.literal_column(name).label(name) for name in names)).select_from(sa.text("notes"))
    with stream_arrow(engine, query, names) as rows:
        found = rows.read_all()
    engine.dispose()
    assert (found.num_rows, found["call_count"].null_count) == (many, many // 5)
    assert found.slice(many - 1).to_pylist() == [{"record_key": f"k{many}", "call_count": many}]


def test_nothing_is_left_behind_when_a_reader_stops_early(engine: sa.Engine) -> None:
    query = sa.select(*(sa.literal_column(name).label(name) for name in NAMES)).select_from(sa.text("notes"))
    with stream_arrow(engine, query, NAMES) as rows:
        assert rows.read_next_batch().num_rows < ROWS

    def give_up() -> None:
        with stream_arrow(engine, query, NAMES) as rows:
            rows.read_next_batch()
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        give_up()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select name from sqlite_temp_schema").fetchall() == []
    assert _read(engine, "notes").num_rows == ROWS


def test_few_rows_are_read_at_once_the_same_way(engine: sa.Engine) -> None:
    query = sa.select(*(sa.literal_column(name).label(name) for name in NAMES)).select_from(sa.text("notes"))
    assert read_arrow(engine, query, NAMES).equals(_read(engine, "notes").combine_chunks())
    none = read_arrow(engine, query.where(sa.literal_column("call_count") < 0), NAMES)
    assert (none.num_rows, none.column_names) == (0, list(NAMES))
