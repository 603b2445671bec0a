"""An analyst who never stops: opens the published file, asks, closes, again and again, until told to end.

python -m benchmarks.publish_reader <analytics.duckdb> <receipts> <file that says: end>
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import duckdb

from benchmarks.publish_world import QUESTION, is_whole


def read(file: Path) -> tuple[str, str, object]:
    """One look at the published warehouse."""
    with duckdb.connect(file, read_only=True) as connection:
        first_name, last_name, amount = connection.execute(QUESTION).fetchall()[0]
    return str(first_name), str(last_name), amount


def main() -> None:
    """Read until the end and tell: reads, torn ones, errors by their text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("receipts", type=int)
    parser.add_argument("end", type=Path)
    given = parser.parse_args()
    errors: Counter[str] = Counter()
    editions: Counter[str] = Counter()
    torn = 0
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    while not given.end.exists():
        try:
            answer = read(given.file)
        except Exception as error:  # noqa: BLE001  whatever it is, it is counted
            errors[f"{type(error).__name__}: {error}"[:200]] += 1
            continue
        editions[answer[0]] += 1
        torn += not is_whole(given.receipts, *answer)
    told = {"reads": editions.total(), "torn": torn, "errors": dict(errors), "editions": len(editions)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
