"""Giving memory back: what one step needed for a moment must not stay with the process while the next needs its own."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa

# The names are glibc's (malloc.h); elsewhere there is no such call, and nothing is done.
_M_MMAP_THRESHOLD = -3
_LARGE = 128 * 1024


def give_back_early() -> None:
    """Let large blocks go back to the system as soon as they are free, for the rest of the process.

    Left to itself glibc raises the size from which it does so with every large block it sees, and Arrow's own pool
    keeps what it once had: a migration of many months would hold more with every month.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
