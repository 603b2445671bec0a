"""The keys of returns: how a correction's row in the ledger names the record that it takes back.

The correction files of the destinations write the same form, see `warehouse/corrections.py`.
"""

from __future__ import annotations

_MARK = ":return:"


def return_key(record_key: str, correction_count: int) -> str:
    """The key of the return that takes a record back for the next time."""
    return f"{record_key}{_MARK}{correction_count + 1}"


def returned_by(key: str) -> tuple[str, int] | None:
    """The record that a return takes back, and for which time; None if the key is no return's."""
    record_key, mark, number = key.rpartition(_MARK)
    return (record_key, int(number)) if mark and number.isdigit() else None
