"""`engage check`: is this installation set up?"""

from __future__ import annotations

from typing import Any

import typer

from engage_pipelines.cli.moving import Config, Json
from engage_pipelines.cli.output import console, exit_code, print_json, print_table
from engage_pipelines.operations import Desk
from engage_pipelines.settings import load_settings


def check(*, config: Config = None, as_json: Json = False) -> None:
    """Check settings and keys, and say what is in use; asks no vendor, opens no warehouse.

    Exit code 3: something is missing or wrong. Everything is told at once.

    Examples: `engage check`, `engage check --config /etc/engage/engage.toml --json`
    """
    desk = Desk(load_settings(config))
    problems, found = desk.problems(), _in_use(desk)
    if as_json:
        told = [{"error": type(problem).__name__, "message": str(problem)} for problem in problems]
        print_json({**found, "problems": told})
    else:
        _print(desk, found)
        for problem in problems:
            console.print(f"{type(problem).__name__}: {problem}", style="bold red", markup=False, highlight=False)
        if not problems:
            console.print("Settings and keys are complete.")
    if problems:
        raise typer.Exit(exit_code(problems[0]))


def _in_use(desk: Desk) -> dict[str, Any]:
    return {
        "settings": str(desk.settings.file),
        "data": str(desk.settings.data),
        "sources": {source.name: [entity.name for entity in source.entities] for source in desk.sources},
        "destinations": {each.name: [stream.name for stream in each.streams] for each in desk.destinations},
    }


def _print(desk: Desk, found: dict[str, Any]) -> None:
    rows = [("till", name, ", ".join(names)) for name, names in found["sources"].items()]
    rows += [("platform", name, ", ".join(names)) for name, names in found["destinations"].items()]
    print_table(f"{desk.settings.file}", ["", "name", "what"], rows)
    console.print(f"Data: {desk.settings.data}", highlight=False, markup=False)
