"""The demonstration's summary: per flow what happened, per stage what the books say, and whether they agree.

The first stage is the till's own word and the last one the platforms' own word, both asked over their
inspection interface; the product's own records stand between them.
"""

from __future__ import annotations

import shlex
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from engage_pipelines.cli.demo_world import World
from engage_pipelines.cli.output import console, exact, print_table
from engage_pipelines.operations import Desk, keep_books
from engage_pipelines.settings import CONFIG_VARIABLE
from engage_pipelines.warehouse import Totals

_COUNTS = ("delivered", "accepted", "rejected", "pending", "in_doubt", "diverged", "unchanged")


def summarise(
    desk: Desk, world: World, pulls: dict[str, dict[str, Any]], *, since: datetime, seconds: float
) -> dict[str, Any]:
    """Gather flows and totals, and compare every stage with the next."""
    flows = _flows(desk, since)
    till, books = world.ask("square"), keep_books(desk)
    stages = {
        "pos": _till_totals(till),
        "core": _totals(books.core),
        "delivered": {name: _totals(totals) for name, totals in books.delivered.items()},
        "received": _received(world),
    }
    problems = _problems(stages, books.delivered, flows)
    return {
        "reconciled": not problems,
        "problems": problems,
        "in_doubt": sum(flow["in_doubt"] for flow in flows),
        "sent": sum(flow["delivered"] + flow["accepted"] for flow in flows),
        "seconds": round(seconds, 1),
        "pulls": _pulls(pulls),
        "flows": flows,
        "totals": stages,
    }


def print_summary(summary: dict[str, Any], published: Path, config: Path) -> None:
    """Print the summary for people, and where to go on: the published warehouse and the settings of the demo."""
    columns = ["records", "pages", "calls", "seconds"]
    print_table("Pulled", ["entity", *columns], [(p["entity"], *(p[c] for c in columns)) for p in summary["pulls"]])
    counts = [c for c in _COUNTS if any(f[c] for f in summary["flows"])]
    columns = ["source_records", *counts, "skipped", "calls", "minimal_calls", "seconds"]
    flows = [{**f, "skipped": sum(f["skipped"].values())} for f in summary["flows"]]
    titles = ["records", *counts, "skipped", "calls", "least", "s"]
    print_table("Flows", ["flow", *titles], [(f["flow"], *(f[c] for c in columns)) for f in flows])
    skipped = [(f["flow"], reason, count) for f in summary["flows"] for reason, count in f["skipped"].items()]
    print_table("Not sent, because", ["flow", "reason", "records"], skipped)
    totals = summary["totals"]
    stages = {"pos": totals["pos"], "core": totals["core"]}
    stages |= {f"delivered {name}": each for name, each in totals["delivered"].items()}
    stages |= {f"received by {name}": each for name, each in totals["received"].items()}
    print_table("Books", ["stage", "receipts", "lines", "amount"], [_stage_row(*item) for item in stages.items()])
    console.print("Platforms get no tips, and Voyado gets service charges as lines of their own.", style="dim")
    for problem in summary["problems"]:
        console.print(f"  {problem}", style="red", markup=False)
    if summary["reconciled"]:
        console.print("The books balance: every receipt is accounted for, to the cent.", style="bold green")
    if not summary["sent"]:
        console.print("Nothing was sent: everything was already there, unchanged.", style="bold")
    console.print(f"Took {summary['seconds']:.0f} s. Summary: {published.parents[1] / 'summary.json'}")
    console.print(f"Warehouse for analysts: {published}", highlight=False)
    console.print("Look at runs, partitions and metadata in the Dagster UI: make dev")
    export = f"export {CONFIG_VARIABLE}={shlex.quote(str(config))}"
    # As it is typed: a line that the terminal's width breaks cannot be copied.
    console.print(f"Ask from a terminal: {export}; engage status", highlight=False, markup=False, soft_wrap=True)


def _stage_row(name: str, totals: dict[str, Any]) -> tuple[Any, ...]:
    amounts = "  ".join(f"{currency} {Decimal(amount):,.2f}" for currency, amount in totals["amount"].items())
    return name, totals["receipts"], totals["lines"], amounts


