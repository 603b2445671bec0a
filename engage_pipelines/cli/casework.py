"""`engage rejected`, `engage resolve` and `engage diverged`: the records that wait for a person."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from engage_pipelines.cli.moving import Config, Json
from engage_pipelines.cli.output import NEEDS_A_PERSON, bars, console, plain, print_json, print_table
from engage_pipelines.connector import Destination, Stream
from engage_pipelines.errors import ConfigError
from engage_pipelines.operations import Case, Desk
from engage_pipelines.operations import casework as work
from engage_pipelines.operations.divergence import Diverged, find_diverged
from engage_pipelines.operations.payloads import Difference
from engage_pipelines.settings import load_settings

Somewhere = Annotated[str | None, typer.Argument(help="Platform, e.g. aiq; default all.")]
SomeStream = Annotated[str | None, typer.Argument(help="Stream, e.g. sales; default all of the platform.")]
Platform = Annotated[str, typer.Argument(metavar="DESTINATION", help="Platform, e.g. aiq.")]
StreamName = Annotated[str, typer.Argument(metavar="STREAM", help="Stream, e.g. sales.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="Our key of the record, e.g. square:O40.")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Our keys of the records.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]
Code = Annotated[str | None, typer.Option("--code", help="Only those with this code of the platform.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Show this many; default 50 in tables, all with --json.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show what identifies a person, too.")]
Because = Annotated[str, typer.Option("--because", help="Why; it stays with the records. Name nobody.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="path=value; no value takes the field out. Repeatable.")]
Payload = Annotated[str | None, typer.Option("--payload", help="File with the whole payload as JSON; - is stdin.")]
Discarded = Annotated[bool, typer.Option("--discarded", help="Those that a person has put aside, instead.")]
Sent = Annotated[bool | None, typer.Option("--sent/--not-sent", help="They are there, or they are not.")]

_ROWS = 50
# Characters of a payload in a table.
_SHORT = 160

rejected = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The records that were refused: list, show, fix, replay, discard.\n\n"
    "Examples: `engage rejected list`, `engage rejected show aiq sales square:O40`",
)
diverged = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The records that changed after a platform took them for good.\n\nExample: `engage diverged list voyado`",
)


@rejected.command("list")
def list_rejected(
    destination: Somewhere = None,
    stream: SomeStream = None,
    code: Code = None,
    limit: Limit = None,
    *,
    discarded: Discarded = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List the records that were refused, oldest first; what identifies a person is masked.

    Examples: `engage rejected list`, `engage rejected list aiq sales --code 400`, `engage rejected list --discarded`
    """
    state = "discarded" if discarded else "rejected"
    cases = work.find_cases(Desk(load_settings(config)), state, destination, stream, vendor_code=code)
    way_out = "`engage rejected show|fix|replay|discard DESTINATION STREAM KEY`"
    _show_cases(state.capitalize(), cases, limit, way_out, as_json=as_json)


