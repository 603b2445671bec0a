"""What a process keeps of memory, asked of the C library in a process of its own: what is set there stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAPS = """
import ctypes, os, sys, threading
from engage_pipelines.process_memory import share_one_heap

libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p

def heaps():
    reading, writing = os.pipe()
    told = ctypes.c_void_p(libc.fdopen(writing, b"w"))
    libc.malloc_info(0, told)
    libc.fclose(told)
    return os.read(reading, 1 << 16).count(b"<heap nr=")

if sys.argv[1] == "shared":
    share_one_heap()
before, together = heaps(), threading.Barrier(4)

def take():
    held = [bytes(1000) for _ in range(100)]
    together.wait()
    del held

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(heaps() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the heaps are glibc's")
@pytest.mark.parametrize(("how", "has_own"), [("shared", False), ("alone", True)])
def test_threads_have_no_heaps_of_their_own_once_they_share_one(how: str, has_own: bool) -> None:
    told = subprocess.run([sys.executable, "-c", _HEAPS, how], capture_output=True, text=True, check=True)
    assert (int(told.stdout) > 0) is has_own
