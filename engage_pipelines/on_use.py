"""Parts of Arrow that pulling and loading never need, loaded when they are first used.

They are 60 ms of every start and some 15 MB of a process; a module that needs one takes it from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["arrow_csv", "pc", "pq"]


class _OnUse:
    """A module by name; whoever asks for something in it has it imported."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


arrow_csv = _OnUse("pyarrow.csv")
pc = _OnUse("pyarrow.compute")
pq = _OnUse("pyarrow.parquet")
