"""What a process keeps of memory, asked of the C library in a process of its own: what is set there stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TAKEN = """
import ctypes, os, re, sys, threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from engage_pipelines.connector import Entity, Window
from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.http_client.exchanges import Exchange, tell
from engage_pipelines.ingest.pull import Pulling

libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p

def account():
    # How many heaps there are, and how many blocks straight from the system.
    reading, writing = os.pipe()
    told = ctypes.c_void_p(libc.fdopen(writing, b"w"))
    libc.malloc_info(0, told)
    libc.fclose(told)
    told = os.read(reading, 1 << 16)
    return told.count(b"<heap nr="), int(re.search(rb'type="mmap" count="(\\d+)"', told)[1])

# Of heaps whose thread has ended there may be some already: these are more.
most = {"a pull": 3, "a pull of two windows": 2, "threads": 6}[sys.argv[1]]
together = threading.Barrier(most)
alone, begun, blocks = threading.Lock(), [], []

def take(*given):
    begun.append(1)
    # A pull becomes wider with each page that was waited for.
    while given and len(begun) < most:
        tell(given[0], Exchange("GET", "records", 200, None, None, 1.0))
        yield []
    held = [bytes(1000) for _ in range(100)]
    together.wait(60)
    # Left to itself glibc takes the next one from a heap, once it has seen such a block come back.
    with alone:
        held.append(bytes(1_100_000))
        held.pop()
        _, before = account()
        held.append(bytes(1_100_000))
        blocks.append(account()[1] - before)
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

before, _ = account()
take_in_threads() if sys.argv[1] == "threads" else pull()
print(account()[0] - before, sum(blocks))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the heaps are glibc's")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a pull is wider only beside a processor that has time")
@pytest.mark.parametrize(
    ("who", "has_own_heaps", "gives_back"),
    [("a pull", False, True), ("a pull of two windows", False, False), ("threads", True, False)],
)
def test_the_threads_of_a_pull_hold_no_pages_that_they_have_let_go_of(
    tmp_path: Path, who: str, has_own_heaps: bool, gives_back: bool
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _TAKEN, who, str(tmp_path)], capture_output=True, text=True, check=True
    )
    heaps, from_the_system = map(int, told.stdout.split())
    assert (heaps > 0) is has_own_heaps
    assert (from_the_system > 0) is gives_back
