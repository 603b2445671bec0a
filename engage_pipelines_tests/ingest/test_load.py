"""Loading what was pulled: the bookmark follows, and never jumps over a gap."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Entity, Window
from engage_pipelines.errors import IncompleteError
from engage_pipelines.ingest import Loaded, Spool, cut, load
from engage_pipelines.state import Bookmarks, open_state
from engage_pipelines.warehouse import LoadResult, Warehouse
from engage_pipelines_tests.plain_till import NIGHT, ORDERS, order, source

DAYS = cut(NIGHT.replace(hour=0) - timedelta(days=5), NIGHT.replace(hour=0), days=1)


@dataclass
class House:
    """A lake, a warehouse and bookmarks."""

    folder: Path
    bookmarks: Bookmarks
    warehouse: Warehouse
    pulls: int = 0
    heard: list[tuple[Window, int]] = field(default_factory=list)

    def pull(
        self,
        window: Window,
        *records: Mapping[str, Any],
        listed: Iterable[str] | None = None,
        places: tuple[str, ...] = ("L1",),
    ) -> None:
        self.pulls += 1
        proofs = None if listed is None else [[json.dumps({"id": n, "location_id": "L1"}).encode() for n in listed]]
        pages = [[json.dumps(record).encode() for record in records]]
        moment = NIGHT + timedelta(minutes=self.pulls)
        Spool(self.folder / "lake", "acme", "orders").write(window, places, pages, proofs, now=lambda: moment)

    def load(
        self,
        entity: Entity = ORDERS,
        start: datetime = DAYS[0].start,
        end: datetime = DAYS[-1].end,
        *,
        only_new: bool = False,
    ) -> Loaded:
        def hear(window: Window, result: LoadResult) -> None:
            self.heard.append((window, result.changed))

        return load(
            self.warehouse, self.bookmarks, source=source(self.folder / "acme", entity), entity=entity,
            lake=self.folder / "lake", start=start, end=end, variables={"default_country": "GB"},
            now=lambda: NIGHT, progress=lambda done, total: None, on_window=hear,
            only_new=only_new,
        )  # fmt: skip

    @property
    def through(self) -> datetime | None:
        return self.bookmarks.through("acme", "orders")

    def keys(self) -> list[str]:
        with self.warehouse.connection() as connection:
            return [
                row[0]
                for row in connection.execute("select transaction_id from core.transactions order by 1").fetchall()
            ]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    engine = open_state(f"sqlite:///{tmp_path}/state.db")
    yield House(tmp_path, Bookmarks(engine), Warehouse(tmp_path / "warehouse"))
    engine.dispose()


def dated(number: int) -> dict[str, Any]:
    return order(f"O{number}", updated_at=f"{DAYS[number].start:%Y-%m-%d}T10:00:00Z")


def test_windows_are_loaded_in_order_and_the_bookmark_follows(house: House) -> None:
    for number in (2, 0, 1):
        house.pull(DAYS[number], dated(number))
    loaded = house.load()
    assert (loaded.windows, loaded.records, loaded.changed, loaded.rows["transaction_lines"]) == (3, 3, 3, 6)
    assert house.heard == [(DAYS[n], 1) for n in range(3)]
    assert house.through == DAYS[2].end
    assert house.load().changed == 0
    assert house.through == DAYS[2].end


def test_only_windows_that_touch_the_range_are_loaded(house: House) -> None:
    for number in range(4):
        house.pull(DAYS[number], dated(number))
    house.load(start=DAYS[1].start, end=DAYS[2].end)
    assert house.keys() == ["acme:O1", "acme:O2"]


def test_the_bookmark_never_jumps_over_a_window_that_is_not_there(house: House) -> None:
    house.pull(DAYS[0], dated(0))
    house.load()
    house.pull(DAYS[2], dated(2))
    house.load()
    assert house.through == DAYS[0].end
    house.pull(DAYS[1], dated(1))
    house.load()
    assert house.through == DAYS[2].end


def test_each_location_has_its_own_bookmark_and_the_slowest_counts(house: House) -> None:
    house.pull(DAYS[0], places=("L1",))
    house.pull(DAYS[0], places=("L2",))
    house.pull(DAYS[1], places=("L1",))
    house.load()
    assert house.through == DAYS[0].end


def test_records_that_the_till_lists_but_that_were_not_pulled_keep_the_bookmark_in_front_of_the_gap(
    house: House,
) -> None:
    house.pull(DAYS[0], dated(0), listed=["O0"])
    house.pull(DAYS[1], listed=["O1", "O9"])
    house.pull(DAYS[2], dated(2), listed=["O2"])
    with pytest.raises(IncompleteError, match=r"acme orders: .*, in 2026-11-16\.\.2026-11-17 \(2\); see ops.complete"):
        house.load()
    assert house.through == DAYS[0].end
    # The windows behind the gap are in core all the same.
    assert house.keys() == ["acme:O0", "acme:O2"]
    house.pull(DAYS[1], dated(1), order("O9"), listed=["O1", "O9"])
    assert house.load().missing == 0
    assert house.through == DAYS[2].end


def test_a_gap_is_closed_by_a_wider_pull_too(house: House) -> None:
    house.pull(DAYS[0], listed=["O0"])
    with pytest.raises(IncompleteError):
        house.load()
    house.pull(Window(DAYS[0].start, DAYS[3].end), dated(0), listed=["O0"])
    assert house.load().windows == 1
    assert house.through == DAYS[3].end


def test_a_record_that_was_changed_again_in_between_is_no_gap(house: House) -> None:
    house.pull(DAYS[0], dated(0), order("MOVED"), listed=["O0"])
    assert house.load().missing == 0
    assert house.through == DAYS[0].end


def test_of_whole_states_only_the_newest_is_loaded(house: House) -> None:
    whole = replace(ORDERS, windowed=False, prove=None, proof=None)
    house.pull(DAYS[1], order(version=2, total=20))
    house.pull(DAYS[0], order(version=1, total=10))
    assert house.load(whole).windows == 1
    with house.warehouse.connection() as connection:
        assert connection.execute("select total_amount from core.transactions").fetchall() == [(10,)]


def test_nothing_pulled_is_nothing_loaded(house: House) -> None:
    assert house.load().windows == 0
    assert house.through is None


def test_an_error_in_the_middle_keeps_what_was_loaded_and_a_repeat_finishes(house: House) -> None:
    for number in range(3):
        house.pull(DAYS[number], dated(number))
    broken = Spool(house.folder / "lake", "acme", "orders")
    file = broken.folder / broken.window_name(DAYS[1], ("L1",)) / "records.ndjson.zst"
    whole = file.read_bytes()
    file.write_bytes(whole[:20])
    with pytest.raises(Exception, match=r"(?i)zstd|frame|truncated|decompress|eof|not enough|unexpected"):
        house.load()
    assert (house.keys(), house.through) == (["acme:O0"], DAYS[0].end)
    file.write_bytes(whole)
    house.load()
    assert (house.keys(), house.through) == (["acme:O0", "acme:O1", "acme:O2"], DAYS[2].end)


def records_of(house: House, number: int) -> Path:
    spool = Spool(house.folder / "lake", "acme", "orders")
    return spool.folder / spool.window_name(DAYS[number], ("L1",)) / "records.ndjson.zst"


def test_what_core_has_as_it_was_pulled_is_not_read_again_if_only_the_new_is_wanted(house: House) -> None:
    house.pull(DAYS[0], dated(0), listed=["O0"])
    house.load()
    house.pull(DAYS[1], dated(1), listed=["O1"])
    # Whoever read it now would fail.
    records_of(house, 0).write_bytes(b"no longer readable")
    loaded = house.load(only_new=True)
    assert (loaded.windows, loaded.records, loaded.changed) == (2, 1, 1)
    assert house.through == DAYS[1].end
    assert house.heard[-2:] == [(DAYS[0], 0), (DAYS[1], 1)]


def test_a_new_pull_of_a_loaded_window_is_new(house: House) -> None:
    house.pull(DAYS[0], dated(0))
    house.load()
    house.pull(DAYS[0], dated(0), order("LATE"))
    assert house.load(only_new=True).changed == 1


def test_a_window_with_a_gap_or_with_something_in_quarantine_is_tried_again_every_time(house: House) -> None:
    house.pull(DAYS[0], dated(0) | {"total": None}, listed=["O0"])
    house.load()
    assert house.load(only_new=True).quarantined == 1
    house.pull(DAYS[1], listed=["O1"])
    for _ in range(2):
        with pytest.raises(IncompleteError):
            house.load(only_new=True)


def test_a_bookmark_that_a_crash_left_behind_catches_up_although_nothing_is_new(house: House) -> None:
    house.pull(DAYS[0], dated(0))
    house.load()
    forgetful = Bookmarks(open_state(f"sqlite:///{house.folder}/other.db"))
    again = replace(house, bookmarks=forgetful)
    assert again.load(only_new=True).records == 0
    assert again.through == DAYS[0].end
