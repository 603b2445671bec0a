"""Publishing against a plain copy of the same file, in turns, alone and under readers.

python -m benchmarks.publish_ours <folder> <bytes> [--readers 20] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.publish_world import desk_of, fill, new_edition
from engage_pipelines.operations import Desk


def plain_copy(desk: Desk, target: Path) -> None:
    """What anybody would write: copy the file, have it on disk, and only then let go of the copy before it.

    Where a machine is lent its memory page by page, a copy into memory that was just let go of takes a tenth of the
    time: then the one who keeps the old copy, as readers need it, would be compared with one who does not.
    """
    aside = target.with_suffix(".new")
    shutil.copyfile(desk.warehouse.path, aside)
    with aside.open("rb+") as copied:
        os.fsync(copied.fileno())
    aside.replace(target)


def in_turns(desk: Desk, rounds: int, first_edition: int) -> dict[str, list[float]]:
    """Both, one after the other, each with an edition of its own; who begins changes from round to round."""
    target = desk.warehouse.folder / "plain.copy"
    both = {"publish": lambda: desk.publish(), "copy": lambda: plain_copy(desk, target)}
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for number in range(rounds):
        new_edition(desk, first_edition + number)
        for name in sorted(both, reverse=bool(number % 2)):
            # What the one before has left to the disk must not be paid by the next one.
            os.sync()
            seconds[name].append(_timed(both[name]))
    target.unlink()
    return seconds


@contextmanager
def readers(desk: Desk, receipts: int, count: int) -> Iterator[list[dict[str, Any]]]:
    """So many readers in processes of their own; the list has what they tell in the end."""
    end = desk.warehouse.folder / "end"
    command = [sys.executable, "-m", "benchmarks.publish_reader", str(desk.warehouse.published_path), str(receipts),
               str(end)]  # fmt: skip
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]  # noqa: S603
    told: list[dict[str, Any]] = []
    try:
        for child in children:
            assert child.stdout is not None  # noqa: S101  asked for above
            child.stdout.readline()
        yield told
    finally:
        end.touch()
        told += [json.loads(child.communicate(timeout=120)[0].splitlines()[-1]) for child in children]
        end.unlink()


def main() -> None:
    """Fill, publish and copy in turns, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("bytes", type=int)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    desk = desk_of(given.folder)
    receipts = fill(desk, given.bytes)
    desk.publish()
    alone = in_turns(desk, given.rounds, 11)
    with readers(desk, receipts, given.readers) as told:
        watched = in_turns(desk, given.rounds, 11 + given.rounds)
    result = {
        "receipts": receipts, "bytes": desk.warehouse.published_path.stat().st_size, "alone": alone,
        "watched": watched, "reads": sum(one["reads"] for one in told), "torn": sum(one["torn"] for one in told),
        "errors": [text for one in told for text in one["errors"]],
        "error_count": sum(sum(one["errors"].values()) for one in told),
    }  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
