"""The numbers of a campaign: rows, calls and how many were needed; limits; the published copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import duckdb

from engage_pipelines.operations import Desk
from engage_pipelines_tests.chaos.held import READERS, Held, read
from engage_pipelines_tests.chaos.report import Report
from engage_pipelines_tests.chaos.versions import Versions
from engage_pipelines_tests.chaos.world import BATCH_ITEMS, IN_FLIGHT, World

# Calls that one record needs where there are no batches: a look and a creation.
_CALLS_PER_RECORD = {"voyado/stores": 2, "voyado/contacts": 2, "voyado/receipts": 1}
_THROTTLED = "429"


def account(world: World, versions: Versions, report: Report) -> None:
    """Fill in what each flow cost."""
    for flow in versions.present:
        vendor = flow.partition("/")[0]
        held = read(world, flow)
        calls = _calls(world.calls(vendor), READERS[flow].routes)
        least = _least(flow, held)
        resent = _resent(flow, held, versions)
        report.streams[flow] = {
            "rows": sum(shaped.goes for shaped in versions.present[flow].values()), "held": len(held),
            "received": sum(each.times for each in held.values()), "resent": resent, "calls": calls, "least": least,
            "extra": calls - least,
        }  # fmt: skip
        _explain_resent(flow, resent, len(held), report)


def check_limits(world: World, report: Report) -> None:
    """Note limits that were exceeded: by the vendor's own count, and by a 429 that no fault book gave."""
    for vendor in ("square", *world.destinations):
        limits = world.limits(vendor)
        refused = _calls_with(world.calls(vendor), _THROTTLED)
        report.limits[vendor] = {
            "rates": [[int(requests), float(seconds)] for requests, seconds in limits["rates"]],
            "times_exceeded": limits["times_exceeded"], "most_in_flight": limits["most_in_flight"],
            "throttled": refused, "throttled_by_fault": world.throttled[vendor],
        }  # fmt: skip
        if limits["times_exceeded"] or refused != world.throttled[vendor]:
            text = f"exceeded {limits['times_exceeded']} times, {refused - world.throttled[vendor]} times 429"
            report.find("over_limit", vendor, "", text)


def check_published(desk: Desk, report: Report) -> None:
    """The published copy must be whole; nobody may be publishing meanwhile."""
    file = desk.warehouse.published_path
    if file.exists():
        try:
            with duckdb.connect(str(file), read_only=True) as copy:
                copy.execute("select count(*), sum(total_amount) from core.transactions").fetchall()
        except duckdb.Error as error:
            report.find("broken_copy", "publish", file.name, str(error)[:200])


def compare_published(desk: Desk, report: Report) -> None:
    """After the last publish the copy must be what the warehouse is, and its ledger what the ledger is."""
    count = "select count(*), sum(total_amount), sum(version) from core.transactions"
    with desk.warehouse.connection() as connection:
        ours = connection.execute(count).fetchall()
    with duckdb.connect(str(desk.warehouse.published_path), read_only=True) as copy:
        theirs = copy.execute(count).fetchall()
        mirrored = dict(copy.execute("select state, count(*) from ops.deliveries group by 1").fetchall())
    if ours != theirs:
        report.find("broken_copy", "publish", "core.transactions", f"warehouse {ours}, copy {theirs}")
    states: dict[str, int] = {}
    for (_, _, state), number in desk.ledger.states().items():
        states[state] = states.get(state, 0) + number
    if states != mirrored:
        report.find("broken_copy", "publish", "ops.deliveries", f"ledger {states}, copy {mirrored}")


def _calls(routes: Mapping[str, Mapping[str, int]], parts: tuple[str, ...]) -> int:
    return sum(sum(by.values()) for route, by in routes.items() if any(part in route for part in parts))


def _calls_with(routes: Mapping[str, Mapping[str, int]], status: str) -> int:
    return sum(by.get(status, 0) for by in routes.values())


def _least(flow: str, held: Mapping[str, Held]) -> int:
    """Calls that one undisturbed delivery of what is held would have made; files are no calls."""
    by_api = [each for each in held.values() if each.content.get("channel", "api") == "api"]
    if flow in _CALLS_PER_RECORD:
        return len(by_api) * _CALLS_PER_RECORD[flow]
    return math.ceil(len(by_api) / _items(flow, len(by_api)))


def _items(flow: str, otherwise: int) -> int:
    vendor, _, stream = flow.partition("/")
    return BATCH_ITEMS[vendor].get(stream) or BATCH_ITEMS[vendor].get(f"{stream[:-1]}_history") or max(otherwise, 1)


def _resent(flow: str, held: Mapping[str, Held], versions: Versions) -> int:
    """Receptions beyond one per version that the source ever had."""
    key_in = READERS[flow].key_in
    had = {}
    for key in versions.payloads[flow]:
        any_version: Any = next(iter(versions.payloads[flow][key]))
        had[key_in(versions.payload(flow, key, any_version))] = versions.count(flow, key)
    return sum(max(0, each.times - had.get(key, 1)) for key, each in held.items())


def _explain_resent(flow: str, resent: int, records: int, report: Report) -> None:
    """Every repetition needs a reason: a kill or a fault makes at most the batches in flight uncertain."""
    vendor = flow.partition("/")[0]
    kills = sum(times for place, times in report.kills.items() if place.startswith("deliver"))
    strikes = sum(times for what, times in report.faults.items() if what.startswith(f"{vendor} "))
    most = (kills + strikes) * _items(flow, records) * IN_FLIGHT[vendor]
    if resent > most:
        report.find("duplicated", flow, "", f"{resent} rows sent again, {kills + strikes} disturbances explain {most}")
