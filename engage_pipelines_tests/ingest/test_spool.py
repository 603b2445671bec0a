"""The spool: a window that is there is complete."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engage_pipelines.connector import Window
from engage_pipelines.ingest import Spool
from engage_pipelines.settings import child_environment

REPOSITORY = Path(__file__).resolve().parents[2]
NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
WINDOW = Window(NIGHT - timedelta(days=1), NIGHT)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, "acme", "orders")


def read(file: Path) -> list[bytes]:
    with pa.CompressedInputStream(str(file), "zstd") as stream:
        return bytes(stream.read()).splitlines()


def write(spool: Spool, *pages: Sequence[bytes], window: Window = WINDOW, minutes: int = 0) -> Path:
    spool.write(window, ("L1",), pages, None, now=lambda: NIGHT + timedelta(minutes=minutes))
    return spool.folder / spool.window_name(window, ("L1",))


@pytest.mark.parametrize("is_alone", [False, True])
def test_records_are_kept_as_the_till_sent_them_one_a_line_in_order(spool: Spool, is_alone: bool) -> None:
    records = [b'{"id":1,"price":1.10}', '{"id":2,"name":"Käse\\n"}'.encode(), b'{ "id" : 3 }']
    pages = [records[:2], [], records[2:]]
    manifest = spool.write(WINDOW, (), pages, [records], now=lambda: NIGHT, is_alone=is_alone)
    ((folder, _),) = spool.finished()
    assert read(folder / "records.ndjson.zst") == read(folder / "proof.ndjson.zst") == records
    assert (manifest.pages, manifest.records, manifest.bytes, manifest.proofs) == (3, 3, sum(map(len, records)) + 3, 3)


class _Slow(list[bytes]):
    """A page that is written no earlier than the next one is asked for."""

    def __init__(self, records: Sequence[bytes], until: threading.Event) -> None:
        super().__init__(records)
        self._until = until
        self.was_asked: bool | None = None

    def __iter__(self) -> Iterator[bytes]:
        self.was_asked = self._until.wait(timeout=10)
        return super().__iter__()


def test_a_page_of_a_window_that_is_alone_is_written_while_the_next_one_is_asked_for(spool: Spool) -> None:
    is_asked = threading.Event()
    first = _Slow([b'{"id":1}'], is_asked)

    def pages() -> Iterator[Sequence[bytes]]:
        yield first
        is_asked.set()
        yield [b'{"id":2}']

    spool.write(WINDOW, (), pages(), None, now=lambda: NIGHT, is_alone=True)
    ((folder, _),) = spool.finished()
    assert first.was_asked
    assert read(folder / "records.ndjson.zst") == [b'{"id":1}', b'{"id":2}']


@pytest.mark.parametrize("is_alone", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_page_that_cannot_be_written_leaves_no_window(spool: Spool, is_alone: bool, number: int) -> None:
    pages: list[list[Any]] = [[b"{}"], [b"{}"], [b"{}"]]
    pages[number] = [None]
    with pytest.raises(TypeError):
        spool.write(WINDOW, (), pages, None, now=lambda: NIGHT, is_alone=is_alone)
    assert spool.finished() == []


def test_pretty_printed_records_become_one_line_each(spool: Spool) -> None:
    folder = write(spool, [json.dumps({"id": n, "a": [1, "x y"]}, indent=2).encode() for n in range(3)], [b'{"id":3}'])
    lines = read(folder / "records.ndjson.zst")
    assert [json.loads(line)["id"] for line in lines] == [0, 1, 2, 3]
    assert lines[0] == b'{"id":0,"a":[1,"x y"]}'


def test_the_manifest_says_what_was_asked_and_what_came(spool: Spool) -> None:
    manifest = spool.write(WINDOW, ("L1", "L2"), [[b"{}", b"{}"], [b"{}"]], [[b"{}"]], now=lambda: NIGHT)
    ((folder, kept),) = spool.finished()
    assert kept == manifest
    assert (kept.pages, kept.records, kept.bytes, kept.proofs) == (2, 3, 9, 1)
    assert (kept.window_start, kept.window_end, kept.location_ids) == (WINDOW.start, WINDOW.end, ("L1", "L2"))
    assert kept.pulled_at == NIGHT
    assert read(folder / "proof.ndjson.zst") == [b"{}"]


def test_an_empty_window_is_a_finished_one(spool: Spool) -> None:
    folder = write(spool)
    assert read(folder / "records.ndjson.zst") == []
    assert spool.finished()[0][1].records == 0


def test_the_same_window_is_replaced_by_a_newer_pull(spool: Spool) -> None:
    write(spool, [b'{"id":1}'])
    folder = write(spool, [b'{"id":2}'], minutes=5)
    assert read(folder / "records.ndjson.zst") == [b'{"id":2}']
    assert [path.name for path in spool.folder.iterdir()] == [folder.name]


def test_windows_and_locations_have_folders_of_their_own(spool: Spool) -> None:
    other = Window(WINDOW.start, WINDOW.end + timedelta(hours=1))
    names = {spool.window_name(w, places) for w in (WINDOW, other) for places in ((), ("L1",), ("L1", "L2"))}
    assert len(names) == 6


def test_finished_windows_come_in_the_order_of_their_pulls(spool: Spool) -> None:
    later = write(spool, minutes=9)
    earlier = write(spool, window=Window(WINDOW.end, WINDOW.end + timedelta(days=1)), minutes=1)
    assert [folder for folder, _ in spool.finished()] == [earlier, later]


def test_a_pull_that_fails_on_the_way_leaves_no_window(spool: Spool) -> None:
    def pages() -> Iterator[Sequence[bytes]]:
        yield [b"{}"]
        raise RuntimeError("the till went away")

    old = write(spool, [b'{"id":1}'])
    with pytest.raises(RuntimeError):
        spool.write(WINDOW, ("L1",), pages(), None, now=lambda: NIGHT)
    assert read(old / "records.ndjson.zst") == [b'{"id":1}']
    assert len(spool.finished()) == 1
    spool.sweep()
    assert list(spool.folder.glob("*.part")) == []


def die_while_writing(lake: Path) -> None:
    def pages() -> Iterator[Sequence[bytes]]:
        yield [b"{}"] * 1000
        os.kill(os.getpid(), signal.SIGKILL)

    Spool(lake, "acme", "orders").write(WINDOW, ("L1",), pages(), None, now=lambda: NIGHT)


def test_what_a_killed_pull_leaves_is_no_window_and_is_swept_away(spool: Spool) -> None:
    code = f"from {__name__} import *; die_while_writing(Path({str(spool.lake)!r}))"
    child = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=child_environment(), check=False)
    assert child.returncode == -signal.SIGKILL
    assert len(list(spool.folder.glob("*.part"))) == 1
    assert spool.finished() == []
    spool.sweep()
    assert list(spool.folder.iterdir()) == []


def test_what_another_live_process_is_writing_is_not_swept_away(spool: Spool) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        part = spool.folder / f"window.{other.pid}.part"
        part.mkdir(parents=True)
        spool.sweep()
        assert part.exists()
        other.communicate(b"\n")
    spool.sweep()
    assert not part.exists()
