"""The daily increment: a night of new and edited orders into a warehouse that holds two years of them.

The same nights go into a warehouse that holds only what they touch, so that what the warehouse's size costs stands in
a column of its own. Network time is what fetching the same pages takes a client that throws them away.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import tables
from benchmarks.contenders import OURS
from benchmarks.increment_world import DAY, REREAD_DAYS, TEMPLATES, History, Increment, fill, serve
from benchmarks.orders import LOCATIONS, days_of, make_orders
from benchmarks.plan import Plan, Row
from benchmarks.processes import Measured, run, stand_in
from benchmarks.rounds import figures, side_by_side

_LARGE, _SMALL = "two years", "what the night touches"
_ORDERS_A_DAY, _QUICK_ORDERS_A_DAY = 6_849, 20
# Of a hundred orders of an increment that are new, so many older ones are edited as well.
_EDITED_PERCENT = 2
_NEW, _QUICK_NEW = (4_000, 20_000, 100_000), (100, 500)
_SECONDS = 3.0
# Of what the first further 10,000 cost; two measurements of one night differ by as much.
_RISE = 1.1
_WAREHOUSE = Path("data") / "warehouse" / "engage.duckdb"
_COUNTS = """
select count(*), count(distinct transaction_id), sum(total_amount)::varchar, sum(line_count),
    (select count(*) from core.transaction_lines), (select count(*) from core.transaction_tenders),
    (select count(*) from ops.versions), count(*) filter (where version = 4)