@rejected.command()
def show(
    destination: Platform,
    stream: StreamName,
    key: Key,
    *,
    reveal: Reveal = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show one record that was refused or is in doubt: its story on stderr, its whole payload on stdout.

    Examples: `engage rejected show aiq sales square:O40`,
    `engage rejected show aiq sales square:O40 --reveal > payload.json`
    """
    desk = Desk(load_settings(config))
    case = work.find_case(desk, *_stream(desk, destination, stream), key, reveal=reveal)
    if as_json:
        print_json(case.values())
        return
    facts = {name: value for name, value in case.values().items() if name != "payload" and value is not None}
    print_table(f"{destination}/{stream} {key}", ["", "value"], [(n, str(v)) for n, v in facts.items()])
    if case.payload is None:
        console.print("Its payload is not kept: a rule of ours or an older release refused it.")
        return
    # Byte by byte as it was sent, but for white space: this is what `fix --payload` takes.
    text = case.text or json.dumps(case.payload, ensure_ascii=False)
    plain.file.write(msgspec.json.format(text, indent=2) + "\n")


@rejected.command()
def fix(
    destination: Platform,
    stream: StreamName,
    key: Key,
    changes: Set = None,
    payload: Payload = None,
    *,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put a corrected payload in the place of a refused one; it goes out with the next run or `replay`.

    It holds as long as the till's record stays as it is: a change there is shaped and sent without it.

    Examples: `engage rejected fix voyado receipts square:O40 --set storeExternalId=Soho`,
    `engage rejected fix aiq sales square:O40 --payload payload.json`
    """
    if payload is not None and changes:
        raise ConfigError("--set and --payload: give one of them")
    desk = Desk(load_settings(config))
    fixed = work.fix(desk, *_stream(desk, destination, stream), key, changes or (), _read(payload))
    if as_json:
        print_json({"destination": destination, "stream": stream, "record_key": key, "payload": fixed})
        return
    console.print(f"{destination}/{stream} {key}: goes out with the next run as", highlight=False)
    plain.file.write(json.dumps(fixed, ensure_ascii=False, indent=2) + "\n")
    console.print(f"At once: engage rejected replay {destination} {stream} {key}", highlight=False)


@rejected.command()
def replay(
    destination: Platform,
    stream: StreamName,
    keys: Keys = None,
    code: Code = None,
    *,
    everything: Everything = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send refused records again, as they are now, on the same path as every night.

    Named ones are taken also if they were put aside, or put right and not sent yet. Exit code 1: some are refused
    again, or in doubt.

    Examples: `engage rejected replay aiq sales square:O40`, `engage rejected replay aiq sales --all`
    """
    _check_choice(keys, everything=everything or code is not None, other=" or --code")
    with bars(quiet=as_json) as reporter:
        desk = Desk(load_settings(config), reporter)
        done = work.replay(desk, *_stream(desk, destination, stream), keys, vendor_code=code)
    if as_json:
        print_json(asdict(done))
    else:
        rows = [asdict(run) for run in done.runs]
        if rows:
            print_table("Sent again", list(rows[0]), [list(row.values()) for row in rows])
        console.print(f"{_records(done.records)}, {done.refused:,} refused again.", highlight=False)
    if done.refused or any(run.in_doubt for run in done.runs):
        raise typer.Exit(NEEDS_A_PERSON)


@rejected.command()
def discard(
    destination: Platform,
    stream: StreamName,
    keys: Keys = None,
    code: Code = None,
    *,
    because: Because,
    everything: Everything = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put refused records aside, as they are now; one that changes at the till is tried again.

    Examples: `engage rejected discard aiq sales square:O40 --because "sale of a test till"`,
    `engage rejected discard crmcom products --code DUPLICATE --because "old catalogue"`
    """
    _check_choice(keys, everything=everything or code is not None, other=" or --code")
    desk = Desk(load_settings(config))
    count = work.discard(desk, *_stream(desk, destination, stream), keys, because, vendor_code=code)
    _done(count, "put aside; `engage rejected list --discarded` lists them", as_json=as_json)


def resolve(
    destination: Somewhere = None,
    stream: SomeStream = None,
    keys: Keys = None,
    sent: Sent = None,
    *,
    everything: Everything = False,
    limit: Limit = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Settle records in doubt after a look at the platform; without --sent or --not-sent, list them.

    What is there (--sent) counts as delivered as it was sent; what is not (--not-sent) goes out with the next run.

    Examples: `engage resolve`, `engage resolve voyado receipts square:O40 --sent`,
    `engage resolve aiq sales --all --not-sent`
    """
    desk = Desk(load_settings(config))
    if sent is None:
        if everything or keys:
            raise ConfigError("say --sent (they are there) or --not-sent (they are not)")
        cases = work.find_cases(desk, "in_doubt", destination, stream)
        way_out = "`engage resolve DESTINATION STREAM KEY --sent|--not-sent`"
        _show_cases("In doubt", cases, limit, way_out, as_json=as_json)
        return
    if destination is None or stream is None:
        raise ConfigError("name destination and stream, e.g. engage resolve voyado receipts square:O40 --sent")
    _check_choice(keys, everything=everything)
    count = work.resolve(desk, *_stream(desk, destination, stream), keys, sent=sent)
    _done(count, "there, as they were sent" if sent else "not there; they go out with the next run", as_json=as_json)


@diverged.command("list")
def list_diverged(
    destination: Somewhere = None,
    stream: SomeStream = None,
    limit: Limit = None,
    *,
    reveal: Reveal = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List the records that changed after a platform took them for good: what it holds, and what they are now.

    Examples: `engage diverged list`, `engage diverged list voyado receipts --json`
    """
    found = find_diverged(Desk(load_settings(config)), destination, stream, reveal=reveal)
    if as_json:
        print_json([each.values() for each in found[:limit]])
        return
    shown = found[: limit or _ROWS]
    if shown:
        columns = ["record", "what happened", "delivered, noticed", "held -> now"]
        print_table("Diverged", columns, [_diverged_row(each) for each in shown])
    _count(len(shown), len(found), "Both versions whole: --json")


def _diverged_row(d: Diverged) -> tuple[str, ...]:
    times = f"{_moment(d.delivered_at)}\n{_moment(d.noticed_at)}"
    return f"{d.destination}/{d.stream}\n{d.record_key}", d.reason or "", times, _apart(d)


def _apart(record: Diverged) -> str:
    if record.held is None:
        return "what it holds is not kept here"
    if record.now is None:
        return "would not be sent today"
    return "\n".join(_difference(each) for each in record.differences) or "the same payload"


def _difference(each: Difference) -> str:
    return f"{each.path}: {_short(each.held)} -> {_short(each.now)}"


def _show_cases(title: str, cases: Sequence[Case], limit: int | None, way_out: str, *, as_json: bool) -> None:
    if as_json:
        print_json([case.values() for case in cases[:limit]])
        return
    shown = cases[: limit or _ROWS]
    if shown:
        columns = ["record", "reason and code", "attempts, first, last", "payload (masked)"]
        print_table(title, columns, [_row(case) for case in shown])
    _count(len(shown), len(cases), way_out)


def _row(case: Case) -> tuple[str, ...]:
    r = case.record
    attempts = [str(r.attempt_count), _moment(r.first_attempt_at), _moment(r.last_attempt_at or r.settled_at)]
    why = "\n".join(filter(None, (r.reason, r.vendor_code)))
    return f"{r.destination}/{r.stream}\n{r.record_key}", why, "\n".join(attempts), _short(case.payload)


def _count(shown: int, records: int, way_out: str) -> None:
    text = _records(records) if shown == records else f"{shown:,} of {_records(records)} shown; --limit for more"
    console.print(f"{text}. {way_out}" if records else "Nothing waits.", highlight=False, markup=False)


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _short(value: Any) -> str:
    text = (
        "-"
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, default=str, ensure_ascii=False)
    )
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _moment(value: Any) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def _stream(desk: Desk, destination: str, stream: str) -> tuple[Destination, Stream]:
    platform = desk.destination(destination)
    return platform, desk.stream(platform, stream)


def _check_choice(keys: list[str] | None, *, everything: bool, other: str = "") -> None:
    if bool(keys) == everything:
        raise ConfigError(f"name the records, or say --all{other} and name none")


def _read(payload: str | None) -> str | None:
    if payload is None:
        return None
    try:
        return sys.stdin.read() if payload == "-" else Path(payload).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--payload {payload}: cannot be read: {error}") from None


def _done(count: int, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"records": count})
    else:
        console.print(f"{_records(count)} {what}.", highlight=False, markup=False)
