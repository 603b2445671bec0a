"""The outbound campaign: deliveries and publishes side by side, under faults, killed anywhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from engage_pipelines_tests.chaos.accounts import check_published
from engage_pipelines_tests.chaos.campaign import UNDISTURBED, Campaign, Fate, describe
from engage_pipelines_tests.chaos.children import Child
from engage_pipelines_tests.chaos.comparison import find_unnoted
from engage_pipelines_tests.chaos.faults import Rule, draw_faults
from engage_pipelines_tests.chaos.inbound import bring_in
from engage_pipelines_tests.chaos.points import POINT_BY_NAME
from engage_pipelines_tests.chaos.poison import Poison
from engage_pipelines_tests.chaos.shop import HISTORY_MONTHS
from engage_pipelines_tests.chaos.till import Till
from engage_pipelines_tests.chaos.versions import Versions

Command = tuple[str, ...]
# Voyado takes the past first, stage by stage: a receipt of somebody it does not know is lost there.
PAST: Sequence[Sequence[Command]] = (
    (("deliver", "voyado", "stores", "--all"),),
    tuple(("deliver", "voyado", "contact_history", "--month", month) for month in HISTORY_MONTHS),
    tuple(("deliver", "voyado", "receipt_history", "--month", month) for month in HISTORY_MONTHS),
)
LIVE: Sequence[Command] = (
    ("deliver", "aiq", "--all"), ("deliver", "crmcom", "--all"), ("deliver", "voyado", "--all")
)  # fmt: skip
PUBLISH: Command = ("publish",)
_GAPS = ("before step 3", "step 1 committed", "before the call", "call under way", "answer came")
_A_NO_IN_A_YES: Rule = {"kind": "ok_with_failure", "route": "createUpdate|synchronise", "times": 1}
# What changes at the till changes today, and payments do not.
_OF_TODAY = (
    "square", "catalog", "customers", "inventory_counts", "orders", "--from", "2026-04-18", "--to", "2026-04-19"
)  # fmt: skip
_AIQ_ALONE: Sequence[Command] = tuple(
    ("deliver", "aiq", stream, "--all") for stream in ("personas", "sales", "inventory")
)


class Outbound:
    """The rounds.

    Args:
        campaign: what all parts share.
        till: changes now and then.
        versions: learns what the source says after every change.
        poison: rows that are refused for good.
    """

    def __init__(self, campaign: Campaign, till: Till, versions: Versions, poison: Poison) -> None:
        self._campaign = campaign
        self._till = till
        self._versions = versions
        self._poison = poison
        self._past = deque(list(stage) for stage in PAST)
        self._tries: Counter[Command] = Counter()
        self._live = [command for command in LIVE if command[1] in campaign.world.destinations]

    def disturb(self, say: Callable[[str], None], until: float, *, least: int) -> None:
        """Rounds until a moment, and at least so many."""
        rounds = 0
        while rounds < least or time.monotonic() < until:
            children = self.round(first=rounds == 0)
            rounds += 1
            say(f"out, round {rounds}: {describe(children)}")
            if self._campaign.rng.random() < 0.35:
                self.change_the_source()

    def round(self, *, first: bool = False) -> list[Child]:
        """Some commands at once, each to its fate, under random faults."""
        rng = self._campaign.rng
        rules = {vendor: draw_faults(rng, vendor, first=first) for vendor in self._campaign.world.destinations}
        return self._disturbed(rules, [(command, self._draw_fate(command)) for command in self._draw_commands()])

    def go_straight(self, say: Callable[[str], None]) -> None:
        """A short course without chance: every live delivery dies once in each gap between the three steps.

        In the first round each platform answers its first call with a 200 that says no.
        """
        rules: Sequence[Rule] = (_A_NO_IN_A_YES,)
        for name in _GAPS:
            fate = Fate(POINT_BY_NAME[name], 2)
            everywhere = dict.fromkeys(self._campaign.world.destinations, rules)
            say(f"out, {name}: {describe(self._disturbed(everywhere, [(command, fate) for command in self._live]))}")
            rules = ()

    def _disturbed(self, rules: Mapping[str, Sequence[Rule]], commands: list[tuple[Command, Fate]]) -> list[Child]:
        """Run commands under faults; then look at what must hold even now."""
        campaign = self._campaign
        for vendor, random_ones in rules.items():
            campaign.world.break_things(vendor, [*random_ones, *self._poison.rules(vendor)])
        children = campaign.run_all(commands)
        self._go_on_with_the_past(children)
        self.heal()
        desk = campaign.world.desk()
        find_unnoted(campaign.world, desk, self._versions, campaign.report)
        check_published(desk, campaign.report)
        campaign.report.rounds["outbound"] += 1
        return children

    def heal(self) -> None:
        """No faults any more, but the poison stays."""
        for vendor in self._campaign.world.destinations:
            self._campaign.world.break_things(vendor, self._poison.rules(vendor))

    def finish_the_past(self) -> None:
        """Hand over what is left of the past, undisturbed."""
        while self._past:
            stage = self._past[0]
            self._go_on_with_the_past(self._campaign.run_all([(command, UNDISTURBED) for command in stage]))
            if self._past and self._past[0] is stage:
                self._campaign.report.find("unsettled", "voyado", "", f"{stage[0]}: never came to a good end")
                return

    def change_the_source(self) -> None:
        """Changes at the till, pulled and loaded, sometimes after a killed try."""
        campaign = self._campaign
        self._till.change(campaign.rng, campaign.report)
        if campaign.rng.random() < 0.3:
            command = campaign.rng.choice(("pull", "load"))
            campaign.run_all([((command, *_OF_TODAY), campaign.draw_fate(command))])
        bring_in(campaign, _OF_TODAY)
        self._versions.learn(campaign.world.desk())

    def _draw_fate(self, command: Command) -> Fate:
        """A fate; but what all that follows waits for is killed twice at most."""
        self._tries[command] += 1
        is_past = any(command in stage for stage in PAST)
        return UNDISTURBED if is_past and self._tries[command] > 2 else self._campaign.draw_fate(command[0])

    def _draw_commands(self) -> list[Command]:
        rng = self._campaign.rng
        commands: list[Command] = []
        for command in self._live:
            if command[1] == "voyado" and self._past:
                commands += self._past[0]
            elif command[1] == "aiq" and rng.random() < 0.4:
                commands.append(rng.choice(_AIQ_ALONE))
            else:
                commands.append(command)
        chosen = rng.sample(commands, rng.randint(min(2, len(commands)), len(commands)))
        if rng.random() < 0.5:
            # Two processes for one destination: its limits hold for both together.
            chosen.append(rng.choice(chosen))
        if rng.random() < 0.5:
            chosen.append(PUBLISH)
        return chosen

    def _go_on_with_the_past(self, children: Sequence[Child]) -> None:
        if not self._past:
            return
        done = [child.arguments for child in children if child.code == 0]
        stage = self._past[0]
        stage[:] = [command for command in stage if not any(each[: len(command)] == command for each in done)]
        if not stage:
            self._past.popleft()
            if not self._past:
                self._campaign.world.import_files()
