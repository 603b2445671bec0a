"""Asset checks: keys are unique, windows complete, receipts add up, nothing in doubt."""

from collections.abc import Callable, Sequence

import dagster as dg

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.model import Table
from engage_pipelines.operations import Desk
from engage_pipelines.orchestration.assets import READERS_POOL
from engage_pipelines.warehouse import duplicate_keys, incomplete_windows, payments_apart, receipts_out_of_balance

# The metadata shows a few examples; all of them are one query away in the published warehouse.
_EXAMPLES = 10


def key_is_unique(desk: Desk, table: Table) -> dg.AssetChecksDefinition:
    """The table has one row per key (there are no primary keys in the warehouse)."""
    return _check(
        ["core", table.name], "key_is_unique", f"One row per {', '.join(table.key)}.",
        lambda: [str(key) for key in duplicate_keys(desk.warehouse, table)],
    )  # fmt: skip


def receipts_add_up(desk: Desk) -> dg.AssetChecksDefinition:
    """Lines, tip, service charge and rounding are the total; tenders too."""
    return _check(
        ["core", "transactions"], "receipts_add_up", "Lines + tip + service charge + rounding = total = tenders.",
        lambda: [key for key, _ in receipts_out_of_balance(desk.warehouse)],
    )  # fmt: skip


def payments_agree(desk: Desk) -> dg.AssetChecksDefinition:
    """The till's payment service and its receipts tell the same amounts."""
    return _check(
        ["core", "payments"], "payments_agree",
        "Every completed payment is on its receipt, with the same amount; every receipt's payment is in the list.",
        lambda: [key for key, _ in payments_apart(desk.warehouse)],
        after=[["core", "transactions"]],
    )  # fmt: skip


def windows_are_complete(desk: Desk) -> dg.AssetChecksDefinition:
    """Everything that the till lists has landed."""
    return _check(
        ["core", "transactions"], "windows_are_complete", "Every record that the till lists has landed.",
        lambda: incomplete_windows(desk.warehouse),
    )  # fmt: skip


def nothing_in_doubt(desk: Desk, destination: Destination, stream: Stream) -> dg.AssetChecksDefinition:
    """No record of the stream may or may not have arrived."""
    return _check(
        [destination.name, stream.name], "nothing_in_doubt",
        "No record may or may not have arrived. Way out: `engage resolve --sent|--not-sent`.",
        lambda: _waiting(desk, destination, stream, "in_doubt"),
    )  # fmt: skip


def nothing_refused(desk: Desk, destination: Destination, stream: Stream) -> dg.AssetChecksDefinition:
    """No record of the stream waits in the queue of refused ones; a warning, the others went through."""
    return _check(
        [destination.name, stream.name], "nothing_refused",
        "No record was refused. Way out: `engage rejected list`, then `fix`, `replay` or `discard`.",
        lambda: _waiting(desk, destination, stream, "rejected"), severity=dg.AssetCheckSeverity.WARN,
    )  # fmt: skip


def _waiting(desk: Desk, destination: Destination, stream: Stream, state: str) -> list[str]:
    return desk.queue.keys_in((state,), destination.name, stream.ledger_name)


def _check(
    asset: list[str],
    name: str,
    description: str,
    find: Callable[[], list[str]],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    after: Sequence[Sequence[str]] = (),
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, description=description, pool=READERS_POOL, additional_deps=after)
    def check() -> dg.AssetCheckResult:
        found = find()
        return dg.AssetCheckResult(
            passed=not found, severity=severity, metadata={"count": len(found), "examples": found[:_EXAMPLES]}
        )

    return check
