"""The ledger's mirror in the warehouse: equal to the ledger after each night, and brought up to date, not made anew."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from engage_pipelines.state import BatchEnd, Ledger, Queue, Settlement, return_key
from engage_pipelines.state.mirror import LedgerTable
from engage_pipelines.warehouse import Warehouse, publish
from engage_pipelines_tests.ledger_rows import mirrored

FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
AIQ = ("aiq", "sales")
STATES = ("delivered", "accepted", "rejected", "pending", "in_doubt", "diverged")


@dataclass
class Watched:
    """A table of the ledger that notes how many rows were read of it, and whether all were asked for."""

    table: LedgerTable
    reads: list[tuple[bool, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def changed_at(self) -> str | None:
        return self.table.changed_at

    def count(self) -> int:
        return self.table.count()

    @contextmanager
    def rows(self, since: datetime | None = None) -> Iterator[pa.RecordBatchReader]:
        with self.table.rows(since) as found:
            rows = found.read_all()
            self.reads.append((since is None, rows.num_rows))
            yield rows.to_reader()


class Nights:
    """A ledger with a history, and nights that change it."""

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        self.ledger, self.queue = Ledger(engine), Queue(engine)
        self.warehouse = Warehouse(folder / "warehouse")
        self.now = FIRST
        self.batches = 0
        for day in range(20):
            self.now = FIRST + timedelta(days=day)
            self.send([f"old-{day:02}-{n}" for n in range(20)], "delivered")

    def send(self, keys: list[str], state: str, payload_hash: str = "h1", *, dies: bool = False) -> None:
        """A batch; with `dies` its run does between sending and noting."""
        self.batches += 1
        rows = [(key, payload_hash) for key in keys]
        attempt = self.ledger.begin(*AIQ, f"b{self.batches}", f"r{self.batches}", rows, self.now)
        if not dies:
            outcomes = [Settlement(key, state, f"{state} then") for key in keys]
            self.ledger.settle(attempt, outcomes, self.now, BatchEnd(1, "POST sales", 200))

    def publish(self) -> dict[str, list[tuple[bool, int]]]:
        """Bring the mirror up to date; gives what was read of each table."""
        watched = [Watched(table) for table in self.ledger.mirror()]
        publish(self.warehouse, watched)
        return {each.name: each.reads for each in watched}

    def is_equal(self) -> bool:
        """True if every row of the mirror is as the ledger's."""
        with self.warehouse.connection() as connection:
            there = {
                name: connection.sql(f"from {name}").to_arrow_table() for name in mirrored(self.ledger)
            }  # fmt: skip
        return all(_sorted(rows) == _sorted(there[name]) for name, rows in mirrored(self.ledger).items())


def _sorted(rows: pa.Table) -> list[str]:
    return sorted(str(sorted(row.items())) for row in rows.to_pylist())


@pytest.fixture
def nights(engine: sa.Engine, tmp_path: Path) -> Nights:
    return Nights(engine, tmp_path)


def test_a_night_costs_what_it_changed_and_not_what_is_there(nights: Nights) -> None:
    assert nights.publish()["ops.deliveries"] == [(True, 400)]
    nights.now += timedelta(days=1)
    nights.send(["old-03-1", "new"], "delivered", "h2")
    reads = nights.publish()
    # And the last batch of the night before: its moment is within the overlap.
    assert reads["ops.deliveries"] == [(False, 22)]
    assert reads["ops.delivery_batches"] == [(False, 2)]
    assert nights.is_equal()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_to_records_the_mirror_is_the_ledger_after_every_night(nights: Nights, seed: int) -> None:
    chance = random.Random(seed)
    keys = [f"old-{day:02}-{n}" for day in range(20) for n in range(20)] + [f"new-{n}" for n in range(20)]
    made_anew = 0
    for _ in range(8):
        nights.now += timedelta(days=1)
        for _ in range(chance.randint(1, 5)):
            some = chance.sample(keys, 3)
            match chance.randint(0, 5):
                case 0:
                    # What the run before left open is found by this one.
                    nights.ledger.find_in_doubt(*AIQ)
                    nights.send(some, "", f"h{chance.randint(1, 9)}", dies=True)
                case 1:
                    nights.ledger.find_in_doubt(*AIQ)
                case 2:
                    nights.queue.decide(
                        *AIQ, some, was=("in_doubt", "rejected"), state="delivered", reason="seen there", now=nights.now
                    )
                case 3:
                    nights.ledger.note(*AIQ, [(key, "skipped", "h1", "voided") for key in some], nights.now)
                case 4:
                    nights.send([return_key(some[0], 1)], "delivered")
                case _:
                    nights.send(some, chance.choice(STATES), f"h{chance.randint(1, 9)}")
        made_anew += nights.publish()["ops.deliveries"][-1][0]
        assert nights.is_equal()
    # The first time, and never after that.
    assert made_anew == 1


@pytest.mark.parametrize("harm", ["delete from {} where record_key = 'old-00-1'",
                                  "insert into {} select * from {} where record_key = 'old-00-1'"])  # fmt: skip
def test_a_mirror_that_has_not_as_many_rows_as_the_ledger_is_made_anew(nights: Nights, harm: str) -> None:
    nights.publish()
    with nights.warehouse.connection() as connection:
        connection.execute(harm.replace("{}", "warehouse.ops.deliveries"))
    assert nights.publish()["ops.deliveries"] == [(False, 20), (True, 400)]
    assert nights.is_equal()


def test_a_clock_that_was_years_ahead_hides_nothing(nights: Nights) -> None:
    nights.now = datetime.now(UTC) + timedelta(days=3000)
    nights.send(["old-03-1"], "delivered", "h2")
    nights.publish()
    nights.now = datetime.now(UTC)
    nights.send(["old-04-1"], "rejected", "h2")
    assert [is_whole for is_whole, _ in nights.publish()["ops.deliveries"]] == [False]
    assert nights.is_equal()


def test_what_is_still_open_is_read_again_each_time(nights: Nights) -> None:
    nights.send(["old-00-1", "new"], "", "h2", dies=True)
    nights.publish()
    assert nights.is_equal()
    nights.ledger.find_in_doubt(*AIQ)
    for _ in range(2):
        assert [is_whole for is_whole, _ in nights.publish()["ops.deliveries"]] == [False]
        assert nights.is_equal()