def _flows(desk: Desk, since: datetime) -> list[dict[str, Any]]:
    """One entry per flow; the runs of a flow (one per month of history) are added up."""
    flows: dict[str, dict[str, Any]] = {}
    for run in desk.runs.since(since):
        name = f"{run['destination']}/{run['stream']}"
        zero = {"flow": name, "source_records": 0, **dict.fromkeys(_COUNTS, 0), "skipped": {}}
        flow = flows.setdefault(name, {**zero, "calls": 0, "minimal_calls": 0, "seconds": 0.0})
        flow["source_records"] += run["source_record_count"]
        for count in _COUNTS:
            flow[count] += run[f"{count}_count"]
        for reason, records in run["skipped"].items():
            flow["skipped"][reason] = flow["skipped"].get(reason, 0) + records
        flow["calls"] += run["call_count"]
        flow["minimal_calls"] += run["minimal_call_count"]
        flow["seconds"] = round(flow["seconds"] + (run["ended_at"] - run["started_at"]).total_seconds(), 2)
    return list(flows.values())


def _pulls(pulls: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"entity": name.removeprefix("raw/"), **values} for name, values in pulls.items() if name.startswith("raw/")
    ]


def _till_totals(till: dict[str, Any]) -> dict[str, Any]:
    countable = till["countable"]
    return {"receipts": countable["receipts"], "lines": countable["lines"], "amount": countable["amount"]}


def _totals(totals: Totals) -> dict[str, Any]:
    amounts = {currency: exact(amount) for currency, amount in totals.amount.items()}
    return {"receipts": totals.receipts, "lines": totals.lines, "amount": amounts}


def _received(world: World) -> dict[str, Any]:
    aiq, voyado = world.ask("aiq"), world.ask("voyado")
    return {
        # AIQ has no currencies: one sum over all of them.
        "aiq/sales": {"receipts": aiq["sales"], "lines": aiq["lines"], "amount": {"sum": aiq["transaction_total"]}},
        "voyado/receipts": {
            "receipts": voyado["receipts"], "lines": voyado["lines"], "amount": voyado["totals"],
        },
    }  # fmt: skip


def _problems(stages: dict[str, Any], delivered: dict[str, Totals], flows: list[dict[str, Any]]) -> list[str]:
    problems = []
    for what in ("receipts", "lines"):
        if stages["pos"][what] != stages["core"][what]:
            problems.append(f"{what}: the till has {stages['pos'][what]}, core has {stages['core'][what]}")
    if not _same(stages["pos"]["amount"], stages["core"]["amount"]):
        problems.append(f"amount: the till has {stages['pos']['amount']}, core has {stages['core']['amount']}")
    for name, totals in delivered.items():
        problems += _against_received(name, totals, stages["received"][name])
    for flow in flows:
        ended = sum(flow[count] for count in _COUNTS) + sum(flow["skipped"].values())
        if ended != flow["source_records"]:
            problems.append(f"{flow['flow']}: {flow['source_records']} records, {ended} accounted for")
    return problems


def _against_received(name: str, ours: Totals, theirs: dict[str, Any]) -> list[str]:
    # Tips go to neither platform: they are no purchase.
    amounts: dict[str, Any] = dict(ours.amount_without_tips)
    if "sum" in theirs["amount"]:
        amounts = {"sum": sum(amounts.values(), Decimal(0))}
    problems = []
    if ours.receipts != theirs["receipts"]:
        problems.append(f"{name}: {ours.receipts} receipts delivered, {theirs['receipts']} received")
    if not _same(amounts, theirs["amount"]):
        shown = {currency: exact(amount) for currency, amount in amounts.items()}
        problems.append(f"{name}: {shown} delivered, {theirs['amount']} received")
    return problems


def _same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    zero = Decimal(0)
    return all(Decimal(ours.get(c, zero)) == Decimal(theirs.get(c, zero)) for c in {*ours, *theirs})
