"""Deliver while things go wrong: what the platform holds in the end, and what each contender says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from benchmarks import deliver_faults
from benchmarks.contenders import DELIVERERS, DeliverTask
from benchmarks.plan import Plan, Row
from benchmarks.rounds import figures, fresh, is_complete, side_by_side
from benchmarks.tables import compared, ended, failures, target
from benchmarks.tables import table as markdown

PRODUCT = "engage_pipelines"
_BATCH = 100
_COLUMNS = {
    "sent": "rows", "poisoned": "poisoned", "held": "held", "twice": "held twice", "lost": "lost",
    "told_delivered": "told as delivered", "falsely_told": "of those not there", "told_refused": "told as refused",
    "sent_again": "sent again", "calls": "calls of two runs",
}  # fmt: skip


def rows(plan: Plan) -> Iterator[Row]:
    """Rows are counted here, not seconds: a round in which one was lost or doubled shows, whichever is told."""
    yield from side_by_side(plan, "deliver with faults", list(DELIVERERS), partial(_deliver, plan))


def _deliver(plan: Plan, who: str) -> Row:
    folder, count = fresh(plan, "faults", who), 10_000 if plan.is_quick else 100_000

    def command(url: str) -> list[str]:
        credential = deliver_faults.KEY if who == PRODUCT else deliver_faults.token_of(url)
        task = DeliverTask(f"{url}/crmcom", count, _BATCH, folder, in_flight=4, credential=credential)
        return DELIVERERS[who](task)

    measured, accounts = deliver_faults.measure(command, folder, count)
    return {
        "batch": _BATCH, **figures(measured, count), "accounts": asdict(accounts),
        "completeness": {"is_complete": not accounts.lost and not accounts.twice},
    }  # fmt: skip


def table(rows: list[Row]) -> str:
    """The accounts of each contender."""
    lines = [[row["contender"], *(f"{row['accounts'][name]:,}" for name in _COLUMNS)] for row in ended(rows)]
    head = ["contender", *_COLUMNS.values()]
    return "## Deliver while things go wrong\n\n" + markdown(head, lines) + failures(rows)


def targets(rows: list[Row]) -> list[list[str]]:
    """Nothing lost, nothing twice."""
    return [
        target("deliver with faults", "0 lost, 0 twice",
               f"{row['accounts']['lost']} lost, {row['accounts']['twice']} twice", is_complete(row),
               "see the accounts; a row was lost or doubled in one round at least")
        for row in ended(rows) if row["contender"] == PRODUCT
    ]  # fmt: skip


def summary(rows: list[Row]) -> list[list[str]]:
    """What each says that is not so."""
    said = {row["contender"]: _said(row["accounts"]) for row in ended(rows)}
    count = max((row["rows"] for row in ended(rows)), default=0)
    return [
        compared(f"deliver {count:,} rows while things go wrong", said[PRODUCT], who, text)
        for who, text in said.items() if who != PRODUCT and PRODUCT in said
    ]  # fmt: skip


def _said(accounts: Row) -> str:
    return (
        f"{accounts['lost']} lost, {accounts['twice']} twice, "
        f"{accounts['falsely_told']:,} told as delivered that are not there"
    )
