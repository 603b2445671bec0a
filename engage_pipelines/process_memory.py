"""Holding little memory: what one step or thread needed for a moment must not stay while others need their own."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa

# The names are glibc's (malloc.h); elsewhere there is no such call, and nothing is done.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE = 128 * 1024
_PAGE = 1_000_000


def give_back_early() -> None:
    """Let large blocks go back to the system as soon as they are free, for the rest of the process.

    Left to itself glibc raises the size from which it does so with every large block it sees, and Arrow's own pool
    keeps what it once had: a migration of many months would hold more with every month.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    _set(_M_MMAP_THRESHOLD, _LARGE)


def hold_few_pages() -> None:
    """Let threads that are still to come hold no pages that they have let go of, for the rest of the process.

    glibc gives them heaps of their own, and what a thread has let go of stays with its heap: of eight that each read a
    page now and then, each would hold a page. In one heap for all a page leaves a hole among what others still hold,
    so blocks as large as one (a megabyte and more) come from the system and go back to it.
    """
    _set(_M_ARENA_MAX, 1)
    _set(_M_MMAP_THRESHOLD, _PAGE)


def _set(parameter: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(parameter, value)
