"""All contenders side by side, on this machine, on the same data, against the same stand-in.

Each measure is run so many rounds, contender after contender, with fresh files; the median round is the one that
is told. Results go to `benchmarks/results/latest.{json,md}`, `chart.svg` and the README's table; a measure that is not
run keeps what it had. Quick results say nothing of speed and go to `data/bench-quick`.

Ends with 0 if everything ran, whether targets were met or not; with 1 if a contender failed or something was missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.contenders import versions
from benchmarks.measures import (
    Measure,
    as_installed,
    backfill,
    deliver,
    faults,
    growth,
    history,
    increment,
    limit,
    nightly,
    publish,
    pull,
    stores,
)
from benchmarks.plan import Plan, Row
from benchmarks.processes import HOME
from benchmarks.rounds import is_sound, say

# In the order of the page.
MEASURES: dict[str, Measure] = {
    "pull": pull,
    "as-installed": as_installed,
    "limit": limit,
    "increment": increment,
    "stores": stores,
    "growth": growth,
    "deliver": deliver,
    "faults": faults,
    "history": history,
    "nightly": nightly,
    "backfill": backfill,
    "publish": publish,
}
_EXAMPLES = """
examples:
  python -m benchmarks --quick              does everything work? small sizes, one round, a few minutes
  python -m benchmarks                      everything at its normal size
  python -m benchmarks --large              with the largest sizes too: some three hours
  python -m benchmarks --large --large-rounds 1    the largest sizes once each: two hours
  python -m benchmarks --only pull limit    these two; the other results stay
  python -m benchmarks --as-installed       with dlt as it is installed too: needs some 10 GB of memory
  python -m benchmarks --page               measures nothing; makes page, chart and README's table anew
"""
_RESULTS = HOME / "benchmarks" / "results"
_QUICK_RESULTS = HOME / "data" / "bench-quick"


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for and write the results; gives the exit code."""
    given = _parser().parse_args(arguments)
    if given.list:
        sys.stdout.write("".join(f"{name:14} {_about(name)}\n" for name in MEASURES))
        return 0
    folder: Path = given.results or (_QUICK_RESULTS if given.quick else _RESULTS)
    is_all_sound = given.page or _measure_all(given, folder)
    if folder.resolve() == _RESULTS and not given.quick:
        report.write_readme(HOME / "README.md", folder, MEASURES)
    report.write_page(folder, MEASURES)
    sys.stdout.write((folder / "latest.md").read_text(encoding="utf-8"))
    say(f"\nWritten: {folder}")
    return 0 if is_all_sound else 1


def _measure_all(given: argparse.Namespace, folder: Path) -> bool:
    """Measure one after the other, writing after each; whether all was sound."""
    given.data.mkdir(parents=True, exist_ok=True)
    installed, is_sound_so_far = versions(), True
    # A folder of its own inside, so that nothing but what is made here is removed.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data.resolve()) as data:
        plan = _plan(given, Path(data))
        for name in given.only or MEASURES:
            say(f"{name}: {_about(name)}")
            rows = _rows(name, plan)
            if not rows:
                say("  on request only")
                continue
            report.keep(folder, name, rows, installed, plan)
            is_sound_so_far &= all(map(is_sound, rows))
            for folder_made in set(plan.data.iterdir()) - {plan.data / "orders"}:
                shutil.rmtree(folder_made, ignore_errors=True)
    return is_sound_so_far


def _rows(name: str, plan: Plan) -> list[Row]:
    """The rows of a measure; what it had when it broke off, and why, where it did."""
    rows: list[Row] = []
    try:
        rows.extend(MEASURES[name].rows(plan))
    except Exception as error:  # noqa: BLE001  whatever is wrong with one measure, the others are measured
        say(traceback.format_exc())
        rows.append({"measure": name, "contender": name, "failure": f"{type(error).__name__}: {error}"[-400:]})
    return rows


def _plan(given: argparse.Namespace, data: Path) -> Plan:
    return Plan(
        rounds=1 if given.quick else given.rounds, data=data, is_quick=given.quick, is_large=given.large,
        large_rounds=given.large_rounds or given.rounds,
        as_installed=given.as_installed or "as-installed" in (given.only or []),
    )  # fmt: skip


def _about(name: str) -> str:
    """The first line of the measure's own words."""
    module: Any = MEASURES[name]
    return str(module.__doc__).strip().splitlines()[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does everything work?")
    parser.add_argument("--large", action="store_true", help="the largest sizes too")
    parser.add_argument("--as-installed", action="store_true", help="also dlt without any tuning")
    parser.add_argument("--rounds", type=_positive, default=3, help="rounds of each contender (3)")
    parser.add_argument(
        "--large-rounds", type=_positive, help="rounds of the largest sizes, each of them several minutes (as --rounds)"
    )
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="MEASURE", help="only these, see --list")
    parser.add_argument("--list", action="store_true", help="say what is measured, and end")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page anew")
    parser.add_argument("--data", type=Path, default=HOME / "data", help="where everything is made and removed (data)")
    parser.add_argument(
        "--results", type=Path, help="where results go (benchmarks/results; with --quick: data/bench-quick)"
    )
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
