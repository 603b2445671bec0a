"""`engage pull`, `load`, `deliver`, `publish`: the journey, step by step."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from engage_pipelines.cli.output import NEEDS_A_PERSON, bars, console, print_json, print_rows, print_table
from engage_pipelines.connector import Destination, Entity, Stream
from engage_pipelines.errors import ConfigError
from engage_pipelines.ingest import Loaded, Pulled
from engage_pipelines.operations import Desk
from engage_pipelines.settings import load_settings
from engage_pipelines.warehouse import Selection

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; default engage.toml or ENGAGE_CONFIG.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
First = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; default yesterday.")]
Last = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; default the first day.")]

Reread = Annotated[bool, typer.Option("--reread", help="As at night: also the trailing days and any missed night.")]


def pull(
    source: Annotated[str, typer.Argument(help="Till, e.g. square.")],
    entity: Annotated[list[str] | None, typer.Argument(help="What to pull; default everything.")] = None,
    first: First = None,
    last: Last = None,
    *,
    and_load: Annotated[bool, typer.Option("--load", help="Load each window as soon as it is whole.")] = False,
    reread: Reread = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Pull a till's records of some days into the spool; with --load on into the warehouse, while the rest is pulled.

    Examples: `engage pull square` (yesterday), `engage pull square orders --from 2026-10-01 --to 2026-10-14`,
    `engage pull square --from 2024-11-01 --to 2026-10-31 --load`
    """
    with bars(quiet=as_json) as reporter:
        desk = Desk(load_settings(config), reporter)
        till, days = desk.source(source), _days(desk, first, last)
        entities, pulled, loaded = _entities(desk, source, entity), [], []
        desk.check()
        if and_load:
            for each, came, result in desk.pull_and_load(till, entities, days, reread=reread):
                pulled.append(_pulled_row(each, came))
                loaded.append(_loaded_row(each, result))
        else:
            pulled += [_pulled_row(each, desk.pull(till, each, days, reread=reread)) for each in entities]
    if and_load and as_json:
        print_json({"pulled": pulled, "loaded": loaded})
        return
    _show("Pulled", pulled, as_json=as_json)
    _show("Loaded", loaded, as_json=False)


