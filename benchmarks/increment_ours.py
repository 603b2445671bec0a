"""The product's nights: `Desk.pull` and `Desk.load` of one day with the nightly re-reading, day by day.

    python -m benchmarks.increment_ours <url> <folder> <first day> <last day> [--bookmark <moment>]

Tells the seconds of the last night.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.increment_world import DAY, REREAD_DAYS
from benchmarks.orders import LOCATIONS
from benchmarks.pull_ours import desk_of
from engage_pipelines.operations import Desk

_HISTORY_FROM = datetime(2024, 1, 1, tzinfo=UTC)


def night(desk: Desk, day: date) -> dict[str, float]:
    """One night: shops and orders of a day, and what the nights before may have missed."""
    desk = replace(desk, now=lambda: datetime(day.year, day.month, day.day, 2, tzinfo=UTC) + timedelta(days=1))
    source = desk.source("square")
    shops, orders = desk.entity(source, "locations"), desk.entity(source, "orders")
    began = time.monotonic()
    desk.pull(source, shops, (day, day))
    desk.load(source, shops, (day, day))
    at_shops = time.monotonic()
    pulled = desk.pull(source, orders, (day, day), reread=True)
    at_orders = time.monotonic()
    loaded = desk.load(source, orders, (day, day), reread=True)
    ended = time.monotonic()
    return {
        "seconds": ended - began, "shops": at_shops - began, "pull": at_orders - at_shops, "load": ended - at_orders,
        "pull_calls": pulled.calls, "pulled": pulled.records, "pulled_windows": pulled.windows,
        "windows": loaded.windows, "records": loaded.records, "changed": loaded.changed,
        "quarantined": loaded.quarantined, "missing": loaded.missing,
    }  # fmt: skip


def main() -> None:
    """Run the nights and tell of the last one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("first", type=date.fromisoformat)
    parser.add_argument("last", type=date.fromisoformat)
    parser.add_argument("--bookmark", type=datetime.fromisoformat, help="how far an installation is that has none yet")
    given = parser.parse_args()
    desk = desk_of(given.url, given.folder, _HISTORY_FROM, DAY, rate="", in_flight=8)
    if given.bookmark:
        start = given.bookmark - timedelta(days=REREAD_DAYS)
        desk.bookmarks.advance("square", "orders", LOCATIONS, start, given.bookmark)
    days = (given.last - given.first).days
    told = [night(desk, given.first + timedelta(days=day)) for day in range(days + 1)]
    sys.stdout.write(json.dumps(told[-1]) + "\n")


if __name__ == "__main__":
    main()
