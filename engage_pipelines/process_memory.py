"""Holding little memory: what one step or thread needed for a moment must not stay while others need their own."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa

# The names are glibc's (malloc.h); elsewhere there is no such call, and nothing is done.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
# Bytes.
_LARGE = 128 * 1024
_PAGE = 1_000_000


def give_back_early() -> None:
    """Let large blocks go back to the system as soon as they are free, for the rest of the process.

    Left to itself glibc raises the size from which it does so with every large block it sees, and Arrow's own pool
    keeps what it once had: a migration of many months would hold more with every month.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    _set(_M_MMAP_THRESHOLD, _LARGE)


def share_one_heap() -> None:
    """Let threads that are still to come take memory from the heap of all others, for the rest of the process.

    glibc gives them heaps of their own, and what a thread has let go of stays with its heap: of eight that each read a
    page now and then, each would hold a page.
    """
    _set(_M_ARENA_MAX, 1)


def give_pages_back() -> None:
    """Let blocks as large as a page (a megabyte and more) go back to the system, for the rest of the process.

    In a heap the pages of many threads leave holes among what others still hold. A new block costs the system up to a
    millisecond, so one or two threads, which find the holes of their last pages, do better without. Whoever asks last
    for blocks to go back, here or in `give_back_early`, says from which size on.
    """
    _set(_M_MMAP_THRESHOLD, _PAGE)


def _set(parameter: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(parameter, value)
