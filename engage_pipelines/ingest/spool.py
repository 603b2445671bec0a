"""The spool: a window's raw records as compressed NDJSON, written aside and renamed.

`<lake>/<source>/<entity>/<window>/records.ndjson.zst`, `proof.ndjson.zst`, `manifest.json`. A folder that
exists is complete; whatever a crash leaves ends in `.part` and is swept away by the next pull.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from engage_pipelines.connector import Window


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished spool holds."""

    source: str
    entity: str
    window_start: datetime
    window_end: datetime
    location_ids: tuple[str, ...]
    pages: int
    records: int
    bytes: int
    proofs: int | None
    pulled_at: datetime


@dataclass(frozen=True, slots=True)
class Spool:
    """Where one entity of one source is spooled."""

    lake: Path
    source: str
    entity: str

    @property
    def folder(self) -> Path:
        """The entity's folder in the lake."""
        return self.lake / self.source / self.entity

    def window_name(self, window: Window, location_ids: Sequence[str]) -> str:
        """The folder name of a window: its bounds, and which locations where that matters."""
        name = f"{window.start:%Y%m%dT%H%M%SZ}_{window.end:%Y%m%dT%H%M%SZ}"
        if location_ids:
            name += "_" + hashlib.sha256(",".join(location_ids).encode()).hexdigest()[:8]
        return name

    def finished(self) -> list[tuple[Path, Manifest]]:
        """Every finished window with its manifest, oldest pull first."""
        found = [
            (file.parent, msgspec.json.decode(file.read_bytes(), type=Manifest))
            for file in self.folder.glob("*/manifest.json")
            if not file.parent.name.endswith(".part")
        ]
        return sorted(found, key=lambda item: (item[1].pulled_at, item[0].name))

    def sweep(self) -> None:
        """Remove what crashed pulls left half-written; a pull of another live process keeps its own."""
        for leftover in self.folder.glob("*.part"):
            if not _is_being_written(leftover):
                shutil.rmtree(leftover, ignore_errors=True)

    def write(
        self,
        window: Window,
        location_ids: Sequence[str],
        pages: Iterable[Sequence[bytes]],
        proofs: Iterable[Sequence[bytes]] | None,
        *,
        now: Callable[[], datetime],
        is_alone: bool = False,
    ) -> Manifest:
        """Write one window and put it in place of an earlier pull of the same window.

        Args:
            window: its bounds.
            location_ids: the locations that were asked, where that matters.
            pages: records, page by page.
            proofs: what the second question tells, page by page; None if it is not asked.
            now: the clock.
            is_alone: no other window is pulled meanwhile, so a page is written while the next one is asked for. Several
                windows keep the processor busy as they are, and each would have one more page in memory.
        """
        target = self.folder / self.window_name(window, location_ids)
        aside = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        page_count, record_count, size = _write_pages(aside / "records.ndjson.zst", pages, is_alone=is_alone)
        proof_count = None
        if proofs is not None:
            _, proof_count, _ = _write_pages(aside / "proof.ndjson.zst", proofs, is_alone=is_alone)
        manifest = Manifest(
            source=self.source, entity=self.entity, window_start=window.start, window_end=window.end,
            location_ids=tuple(location_ids), pages=page_count, records=record_count, bytes=size,
            proofs=proof_count, pulled_at=now(),
        )  # fmt: skip
        (aside / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        _put_in_place(aside, target)
        return manifest


def _is_being_written(part: Path) -> bool:
    writer = part.name.split(".")[-2]
    if not writer.isdigit() or int(writer) == os.getpid():
        return False
    try:
        os.kill(int(writer), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write_pages(file: Path, pages: Iterable[Sequence[bytes]], *, is_alone: bool) -> tuple[int, int, int]:
    with ExitStack() as opened:
        stream = opened.enter_context(pa.CompressedOutputStream(str(file), "zstd"))
        # Left before the stream is closed: what is being written is written then.
        thread = opened.enter_context(ThreadPoolExecutor(1, thread_name_prefix="spool")) if is_alone else None
        writer = _Writer(stream, thread)
        for records in pages:
            writer.take(records)
            # The next page is waited for without this one.
            del records
        writer.wait()
    return writer.pages, writer.records, writer.bytes


class _Writer:
    """Writes pages, one after the other: each at once or, with a thread, while the caller goes on."""

    def __init__(self, stream: pa.NativeFile, thread: Executor | None) -> None:
        self.pages = self.records = self.bytes = 0
        self._stream = stream
        self._thread = thread
        self._under_way: Future[None] | None = None

    def take(self, records: Sequence[bytes]) -> None:
        """Write a page; whatever went wrong with the one before it is raised now at the latest."""
        if self._thread is None:
            self._write(records)
            return
        self.wait()
        self._under_way = self._thread.submit(self._write, records)

    def wait(self) -> None:
        """Until all that was taken is written."""
        if self._under_way is not None:
            self._under_way.result()

    def _write(self, records: Sequence[bytes]) -> None:
        for chunk in _lines(records):
            self._stream.write(chunk)
            self.bytes += len(chunk)
        self.pages += 1
        self.records += len(records)


def _lines(records: Sequence[bytes]) -> Iterator[bytes]:
    if not records:
        return
    if any(b"\n" in record for record in records):
        # Pretty-printed JSON: one record must be one line.
        records = [msgspec.json.format(record, indent=-1) for record in records]
    yield b"\n".join(records)
    yield b"\n"


def _put_in_place(aside: Path, target: Path) -> None:
    for file in aside.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    if target.exists():
        old = target.with_name(f"{target.name}.old.part")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        aside.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        aside.rename(target)
