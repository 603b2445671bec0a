"""`engage demo`: the whole loop on loopback, through Dagster, with proof at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage_pipelines.cli.demo_summary import print_summary, summarise
from engage_pipelines.cli.demo_world import Shop, World, made_up, online_retail, prepare_instance, running_world
from engage_pipelines.cli.output import NEEDS_A_PERSON, Bars, as_json, bars, console, print_json
from engage_pipelines.connector import Stream
from engage_pipelines.operations import Desk
from engage_pipelines.settings import load_settings

if TYPE_CHECKING:
    from engage_pipelines.orchestration.runs import AssetPath, InProcess

_DEFAULT_RECEIPTS = 20_000


def demo(
    shop: Annotated[
        Path | None, typer.Option(help="Parquet file of a real shop's invoice lines; default the made-up shop.")
    ] = None,
    receipts: Annotated[int, typer.Option(min=50, help="Receipts of the made-up shop.")] = _DEFAULT_RECEIPTS,
    data: Annotated[Path, typer.Option(help="Folder that everything is written to.")] = Path("data"),
    *,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """Run the whole loop on stand-ins: pull, load, migrate, deliver, publish, prove.

    Examples: `engage demo`, `engage demo --receipts 2000`, `engage demo --shop online_retail.parquet`
    """
    chosen = online_retail(shop) if shop else made_up(receipts)
    data = data.absolute()
    with (
        bars(quiet=json_output) as reporter,
        running_world(data, chosen, on_filling=reporter("fill the shop")) as world,
    ):
        prepare_instance(data, Path.cwd())
        summary = _run(world, chosen, reporter)
    (world.folder / "summary.json").write_text(as_json(summary))
    if json_output:
        print_json(summary)
    else:
        print_summary(summary, Desk(load_settings(world.config)).warehouse.published_path, world.config)
    if not summary["reconciled"] or summary["in_doubt"]:
        console.print("The books do not balance; see the lines above and `engage status`.", style="bold red")
        raise typer.Exit(NEEDS_A_PERSON)


@dataclass(slots=True)
class _Loop:
    """One pass of the loop through Dagster, collecting what the assets say."""

    desk: Desk
    shop: Shop
    world: World
    reporter: Bars
    pulls: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> None:
        """Pull and load all days; migrate month by month; deliver live; publish."""
        opening = self.reporter("open Dagster")
        opening(0, 1)
        # Importing Dagster takes longer than most commands run; only this one pays for it.
        from engage_pipelines.definitions import build_defs
        from engage_pipelines.orchestration.runs import in_process

        days = (self.shop.history_from, self.shop.last_day)
        inbound, stores, outbound = _stages(self.desk)
        with in_process(build_defs(desk=self.desk)) as runner:
            opening(1, 1)
            self.pulls = runner.run_days("nightly", days, inbound)
            runner.run_days("nightly", days, stores)
            self._migrate(runner)
            # The vendor imports files by the hour; live receipts of people it does not know yet would be lost.
            self.world.tell("voyado/import")
            runner.run_days("nightly", days, outbound)

    def _migrate(self, runner: InProcess) -> None:
        histories = [(d.name, s.name) for d in self.desk.destinations for s in d.streams if s.history]
        months = runner.partition_keys(histories[0])
        listen = self.reporter("migration (months)")
        for number, month in enumerate(months, start=1):
            runner.run_partition("history", month)
            listen(number, len(months))


def _stages(desk: Desk) -> tuple[list[AssetPath], list[AssetPath], list[AssetPath]]:
    inbound: list[AssetPath] = [("raw", f"{s.name}__{e.name}") for s in desk.sources for e in s.entities]
    inbound += [("core", t) for t in dict.fromkeys(t for s in desk.sources for e in s.entities for t in e.tables)]
    inbound.append(("ops", "published"))
    live = [(d, s) for d in desk.destinations for s in d.streams if not s.history]
    stores: list[AssetPath] = [(d.name, s.name) for d, s in live if _goes_first(s)]
    outbound: list[AssetPath] = [(d.name, s.name) for d, s in live if not _goes_first(s)]
    return inbound, stores, [*outbound, ("ops", "deliveries")]


def _goes_first(stream: Stream) -> bool:
    return stream.selects == "stores"


def _run(world: World, shop: Shop, reporter: Bars) -> dict[str, Any]:
    began, now = time.monotonic(), datetime.now(UTC)
    desk = Desk(load_settings(world.config), reporter)
    loop = _Loop(desk, shop, world, reporter)
    loop.run()
    return summarise(desk, world, loop.pulls, since=now, seconds=time.monotonic() - began)
