"""The work of the nightly job without Dagster: the same calls of the desk, in the same order, in one warm process.

python -m benchmarks.nightly_desk <first day> <last day> [--reread]

The installation is the one that ENGAGE_CONFIG names. Imports are not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

from benchmarks import nightly_network
from engage_pipelines.connector import Destination, Stream
from engage_pipelines.model import CORE_TABLES
from engage_pipelines.operations import Desk
from engage_pipelines.settings import load_settings
from engage_pipelines.warehouse import (
    Selection,
    duplicate_keys,
    incomplete_windows,
    payments_apart,
    receipts_out_of_balance,
)

Days = tuple[date, date]


class Steps:
    """Seconds of each step, and of them those without network."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[float, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is inside and add it to the step of this name."""
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        whole, beyond = self.steps.get(name, (0.0, 0.0))
        self.steps[name] = (whole + seconds, beyond + seconds - nightly_network.busy_seconds(began))


def work(desk: Desk, days: Days, steps: Steps, *, reread: bool) -> None:
    """Pull, load, deliver, publish, check: all that the job has."""
    desk.check()
    _inbound(desk, days, steps, reread=reread)
    for destination in desk.destinations:
        for stream in destination.streams:
            if not stream.history:
                with steps.step(f"deliver {destination.name}/{stream.name}"):
                    desk.deliver(destination, stream, _selection(desk, destination, stream, days, reread=reread))
    with steps.step("publish"):
        desk.publish()
    with steps.step("checks"):
        _check(desk)


def main() -> None:
    """Do the work and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=date.fromisoformat)
    parser.add_argument("last", type=date.fromisoformat)
    parser.add_argument("--reread", action="store_true")
    given = parser.parse_args()
    nightly_network.listen()
    desk, steps = Desk(load_settings()), Steps()
    began = time.monotonic()
    work(desk, (given.first, given.last), steps, reread=given.reread)
    seconds = time.monotonic() - began
    told = {"seconds": seconds, "network": nightly_network.busy_seconds(), "steps": steps.steps}
    sys.stdout.write(json.dumps(told) + "\n")


def _inbound(desk: Desk, days: Days, steps: Steps, *, reread: bool) -> None:
    pairs = [(source, entity) for source in desk.sources for entity in source.entities]
    for source, entity in pairs:
        with steps.step(f"pull {entity.name}"):
            desk.pull(source, entity, days, reread=reread)
    # The present state first: receipts need their stores.
    for source, entity in sorted(pairs, key=lambda pair: pair[1].windowed):
        with steps.step(f"load {entity.name}"):
            desk.load(source, entity, days, reread=reread and entity.windowed)


def _selection(desk: Desk, destination: Destination, stream: Stream, days: Days, *, reread: bool) -> Selection:
    return desk.touched(destination, stream, days, reread=reread) if stream.windowed else Selection()


def _check(desk: Desk) -> None:
    loaded = {table for source in desk.sources for entity in source.entities for table in entity.tables}
    checks: list[Callable[[], object]] = [
        *(lambda table=table: duplicate_keys(desk.warehouse, table) for table in CORE_TABLES if table.name in loaded),
        lambda: receipts_out_of_balance(desk.warehouse),
        lambda: incomplete_windows(desk.warehouse),
        lambda: payments_apart(desk.warehouse),
    ]
    for check in checks:
        check()
    for destination in desk.destinations:
        for stream in destination.streams:
            for state in ("in_doubt", "rejected"):
                desk.queue.keys_in((state,), destination.name, stream.ledger_name)


if __name__ == "__main__":
    main()
