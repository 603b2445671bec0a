"""Loading what was pulled: the bookmark follows, and never jumps over a gap."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Entity, Options, PullFunction, Scope, Window
from engage_pipelines.errors import IncompleteError, RetryableError
from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.ingest import Loaded, Loading, Pulling, Spool, cut
from engage_pipelines.ingest.load import OnWindow
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

        return self.loading(entity, hear).load_range(start, end, only_new=only_new)

    def loading(self, entity: Entity = ORDERS, hear: OnWindow = lambda window, result: None) -> Loading:
        return Loading(
            warehouse=self.warehouse, bookmarks=self.bookmarks, source=source(self.folder / "acme", entity),
            entity=entity, lake=self.folder / "lake", variables={"default_country": "GB"}, now=lambda: NIGHT,
            progress=lambda done, total: None, on_window=hear,
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


# --- the windows of a pull that is still under way ------------------------------------------------


def pulling(house: House, how: PullFunction, windows: Sequence[Window] = DAYS[:3], in_flight: int = 2) -> Pulling:
    client = VendorClient("acme", "http://127.0.0.1:9", limits=Limits(in_flight=in_flight))
    return Pulling(
        client, replace(ORDERS, pull=how, prove=None), source="acme", lake=house.folder / "lake", windows=windows,
        location_ids=("L1",), options=Options(), now=lambda: NIGHT,
    )  # fmt: skip


def its_day(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
    yield [json.dumps(dated([day.start for day in DAYS].index(scope.window.start))).encode()]


def test_a_window_is_loaded_while_later_ones_are_still_pulled(house: House) -> None:
    first_is_loaded = threading.Event()

    def last_waits(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
        yield from its_day(client, scope)
        if scope.window == DAYS[2]:
            assert first_is_loaded.wait(20), "the first window was not loaded while the last was pulled"

    def hear(window: Window, result: LoadResult) -> None:
        house.heard.append((window, result.changed))
        first_is_loaded.set()

    with pulling(house, last_waits) as under_way:
        loaded = house.loading(hear=hear).load_arriving(under_way)
        assert under_way.told().records == 3
    assert (loaded.windows, loaded.changed) == (3, 3)
    assert house.heard == [(day, 1) for day in DAYS[:3]]
    assert house.through == DAYS[2].end
    assert house.load().changed == 0


def test_what_was_whole_before_a_pull_failed_is_loaded_and_the_next_pull_brings_the_rest(house: House) -> None:
    def second_fails(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
        yield from its_day(client, scope)
        if scope.window == DAYS[1]:
            raise RetryableError("acme: GET orders: status 503 after 5 tries")

    with pytest.raises(RetryableError, match="503"), pulling(house, second_fails) as under_way:
        house.loading().load_arriving(under_way)
    assert house.keys() == ["acme:O0"]
    assert house.through == DAYS[0].end
    with pulling(house, its_day) as under_way:
        house.loading().load_arriving(under_way)
    assert house.keys() == ["acme:O0", "acme:O1", "acme:O2"]
    assert house.through == DAYS[2].end


def test_a_load_that_fails_ends_the_pull_and_lets_go_of_the_files(house: House) -> None:
    asked: list[Window] = []
    loading = house.loading()

    def listen(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
        asked.append(scope.window)
        yield from its_day(client, scope)

    def refuse(window: Window, result: LoadResult) -> None:
        raise RuntimeError("whoever listens has failed")

    with pytest.raises(RuntimeError, match="listens"), pulling(house, listen, in_flight=1) as under_way:
        replace(loading, on_window=refuse).load_arriving(under_way)
    with Warehouse(house.warehouse.folder, wait_seconds=0).connection():
        pass
    assert house.load().windows == len(set(asked))


def test_a_gap_in_a_window_that_came_is_told_and_keeps_the_bookmark_in_front_of_it(house: House) -> None:
    def more_is_listed(client: VendorClient, scope: Scope) -> Iterator[Sequence[bytes]]:
        yield [json.dumps({"id": f"O{n}", "location_id": "L1"}).encode() for n in (0, 1, 2, 9)]

    under_way = Pulling(
        VendorClient("acme", "http://127.0.0.1:9"), replace(ORDERS, pull=its_day, prove=more_is_listed), source="acme",
        lake=house.folder / "lake", windows=DAYS[:1], location_ids=("L1",), options=Options(), now=lambda: NIGHT,
    )  # fmt: skip
    with pytest.raises(IncompleteError, match=r"in 2026-11-15\.\.2026-11-16 \(3\)"), under_way:
        house.loading().load_arriving(under_way)
    assert house.through is None
    assert house.keys() == ["acme:O0"]
