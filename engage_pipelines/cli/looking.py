"""`engage status` and `tables`: what there is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from engage_pipelines.cli.moving import Config, Json
from engage_pipelines.cli.output import NEEDS_A_PERSON, console, plain, print_json, print_table
from engage_pipelines.model import TABLES, tables_page
from engage_pipelines.operations import Desk, Status, look
from engage_pipelines.settings import load_settings
from engage_pipelines.state.queue import Pile
from engage_pipelines.warehouse import Totals

# Kinds of refusals that are shown; the list of all is a command of its own.
_PILES = 10


def status(*, config: Config = None, as_json: Json = False) -> None:
    """How far everything is, and what waits for a person.

    Exit code 1: records are in doubt or missing, or receipts do not add up. Refused ones are shown, and wait.

    Example: `engage status --json`
    """
    seen = look(Desk(load_settings(config)))
    if as_json:
        print_json(_as_values(seen))
    else:
        _print_status(seen)
    if seen.needs_a_person:
        raise typer.Exit(NEEDS_A_PERSON)


def tables(
    *,
    markdown: bool = typer.Option(default=False, help="Print the page docs/tables.md."),
    as_json: Json = False,
) -> None:
    """The tables of the warehouse with their columns.

    Examples: `engage tables`, `engage tables --markdown > docs/tables.md`
    """
    if markdown:
        plain.file.write(tables_page())
    elif as_json:
        print_json([asdict(table) for table in TABLES])
    else:
        for table in TABLES:
            rows = [(c.name, c.duckdb_type, c.required, c.personal, c.description) for c in table.columns]
            print_table(f"{table.full_name}: {table.description}", ["column", "type", "always", "personal", ""], rows)


def _print_status(seen: Status) -> None:
    print_table("Loaded through", ["source", "entity", "through"], [(s, e, f"{t:%Y-%m-%d %H:%M %Z}")
                                                                    for s, e, t in seen.bookmarks])  # fmt: skip
    print_table("Deliveries", ["destination", "stream", "records"], [(f.destination, f.stream, f.states)
                                                                     for f in seen.flows])  # fmt: skip
    stages = {"core": seen.books.core, **seen.books.delivered}
    print_totals(stages)
    if seen.quarantined:
        rows = [(entity, reason, count) for (entity, reason), count in seen.quarantined.items()]
        print_table("Quarantine", ["entity", "reason", "records"], rows)
    print_table("Needs a person", ["what", "count"], [
        ("records in doubt", sum(each.records for each in seen.in_doubt)),
        ("receipts out of balance", seen.out_of_balance), ("incomplete windows", seen.incomplete),
    ])  # fmt: skip
    _print_waiting(seen)


def _print_waiting(seen: Status) -> None:
    """What waits in the ledger, each with its way out."""
    if seen.in_doubt:
        doubtful = [(f"{each.destination}/{each.stream}", each.records, each.policy) for each in seen.in_doubt]
        print_table("In doubt", ["flow", "records", "the next run will"], doubtful)
        _way_out("engage resolve [DESTINATION STREAM KEY --sent|--not-sent]")
    if seen.rejected:
        refused = [_pile(pile) for pile in seen.rejected[:_PILES]]
        print_table("Refused", ["flow", "records", "code", "reason"], refused)
        more = sum(pile.records for pile in seen.rejected[_PILES:])
        _way_out("engage rejected list, then show, fix, replay or discard" + (f"; {more:,} more" if more else ""))
    if seen.diverged:
        changed = [_pile(pile) for pile in seen.diverged[:_PILES]]
        print_table("Changed after delivery", ["flow", "records", "code", "what happened"], changed)
        _way_out("engage diverged list")


def _pile(pile: Pile) -> tuple[str, int, str, str]:
    # What a platform said may look like markup.
    return f"{pile.destination}/{pile.stream}", pile.records, pile.vendor_code or "", pile.reason or ""


def _way_out(command: str) -> None:
    console.print(f"Way out: {command}", highlight=False, markup=False)


def print_totals(stages: dict[str, Totals]) -> None:
    """Print the books: receipts, lines and amounts per stage."""
    rows = [(name, t.receipts, t.lines, t.amount) for name, t in stages.items()]
    print_table("Books", ["stage", "receipts", "lines", "amount"], rows)


def _as_values(seen: Status) -> dict[str, Any]:
    values = asdict(seen)
    values["quarantined"] = [
        {"entity": entity, "reason": reason, "records": count} for (entity, reason), count in seen.quarantined.items()
    ]
    values["needs_a_person"] = seen.needs_a_person
    return values