from core.transactions
"""


@dataclass(frozen=True, slots=True)
class _World:
    """What all increments have in common: templates, prepared installations, what the till serves."""

    home: Path
    history: History
    increments: tuple[Increment, ...]

    @property
    def templates(self) -> Path:
        return self.home / "orders" / str(TEMPLATES)

    def installation(self, kind: str) -> Path:
        return self.home / kind.replace(" ", "-")

    def served(self, increment: Increment) -> Path:
        return self.home / f"served-{increment.new}"


def rows(plan: Plan) -> Iterator[Row]:
    """Each increment into both warehouses."""
    world = _world(plan)
    _prepare(world)
    for increment in world.increments:
        serve(world.served(increment), world.templates, world.history, increment)
        for row in side_by_side(plan, "increment", (_LARGE, _SMALL), partial(_night, world, increment)):
            yield {**row, "contender": "engage_pipelines", "warehouse": row["contender"]}
        shutil.rmtree(world.served(increment))
    shutil.rmtree(world.home)


def table(measured: list[Row]) -> str:
    """What a night takes, by increment and by what the warehouse holds."""
    head = [
        "warehouse", "receipts", "lines", "new", "edited", "unchanged", "seconds", "network", "beyond it", "pull",
        "load", "CPU s", "peak MB", "complete",
    ]  # fmt: skip
    lines = [
        [
            row["warehouse"], f"{row['held']:,}", f"{row['held_lines']:,}", f"{row['new']:,}", f"{row['edited']:,}",
            f"{row['unchanged']:,}", f"{row['seconds']:.2f}", f"{row['network']:.2f}", f"{row['beyond']:.2f}",
            f"{row['pull_seconds']:.2f}", f"{row['load_seconds']:.2f}", f"{row['cpu_seconds']:.1f}",
            f"{row['peak_mb']:,.0f}", "yes" if row["completeness"]["is_complete"] else "**no**",
        ]
        for row in tables.ended(measured)
    ]  # fmt: skip
    return (
        "## A night into a large warehouse\n\n"
        f"New orders of a day, {_EDITED_PERCENT} % older ones that were edited (spread over two years), and the "
        f"{REREAD_DAYS} days that every night reads again. Network: the same pages, fetched and thrown away.\n\n"
        + tables.table(head, lines) + tables.failures(measured)
    )  # fmt: skip


def targets(measured: list[Row]) -> list[list[str]]:
    """Seconds of the normal night, and whether further records cost no more the more there are."""
    nights = sorted((r for r in tables.ended(measured) if r["warehouse"] == _LARGE), key=lambda r: r["new"])
    if len(nights) < 2:
        return []
    middle = nights[len(nights) // 2]
    said = f"{middle['new']:,} new orders, {middle['held_lines'] / 1e6:,.1f}M lines: seconds beyond the network"
    lines = [
        tables.target(
            said, f"<= {_SECONDS:g} s", f"{middle['beyond']:.2f} s", middle["beyond"] <= _SECONDS,
            _reason(measured, middle),
        )
    ]  # fmt: skip
    if len(steps := list(_per_10_000_more(nights))) > 1:
        sizes, more = (", ".join(texts) for texts in ([f"{r['new']:,}" for r in nights], [f"{s:.2f}" for s in steps]))
        lines.append(
            tables.target(
                f"increments of {sizes} new orders: seconds per 10,000 more", "no more than before", f"{more} s",
                max(steps[1:]) <= _RISE * steps[0], "grows faster than the increment",
            )
        )  # fmt: skip
    return lines


def _per_10_000_more(nights: list[Row]) -> Iterator[float]:
    """What further records take, from one increment to the next: the same where seconds are proportional to them.

    Not the seconds of one night by those of another: of a small night most records are unchanged, and cost less.
    """
    for a, b in pairwise(nights):
        yield (b["beyond"] - a["beyond"]) / (b["pulled"] - a["pulled"]) * 10_000


def _reason(measured: list[Row], night: Row) -> str:
    alone = [r["beyond"] for r in tables.ended(measured) if r["warehouse"] == _SMALL and r["new"] == night["new"]]
    return f"{night['beyond'] - alone[0]:.1f} s of it for the warehouse's size" if alone else ""


def _world(plan: Plan) -> _World:
    orders_a_day, new = (_QUICK_ORDERS_A_DAY, _QUICK_NEW) if plan.is_quick else (_ORDERS_A_DAY, _NEW)
    increments = tuple(Increment(count, count * _EDITED_PERCENT // 100) for count in new)
    return _World(plan.data / "increment", History(orders_a_day), increments)


# --- prepared once -------------------------------------------------------------------------------------------------


def _prepare(world: _World) -> None:
    """Both warehouses as they are on the evening before."""
    shutil.rmtree(world.home, ignore_errors=True)
    made = make_orders(world.home / "orders", TEMPLATES)
    start, end = days_of(TEMPLATES)
    loaded = world.home / "templates"
    with stand_in(OURS, orders=made) as url:
        command = [OURS, "-m", "benchmarks.pull_ours", url, str(loaded), start.isoformat(), end.isoformat()]
        run(command, folder=loaded)
    touched = {number for increment in world.increments for number in world.history.edited(increment)}
    touched |= set(range(world.history.first_served, world.history.filled))
    fill(world.installation(_LARGE), loaded / _WAREHOUSE, world.history)
    fill(world.installation(_SMALL), loaded / _WAREHOUSE, world.history, only=touched)
    shutil.rmtree(loaded)
    _run_last_nights(world)


def _run_last_nights(world: _World) -> None:
    """The nights before the measured one, by the product: their spools are read again, their loads are noted."""
    first = DAY - timedelta(days=REREAD_DAYS)
    served = world.home / "served-before"
    serve(served, world.templates, world.history, Increment(1, 1))
    for kind in (_LARGE, _SMALL):
        with stand_in(OURS, orders=served) as url:
            command = _command(url, world.installation(kind), first, DAY - timedelta(days=1))
            run([*command, "--bookmark", first.isoformat()], folder=world.installation(kind))
    shutil.rmtree(served)


def _command(url: str, folder: Path, first: datetime, last: datetime) -> list[str]:
    days = (f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}")
    return [OURS, "-m", "benchmarks.increment_ours", url, str(folder), *days]


# --- measured ------------------------------------------------------------------------------------------------------


def _night(world: _World, increment: Increment, kind: str) -> Row:
    folder = world.home / "night"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world.installation(kind), folder)
    _wait_for_disk(folder)
    before = _counts(folder / _WAREHOUSE)
    with stand_in(OURS, orders=world.served(increment)) as url:
        network = _network_seconds(url)
        measured = run(_command(url, folder, DAY, DAY), folder=folder)
    after = _counts(folder / _WAREHOUSE)
    shutil.rmtree(folder)
    return _row(increment, measured, network, before, after)


def _wait_for_disk(folder: Path) -> None:
    """Else the night's first commit would wait for the whole copy to be on disk."""
    for file in folder.rglob("*.*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def _row(increment: Increment, measured: Measured, network: float, before: Row, after: Row) -> Row:
    told = measured.result
    beyond = told["seconds"] - network
    return {
        **figures(measured, int(told["pulled"])), "held": before["receipts"], "held_lines": before["lines"],
        "new": increment.new, "edited": increment.edited, "pulled": told["pulled"],
        "unchanged": told["pulled"] - increment.new - increment.edited, "network": network, "beyond": beyond,
        "pull_seconds": told["pull"], "load_seconds": told["load"],
        "completeness": _completeness(increment, told, before, after), "result": told,
    }  # fmt: skip


def _completeness(increment: Increment, told: dict[str, Any], before: Row, after: Row) -> Row:
    """What should be there now: the new ones, the edited ones once and in their new version, and all versions."""
    changes = increment.new + increment.edited
    is_there = {
        "receipts": after["receipts"] == before["receipts"] + increment.new == after["ids"],
        "lines": after["lines"] == after["lines_told"] == before["lines"] + _lines_of(increment.new),
        "tenders": after["tenders"] == before["tenders"] + increment.new,
        "versions": after["versions"] == before["versions"] + changes,
        "edits": after["edited"] == before["edited"] + increment.edited,
        "changed": told["changed"] == changes and not told["missing"] and not told["quarantined"],
    }
    return {"is_complete": all(is_there.values()), "held": after, **is_there}


def _lines_of(new: int) -> int:
    # Of four orders one has one line, two have two, one has three: the numbers of the new ones begin at any of them.
    if new % 4:
        raise ValueError(f"{new} new orders are not so many fours")
    return new * 2


def _counts(database: Path) -> Row:
    names = ("receipts", "ids", "amount", "lines_told", "lines", "tenders", "versions", "edited")
    with duckdb.connect(str(database), read_only=True, config={"memory_limit": "3GB"}) as connection:
        return dict(zip(names, connection.execute(_COUNTS).fetchall()[0], strict=True))


def _network_seconds(url: str) -> float:
    """Seconds to fetch what the night asks, both questions, one page after the other."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    began = time.perf_counter()
    for limit, is_entries in ((500, False), (1000, True)):
        _fetch_all(partial(_post, connection), limit, is_entries=is_entries)
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def _fetch_all(post: Callable[[dict[str, Any]], bytes], limit: int, *, is_entries: bool) -> None:
    between = {"start_at": f"{DAY - timedelta(days=REREAD_DAYS):%Y-%m-%dT%H:%M:%SZ}",
               "end_at": f"{DAY:%Y-%m-%d}T23:59:59.999Z"}  # fmt: skip
    asked: dict[str, Any] = {
        "location_ids": LOCATIONS, "limit": limit, "return_entries": is_entries,
        "query": {"filter": {"date_time_filter": {"updated_at": between}}},
    }  # fmt: skip
    while True:
        answer = post(asked)
        _, mark, cursor = answer[-64:].partition(b'"cursor":"')
        if not mark:
            return
        asked["cursor"] = cursor.partition(b'"')[0].decode()


def _post(connection: http.client.HTTPConnection, asked: dict[str, Any]) -> bytes:
    connection.request("POST", "/v2/orders/search", json.dumps(asked), {"content-type": "application/json"})
    return connection.getresponse().read()
