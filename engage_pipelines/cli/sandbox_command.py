"""`engage sandbox` and `engage dev`: the stand-ins alone, or with the Dagster UI on what the demo left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from engage_pipelines.cli.demo_world import Shop, made_up, online_retail, prepare_instance, running_world
from engage_pipelines.cli.output import bars, console, print_json
from engage_pipelines.settings import child_environment

Data = Annotated[Path, typer.Option(help="Folder that everything is written to.")]
Receipts = Annotated[int, typer.Option(min=50, help="Receipts of the made-up shop.")]
ShopFile = Annotated[Path | None, typer.Option(help="Parquet file of a real shop; default what the demo left.")]


def sandbox(
    shop: ShopFile = None,
    receipts: Receipts = 20_000,
    data: Data = Path("data"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print address and settings file as JSON on stdout.")] = False,
) -> None:
    """Run the stand-ins for Square, AIQ, CRM.COM and Voyado until Ctrl-C.

    Example: `engage sandbox`, then look at the address it prints with `/_sandbox/` behind it.
    """
    with bars() as reporter:
        listen = reporter("fill the shop")
        with running_world(data.absolute(), left_shop(data, shop, receipts), on_filling=listen) as world:
            if as_json:
                print_json({"url": world.url, "config": world.config})
            console.print(f"Stand-ins: {world.url}/_sandbox/   settings: {world.config}", highlight=False)
            console.print("Ctrl-C ends them.")
            signal.pause()


def dev(
    shop: ShopFile = None,
    receipts: Receipts = 20_000,
    data: Data = Path("data"),
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
) -> None:
    """Run the stand-ins and the Dagster UI on the instance that the demo used.

    Example: `engage dev --port 3001`
    """
    with bars() as reporter:
        listen = reporter("fill the shop")
        with running_world(data.absolute(), left_shop(data, shop, receipts), on_filling=listen) as world:
            prepare_instance(data.absolute(), Path.cwd())
            console.print(f"Dagster UI: http://127.0.0.1:{port}   stand-ins: {world.url}/_sandbox/", highlight=False)
            command = [
                sys.executable,
                "-m",
                "dagster",
                "dev",
                "-w",
                "workspace.yaml",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
            ]
            _serve_until_stopped(command)


def _serve_until_stopped(command: list[str]) -> None:
    """Run a server in a process group of its own, and end the whole group with this process."""
    child = subprocess.Popen(command, env=child_environment(), start_new_session=True)  # noqa: S603 - our own arguments
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        child.wait()
    except KeyboardInterrupt:
        console.print("stopping", style="yellow")
    finally:
        for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, ending)
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=10)
                break


def left_shop(data: Path, shop: Path | None, receipts: int) -> Shop:
    """The shop that was asked for, else the one that the demo left behind."""
    left = data / "demo" / "shop"
    if shop is None and left.exists():
        kind, _, count = left.read_text().partition(" ")
        if kind == "online-retail":
            # Its till is filled already: the file is not read again.
            return online_retail(Path(__file__))
        return made_up(int(count or receipts))
    return online_retail(shop) if shop else made_up(receipts)
