"""Rows as the measures write them, with figures that nobody measured."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
_COMPLETE = {"is_complete": True, "orders": {"held": 1000, "expected": 1000, "is_same": True}}


def pulled(who: str, speed: float, **other: Any) -> Row:
    """One contender that pulled 1,000 orders without latency."""
    return {
        "measure": "pull", "contender": who, "latency_ms": 0.0, "rows": 1000, "seconds": 1000 / speed,
        "rows_per_second": speed, "cpu_seconds": 1.0, "peak_mb": 300.0, "load": 0.5, "completeness": _COMPLETE,
        "stand_in_cpu_seconds": 0.1, "all_seconds": [1.0, 2.0, 3.0], "failed_rounds": 0, **other,
    }  # fmt: skip


def failed(who: str) -> Row:
    """One contender that did not end."""
    return {"measure": "pull", "contender": who, "failure": "ended with 1: MemoryError"}
