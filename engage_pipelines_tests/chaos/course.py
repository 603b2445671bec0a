"""The course of a campaign: in, out, to rest, and the comparison."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from engage_pipelines_tests.chaos import inbound
from engage_pipelines_tests.chaos.accounts import account, check_limits, compare_published
from engage_pipelines_tests.chaos.campaign import DAYS, Campaign
from engage_pipelines_tests.chaos.children import Nursery
from engage_pipelines_tests.chaos.comparison import compare_platforms
from engage_pipelines_tests.chaos.outbound import Outbound
from engage_pipelines_tests.chaos.poison import Poison
from engage_pipelines_tests.chaos.pos_and_core import compare_pos_and_core
from engage_pipelines_tests.chaos.report import Report
from engage_pipelines_tests.chaos.settling import settle
from engage_pipelines_tests.chaos.till import Till
from engage_pipelines_tests.chaos.versions import Versions
from engage_pipelines_tests.chaos.world import World

_INBOUND_SHARE = 0.25
_LEAST_ROUNDS = 10
# All but payments and refunds of their own, which nobody is told of.
_WHAT_IS_DELIVERED = ("square", "locations", "catalog", "customers", "inventory_counts", "orders", *DAYS)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a campaign.

    Attributes:
        seconds: how long to disturb.
        destinations: which platforms.
        is_straight: no random course, but one round per gap between the three steps.
    """

    seconds: float
    destinations: tuple[str, ...]
    is_straight: bool = False


class Course:
    """One campaign from its first pull to its comparison.

    Args:
        rng: the only source of chance.
        world: stand-ins and installation.
        nursery: where children come from.
        report: where everything is noted.
        extent: how much of it.
        say: tells a person how far it is.
    """

    def __init__(
        self, rng: random.Random, world: World, nursery: Nursery, report: Report, extent: Extent,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._campaign = Campaign(rng, world, nursery, report)
        self._world = world
        self._report = report
        self._extent = extent
        self._say = say
        self._till = Till(world)
        self._versions = Versions()

    def run(self) -> None:
        """Disturb, let settle, compare."""
        self._campaign.learn_the_command_line()
        self._come_in()
        self._versions.learn(self._world.desk())
        poison = Poison(self._campaign.rng, self._versions)
        outbound = Outbound(self._campaign, self._till, self._versions, poison)
        self._go_out(outbound)
        self._say("settling")
        settle(self._campaign, outbound, self._versions)
        self._compare(poison)

    def _come_in(self) -> None:
        if self._extent.is_straight:
            inbound.bring_in(self._campaign, _WHAT_IS_DELIVERED)
            return
        inbound.disturb(self._campaign, self._till, self._say, self._until(_INBOUND_SHARE))
        inbound.bring_in(self._campaign)
        compare_pos_and_core(self._world.desk(), self._till, self._report)

    def _go_out(self, outbound: Outbound) -> None:
        if self._extent.is_straight:
            outbound.go_straight(self._say)
        else:
            outbound.disturb(self._say, self._until(1.0 - _INBOUND_SHARE), least=_LEAST_ROUNDS)

    def _compare(self, poison: Poison) -> None:
        for vendor in ("square", *self._world.destinations):
            self._world.break_things(vendor, [])
        self._report.faults = self._world.struck
        desk = self._world.desk()
        if not self._extent.is_straight:
            compare_pos_and_core(desk, self._till, self._report)
        compare_platforms(self._world, desk, self._versions, poison, self._report)
        compare_published(desk, self._report)
        account(self._world, self._versions, self._report)
        check_limits(self._world, self._report)

    def _until(self, share: float) -> float:
        return time.monotonic() + self._extent.seconds * share
