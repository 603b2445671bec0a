"""What a process keeps of memory, asked of the C library in a process of its own: what is set there stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_HEAPS = """
import ctypes, os, sys, threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from engage_pipelines.connector import Entity, Window
from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.ingest.pull import Pulling

libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p

def heaps():
    reading, writing = os.pipe()
    told = ctypes.c_void_p(libc.fdopen(writing, b"w"))
    libc.malloc_info(0, told)
    libc.fclose(told)
    return os.read(reading, 1 << 16).count(b"<heap nr=")

# Of heaps whose thread has ended there may be some already: these are more.
most = 2 if sys.argv[1] == "a pull" else 6
together = threading.Barrier(most)

def take(*_):
    held = [bytes(1000) for _ in range(100)]
    together.wait(60)
    yield held[:0]

def pull():
    entity = Entity("records", "", {}, "", pull=take)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    windows = [Window(start + n * timedelta(days=1), start + (n + 1) * timedelta(days=1)) for n in range(most)]
    with VendorClient("a till", "http://127.0.0.1:9", limits=Limits(in_flight=most)) as client, Pulling(
        client, entity, source="till", lake=Path(sys.argv[2]), windows=windows, location_ids=(), options=None,
    ) as pulling:
        assert pulling.finish().windows == most

def take_in_threads():
    threads = [threading.Thread(target=lambda: list(take())) for _ in range(most)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

before = heaps()
{"a pull": pull, "threads": take_in_threads}[sys.argv[1]]()
print(heaps() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the heaps are glibc's")
@pytest.mark.parametrize(("who", "has_own"), [("a pull", False), ("threads", True)])
def test_the_threads_of_a_pull_have_no_heaps_of_their_own(tmp_path: Path, who: str, has_own: bool) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _HEAPS, who, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert (int(told.stdout) > 0) is has_own
