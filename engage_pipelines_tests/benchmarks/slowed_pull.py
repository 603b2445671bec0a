"""The product's pull and load, at three times its processor time: what the guard must notice."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.pull_ours import desk_of, pull_and_load


def main() -> None:
    """Do the work, then waste twice what it took."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    start, end = (datetime.fromisoformat(text).astimezone(UTC) for text in sys.argv[3:5])
    began = time.process_time()
    told = pull_and_load(desk_of(url, folder, start, end, rate="", in_flight=8),
                         (start.date(), (end - timedelta(days=1)).date()))  # fmt: skip
    until = began + 3 * (time.process_time() - began)
    while time.process_time() < until:
        sum(range(1000))
    sys.stdout.write(json.dumps({**told, "cpu": time.process_time() - began}) + "\n")


if __name__ == "__main__":
    main()
