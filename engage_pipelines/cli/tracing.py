"""`engage trace`: the story of one receipt."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from engage_pipelines.cli.moving import Config, Json
from engage_pipelines.cli.output import console, print_json, print_table
from engage_pipelines.operations import Desk
from engage_pipelines.operations.trace import Origin, Trace
from engage_pipelines.operations.trace import trace as follow
from engage_pipelines.settings import load_settings
from engage_pipelines.warehouse import Receipt


def trace(
    receipt: Annotated[str, typer.Argument(help="Our key, the till's own id, or the number printed on it.")],
    *,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell what happened to a receipt: when it was pulled, its versions, where it was sent, who holds it now.

    Examples: `engage trace square:O40` (`transaction_id` of `core.transactions`), `engage trace R40 --json`
    """
    found = follow(Desk(load_settings(config)), receipt)
    if as_json:
        print_json({**asdict(found), "holders": found.holders})
    else:
        _print(found)


def _print(found: Trace) -> None:
    if found.receipt is not None:
        _print_receipt(found.receipt, found)
    if found.quarantined:
        rows = [(q.entity, q.record_id, q.reason, q.spool_path, _moment(q.quarantined_at)) for q in found.quarantined]
        print_table("In quarantine", ["entity", "record", "reason", "spool", "since"], rows)


def _print_receipt(receipt: Receipt, found: Trace) -> None:
    facts = (
        receipt.transaction_id, receipt.receipt_number, receipt.store_id, str(receipt.business_on), receipt.status,
        receipt.total_amount, receipt.currency,
    )  # fmt: skip
    print_table("Receipt", ["key", "number", "store", "business day", "status", "total", ""], [facts])
    if receipt.others:
        console.print(f"The number stands on others too: {', '.join(receipt.others)}", highlight=False, markup=False)
    columns = ["version", "changed", "status", "total", "pulled, loaded", "window, spool file"]
    print_table("Versions (times in UTC)", columns, [_version(origin) for origin in found.origins])
    columns = ["flow and record", "state", "held since", "attempts", "first, last", "reason and code"]
    rows = [_delivery(row) for row in found.deliveries]
    rows += [(f"{a.destination}/{a.stream}", "", "", 0, "", a.reason) for a in found.absences]
    print_table("Platforms", columns, rows)
    calls = [(f"{row['destination']}/{row['stream']}", batch) for row in found.deliveries for batch in row["batches"]]
    if calls:
        columns = ["flow", "batch, run", "sent", "route", "status", "calls", "records", "answer"]
        print_table("The last call, and the one that arrived", columns, [_call(flow, batch) for flow, batch in calls])
    console.print(f"Held now by: {', '.join(found.holders) or 'nobody'}", highlight=False, style="bold")


def _version(origin: Origin) -> tuple[Any, ...]:
    v = origin.version
    window = f"{v.entity} {_moment(v.window_start_at)} .. {_moment(v.window_end_at)}" if v.entity else ""
    times = f"{_moment(v.pulled_at)}\n{_moment(v.loaded_at)}"
    return v.version, _moment(v.modified_at), v.status, v.total_amount, times, f"{window}\n{_file(origin)}".strip()


def _file(origin: Origin) -> str:
    folder = origin.version.spool_path
    if origin.file is None:
        return f"{folder} (deleted)" if folder else ""
    place = f"line {origin.line}" if origin.line else "(not in it any more: pulled again since)"
    return f"{folder}/{origin.file.name} {place}"


def _delivery(row: dict[str, Any]) -> tuple[Any, ...]:
    why = "\n".join(filter(None, (row["reason"], row["vendor_code"])))
    return (
        f"{row['destination']}/{row['stream']}\n{row['record_key']}", row["state"], _moment(row["delivered_at"]),
        row["attempt_count"], f"{_moment(row['first_attempt_at'])}\n{_moment(row['last_attempt_at'])}", why,
    )  # fmt: skip


def _call(flow: str, batch: dict[str, Any]) -> tuple[Any, ...]:
    status = "" if batch["status"] is None else str(batch["status"])
    return (
        flow, f"{batch['batch_id']}\n{batch['run_id']}", _moment(batch["started_at"]), batch["route"], status,
        batch["call_count"], batch["record_count"], batch["answer"] or "",
    )  # fmt: skip


def _moment(value: Any) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"
