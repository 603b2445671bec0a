"""The command line of the campaign: `python -m engage_pipelines_tests.chaos --seed N --minutes M`."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from engage_pipelines_tests.chaos.children import nursery
from engage_pipelines_tests.chaos.course import Course, Extent
from engage_pipelines_tests.chaos.mutations import MUTATIONS
from engage_pipelines_tests.chaos.report import Report
from engage_pipelines_tests.chaos.shop import fill_shop
from engage_pipelines_tests.chaos.world import running_world

console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)
_NOT_SOUND = 1
_NOT_OF_THE_COURSE = frozenset({"seed", "data", "json"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; gives 0 only if nothing was found."""
    asked = _arguments().parse_args(arguments)
    report = Report(asked.seed, asked.minutes, asked.mutation, _again(asked))
    file = asked.data / "report.json"
    began = time.monotonic()
    console.print(f"Campaign with seed {asked.seed}, {asked.minutes:g} minutes of disturbance, in {asked.data}")
    try:
        _run(asked, report)
    finally:
        report.seconds = time.monotonic() - began
        asked.data.mkdir(parents=True, exist_ok=True)
        report.write(file)
    report.show(console, file)
    if asked.json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.is_sound else _NOT_SOUND


def _run(asked: argparse.Namespace, report: Report) -> None:
    folder = asked.data.absolute() / "world"
    # A world that another campaign has left would not be the seed's.
    shutil.rmtree(folder, ignore_errors=True)
    fill_shop(
        folder / "sandbox" / "square", asked.seed, receipts=asked.receipts, customers=asked.customers, stock=asked.stock
    )
    extent = Extent(
        asked.minutes * 60.0, tuple(asked.only or ("aiq", "crmcom", "voyado")), is_straight=asked.straight
    )  # fmt: skip
    with running_world(folder, extent.destinations) as world, nursery(folder / "children", {}) as children:
        Course(random.Random(asked.seed), world, children, report, extent, console.print).run()


def _again(asked: argparse.Namespace) -> str:
    """The command that runs the same campaign again; only kills at random moments fall a little differently."""
    parser, words = _arguments(), ["python -m engage_pipelines_tests.chaos", f"--seed {asked.seed}"]
    special = {n: v for n, v in vars(asked).items() if v != parser.get_default(n) and n not in _NOT_OF_THE_COURSE}
    if not special.keys() - {"minutes"}:
        return f"make chaos SEED={asked.seed} MINUTES={asked.minutes:g}"
    for name, value in special.items():
        flag = f"--{name.replace('_', '-')}"
        words += (
            [flag] if value is True else [f"{flag} {one}" for one in (value if isinstance(value, list) else [value])]
        )
    return " ".join(words)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engage_pipelines_tests.chaos",
        description="Pulls, loads, deliveries and publishes under random faults, killed at random; then every row is "
        "compared. Exit code 0 only if nothing is lost, doubled or wrong.",
    )
    add = parser.add_argument
    add("--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="start of all chance")
    add("--minutes", type=float, default=5.0, help="how long to disturb (default %(default)s); settling comes on top")
    add("--receipts", type=int, default=4_000, help="receipts at the till (default %(default)s)")
    add("--customers", type=int, default=400, help="customers of the till (default %(default)s)")
    add("--stock", type=int, default=1_000, help="stock counts at most (default %(default)s)")
    add("--data", type=Path, default=Path("data/chaos"), help="folder for everything (default %(default)s)")
    add("--only", action="append", choices=("aiq", "crmcom", "voyado"), help="only this platform (may be repeated)")
    add("--mutation", choices=sorted(MUTATIONS), help="a deliberate bug in the product: the campaign must find it")
    add("--straight", action="store_true", help="no random course: one kill in each gap between the three steps")
    add("--json", action="store_true", help="print the report as JSON on stdout")
    return parser


if __name__ == "__main__":
    sys.exit(main())
