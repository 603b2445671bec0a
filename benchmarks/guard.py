"""Has the product become slower, hungrier or chattier? Ratios within one run, never seconds; under a minute.

The product's processor time is divided by that of a bare script for the same work, on the same machine, in the same
run; memory by its own with a quarter of the orders; calls are counted. Imports are left out, and of several rounds the
cheapest counts, so that other work on the machine hardly shows.

Ends with 1 and says what is above its bound. A bound is one and a half times the worst of five runs: what makes the
product faster may lower it (`--runs 5` tells the worst), and nothing raises it without a reason in the commit.

    python -m benchmarks.guard [--runs 5]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import DELIVERERS, OURS, PULLERS, DeliverTask, Puller, PullTask
from benchmarks.contents import completeness
from benchmarks.orders import days_of, make_orders
from benchmarks.processes import HOME, ContenderError, Measured, report_of, run, stand_in

PRODUCT = "engage_pipelines"
Figures = dict[str, float]
_ORDERS, _PRODUCTS, _BATCH = 10_000, 10_000, 100
_TIMES_AS_MANY = 4
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a figure may be, and what it says."""

    most: float
    meaning: str


BOUNDS = {
    "pull": Bound(4.75, f"processor for {_ORDERS:,} orders pulled and loaded, against the bare script"),
    "deliver": Bound(10, f"processor for {_PRODUCTS:,} rows delivered, {_BATCH} a call, against a bare loop"),
    "memory": Bound(1.4, f"most memory of a pull of {_ORDERS * _TIMES_AS_MANY:,} orders, against {_ORDERS:,}"),
    "calls": Bound(0, "calls of a delivery beyond the fewest possible and one for the token"),
    "again": Bound(0, "calls of a second delivery when nothing has changed"),
}


def measure(data: Path) -> Figures:
    """All figures, from files made under `data`.

    Raises:
        ContenderError: something did not end, or did not do the whole work.
    """
    few = pulls(data, PULLERS[PRODUCT])
    many = pulls(data, PULLERS[PRODUCT], rounds=2, times=_TIMES_AS_MANY)
    memory = min(each.peak_bytes for each in many) / min(each.peak_bytes for each in few)
    return {"pull": against_bare(data, few), "memory": memory, **_deliver_figures(data)}


def pulls(data: Path, puller: Puller, rounds: int = _ROUNDS, times: int = 1) -> list[Measured]:
    """The same pull some rounds, of the usual number of orders or of so many times as many."""
    return [_pull(data, puller, _ORDERS * times) for _ in range(rounds)]


def against_bare(data: Path, pulled: list[Measured]) -> float:
    """Processor time of the cheapest of these pulls, in terms of the bare script's, run as often now."""
    return _cheapest(pulled) / _cheapest(pulls(data, PULLERS["bare script"], len(pulled)))


def _deliver_figures(data: Path) -> Figures:
    sent = [_deliver(data) for _ in range(_ROUNDS)]
    loops = [_deliver_bare(data) for _ in range(_ROUNDS)]
    return {
        "deliver": min(each.result["first"]["cpu"] for each, _ in sent) / _cheapest(loops),
        "calls": max(calls for _, calls in sent) - (_PRODUCTS // _BATCH + 1),
        "again": max(each.result["second"]["calls"] for each, _ in sent),
    }


def above(figures: Figures) -> list[str]:
    """Those of them that are above their bounds; what is no number is."""
    return [name for name, figure in figures.items() if not figure <= BOUNDS[name].most]


def _pull(data: Path, puller: Puller, count: int) -> Measured:
    with _fresh(data) as folder, stand_in(OURS, orders=(orders := make_orders(data / "orders", count))) as url:
        # The peers' environment is not needed: what the bare script imports, the product has.
        _, *rest = puller.command(PullTask(url, *days_of(count), folder))
        measured = run([OURS, *rest], folder=folder)
        found = completeness(puller.kind, folder / puller.database, orders / "truth.json")
    if not found["is_complete"]:
        raise ContenderError(f"{puller.kind}: not every order landed: {found}")
    return measured


def _deliver(data: Path) -> tuple[Measured, int]:
    """The product's delivery, twice, and the calls of both."""
    with _fresh(data) as folder, stand_in(OURS) as url:
        measured = run(DELIVERERS[PRODUCT](DeliverTask(url, _PRODUCTS, _BATCH, folder)), folder=folder)
        report = report_of(url)
    if report["held"] != _PRODUCTS:
        raise ContenderError(f"{report['held']:,} of {_PRODUCTS:,} rows were delivered")
    return measured, report["calls"]


def _deliver_bare(data: Path) -> Measured:
    with _fresh(data) as folder, stand_in(OURS) as url:
        command = [OURS, "-m", "benchmarks.deliver_bare", url, str(folder), str(_PRODUCTS), "--batch", str(_BATCH)]
        return run(command, folder=folder)


@contextmanager
def _fresh(data: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=data) as folder:
        yield Path(folder)


def _cheapest(rounds: list[Measured]) -> float:
    return float(min(each.result["cpu"] for each in rounds))


def told(figures: Figures) -> str:
    """The figures beside their bounds."""
    lines = [
        f"{'ABOVE' if name in above(figures) else 'ok':6}{figures[name]:6.2f}  at most {bound.most:g}: {bound.meaning}"
        for name, bound in BOUNDS.items()
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure and judge; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1, help="measure so often and judge the worst: for setting bounds")
    given = parser.parse_args(arguments)
    (HOME / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="guard-", dir=HOME / "data") as data:
        runs = [measure(Path(data)) for _ in range(given.runs)]
    worst = {name: max(figures[name] for figures in runs) for name in BOUNDS}
    for figures in runs if given.runs > 1 else []:
        sys.stderr.write(", ".join(f"{name} {figure:.2f}" for name, figure in figures.items()) + "\n")
    sys.stdout.write(told(worst))
    return 1 if above(worst) else 0


if __name__ == "__main__":
    raise SystemExit(main())