def load(
    source: Annotated[str, typer.Argument(help="Till, e.g. square.")],
    entity: Annotated[list[str] | None, typer.Argument(help="What to load; default everything.")] = None,
    first: First = None,
    last: Last = None,
    *,
    reread: Reread = False,
    anew: Annotated[bool, typer.Option("--anew", help="Shape also what core has in the same version.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Load what was pulled of some days into the warehouse; again changes nothing.

    After an upgrade that shapes a table differently, --anew writes the days once more, from the spool.

    Examples: `engage load square --from 2026-10-01 --to 2026-10-14`,
    `engage load square orders --from 2024-10-01 --to 2026-10-14 --anew`
    """
    with bars(quiet=as_json) as reporter:
        desk = Desk(load_settings(config), reporter)
        rows = []
        for each in _entities(desk, source, entity):
            result = desk.load(desk.source(source), each, _days(desk, first, last), reread=reread, anew=anew)
            rows.append(_loaded_row(each, result))
    _show("Loaded", rows, as_json=as_json)


def deliver(
    destination: Annotated[str, typer.Argument(help="Platform, e.g. aiq.")],
    stream: Annotated[list[str] | None, typer.Argument(help="What to deliver; default all but history files.")] = None,
    first: First = None,
    last: Last = None,
    month: Annotated[str | None, typer.Option(help="For history files: the month, e.g. 2026-09.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Consider all records, not those of some days.")] = False,
    reread: Reread = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    yes_really: Annotated[bool, typer.Option("--yes-really", help="Send even what the guard rails refuse.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Deliver what is new or changed to a platform.

    Examples: `engage deliver aiq`, `engage deliver aiq sales --from 2026-10-01 --to 2026-10-14 --dry-run`,
    `engage deliver voyado receipt_history --month 2026-09`
    """
    if everything and (first or last):
        raise ConfigError("--all considers all records, --from and --to those of some days: say one or the other")
    with bars(quiet=as_json) as reporter:
        desk = Desk(load_settings(config), reporter)
        platform = desk.destination(destination)
        names = stream or [s.name for s in platform.streams if not s.history]
        streams = [desk.stream(platform, name) for name in names]
        if not dry_run:
            desk.settings.secrets(platform.secrets)
        rows = []
        for declared in streams:
            days = None if everything else _days(desk, first, last)
            selection = _selection(desk, platform, declared, days, month, reread=reread)
            if dry_run:
                rows.append(asdict(desk.preview(platform, declared, selection)))
            else:
                rows.append(asdict(desk.deliver(platform, declared, selection, yes_really=yes_really)))
    _show_previews(rows, as_json=as_json) if dry_run else _show("Delivered", rows, as_json=as_json)
    if any(row["in_doubt"] for row in rows):
        raise typer.Exit(NEEDS_A_PERSON)


def publish(*, config: Config = None, as_json: Json = False) -> None:
    """Publish the warehouse: analysts' next connection sees it, open ones keep what they have.

    Example: `engage publish`
    """
    desk = Desk(load_settings(config))
    result = asdict(desk.publish())
    if as_json:
        print_json({"file": desk.warehouse.published_path, **result})
    else:
        print_table(f"Published {desk.warehouse.published_path}", ["table", "rows"], list(result["rows"].items()))


def _entities(desk: Desk, source: str, names: list[str] | None) -> list[Any]:
    till = desk.source(source)
    return [desk.entity(till, name) for name in names] if names else list(till.entities)


def _pulled_row(entity: Entity, pulled: Pulled) -> dict[str, Any]:
    return {"entity": entity.name, **asdict(pulled)}


def _loaded_row(entity: Entity, loaded: Loaded) -> dict[str, Any]:
    return {"entity": entity.name, **asdict(loaded), "unknown_fields": sorted(loaded.unknown_fields)}


def _days(desk: Desk, first: datetime | None, last: datetime | None) -> tuple[date, date]:
    begin = first.date() if first else desk.settings.day_of(desk.now()) - timedelta(days=1)
    end = last.date() if last else begin
    if end < begin:
        raise ConfigError(f"--to {end} is before --from {begin}")
    if begin > (today := desk.settings.day_of(desk.now())):
        raise ConfigError(f"--from {begin} is in the future: today is {today}")
    return begin, end


def _selection(
    desk: Desk,
    platform: Destination,
    stream: Stream,
    days: tuple[date, date] | None,
    month: str | None,
    *,
    reread: bool,
) -> Selection:
    go_live_on = desk.go_live_on(platform)
    if stream.history:
        if month is None or go_live_on is None:
            raise ConfigError(f"{platform.name} {stream.name}: name the month, e.g. --month 2026-09")
        try:
            begin = datetime.strptime(month + "-01+0000", "%Y-%m-%d%z").date()
        except ValueError:
            raise ConfigError(f"--month {month!r}: write it as YYYY-MM") from None
        return Selection(business=(begin, min((begin + timedelta(days=31)).replace(day=1), go_live_on)))
    if month is not None:
        raise ConfigError(f"{platform.name} {stream.name} goes by --from and --to: --month is for history files")
    return Selection() if days is None else desk.touched(platform, stream, days, reread=reread)


def _show_previews(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Counts in one table; the first payloads and what a run would stop at below it."""
    if as_json:
        print_json(rows)
        return
    apart = ("first", "warnings")
    _show("Would deliver", [{k: v for k, v in row.items() if k not in apart} for row in rows], as_json=False)
    for row in rows:
        if row["first"]:
            payloads = [(key, json.dumps(payload, ensure_ascii=False)) for key, payload in row["first"].items()]
            print_table(f"First of {row['flow']}", ["record_key", "payload (masked)"], payloads)
        for warning in row["warnings"]:
            console.print(f"{row['flow']}: a run would stop: {warning} (then --yes-really)", style="yellow")


def _show(title: str, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(title, rows)
