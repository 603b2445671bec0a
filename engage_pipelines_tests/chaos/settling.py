"""Coming to rest: no faults but the poison, no kills, until a round of everything has nothing left to do."""

from __future__ import annotations

from typing import Any

from engage_pipelines_tests.chaos.campaign import UNDISTURBED, Campaign
from engage_pipelines_tests.chaos.children import Child
from engage_pipelines_tests.chaos.comparison import ledger_of
from engage_pipelines_tests.chaos.held import READERS, read
from engage_pipelines_tests.chaos.outbound import LIVE, PAST, PUBLISH, Command, Outbound
from engage_pipelines_tests.chaos.versions import Versions

_PASSES = 6


def settle(campaign: Campaign, outbound: Outbound, versions: Versions) -> None:
    """Run everything undisturbed until nothing changes any more; what a person decides is decided here."""
    outbound.heal()
    if "voyado" in campaign.world.destinations:
        outbound.finish_the_past()
    for _ in range(_PASSES):
        stirred = _pass(campaign)
        campaign.report.rounds["settling"] += 1
        if campaign.can_resolve:
            stirred += _decide(campaign, versions)
        if not stirred:
            campaign.run(*PUBLISH)
            return
    campaign.report.find("restless", "settling", "", f"after {_PASSES} undisturbed rounds still: {'; '.join(stirred)}")
    campaign.run(*PUBLISH)


def _pass(campaign: Campaign) -> list[str]:
    """Everything once, the platforms side by side; gives what was not at rest."""
    stirred: list[str] = []
    for commands in _waves(campaign):
        children = campaign.run_all([((*command, "--json"), UNDISTURBED) for command in commands])
        stirred += [text for child in children for text in _stirred(child)]
        if "voyado" in campaign.world.destinations:
            campaign.world.import_files()
    return stirred


def _waves(campaign: Campaign) -> list[list[Command]]:
    """What may run at the same time: the platforms know nothing of each other, but the past comes first at Voyado."""
    there = campaign.world.destinations
    live = [command for command in LIVE if command[1] in there]
    if "voyado" not in there:
        return [live]
    others, voyado = [c for c in live if c[1] != "voyado"], [c for c in live if c[1] == "voyado"]
    contacts, receipts = PAST[1:]
    return [[*others, *contacts], list(receipts), voyado]


def _stirred(child: Child) -> list[str]:
    """What a delivery did that a settled one would not do."""
    try:
        flows: list[dict[str, Any]] = child.printed()
    except ValueError:
        return [f"{' '.join(child.arguments[:3])}: ended with {child.code}: {child.last_words}"]
    return [
        f"{flow['flow']}: {flow['calls']} calls, {flow['pending']} pending, {flow['in_doubt']} in doubt"
        for flow in flows
        if flow["calls"] or flow["pending"] or flow["in_doubt"]
    ]


def _decide(campaign: Campaign, versions: Versions) -> list[str]:
    """What a person does with records in doubt that should not go any more: look at the platform, and say."""
    done = []
    for flow, rows in ledger_of(campaign.world.desk()).items():
        doubtful = [key for key, row in rows.items() if row["state"] == "in_doubt"]
        held = read(campaign.world, flow) if doubtful else {}
        destination, _, stream = flow.partition("/")
        for key in doubtful:
            there = _key_there(flow, key, versions) in held
            campaign.run("resolve", destination, stream, "--sent" if there else "--not-sent", key)
            campaign.report.notes[f"{flow}: a person said {'sent' if there else 'not sent'}"] += 1
            done.append(f"{flow} {key}: decided")
    return done


def _key_there(flow: str, key: str, versions: Versions) -> str:
    known = versions.payloads[flow].get(key, {})
    return READERS[flow].key_in(versions.payload(flow, key, next(iter(known)))) if known else key
