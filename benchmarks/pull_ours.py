"""The product: `Desk.pull_and_load` as `engage pull --load` calls it, with everything that it always does.

python -m benchmarks.pull_ours <url> <folder> <first moment> <last moment> [--rate 40/s] [--in-flight 8]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from engage_pipelines.operations import Desk
from engage_pipelines.settings import parse_settings


def desk_of(url: str, folder: Path, start: datetime, end: datetime, *, rate: str, in_flight: int) -> Desk:
    """An installation that has only this till."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text("SQUARE_ACCESS_TOKEN=bench-token\n")
    till = {
        "base_url": url, "history_from": start.date(), "in_flight": in_flight, "rates": [rate] if rate else [],
    }  # fmt: skip
    settings = parse_settings({"operator": {"time_zone": "UTC"}, "sources": {"square": till}}, folder / "engage.toml")
    return Desk(settings, now=lambda: end + timedelta(hours=1))


def pull_and_load(desk: Desk, days: tuple[date, date]) -> dict[str, float]:
    """Shops and orders into the warehouse; seconds in all and of the pull, and what they cost of processor.

    Windows are loaded while later ones are pulled; the pull ends when its last window is whole.
    """
    source = desk.source("square")
    entities = [desk.entity(source, name) for name in ("locations", "orders")]
    began, used = time.monotonic(), time.process_time()
    *_, (_, pulled, loaded) = desk.pull_and_load(source, entities, days)
    return {
        "seconds": time.monotonic() - began, "pull": pulled.seconds, "load": loaded.seconds,
        "cpu": time.process_time() - used, "pull_calls": pulled.calls,
        "quarantined": loaded.quarantined, "missing": loaded.missing,
    }  # fmt: skip


def main() -> None:
    """Pull, load, and tell the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("start", type=datetime.fromisoformat)
    parser.add_argument("end", type=datetime.fromisoformat)
    parser.add_argument("--rate", default="")
    parser.add_argument("--in-flight", type=int, default=8)
    given = parser.parse_args()
    start, end = given.start.astimezone(UTC), given.end.astimezone(UTC)
    desk = desk_of(given.url, given.folder, start, end, rate=given.rate, in_flight=given.in_flight)
    told = pull_and_load(desk, (start.date(), (end - timedelta(days=1)).date()))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
