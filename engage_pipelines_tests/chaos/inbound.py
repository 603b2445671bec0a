"""The inbound campaign: pulls and loads under faults, killed anywhere, until one pass ends by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from engage_pipelines_tests.chaos.campaign import DAYS, UNDISTURBED, Campaign, describe, is_done
from engage_pipelines_tests.chaos.faults import draw_faults
from engage_pipelines_tests.chaos.till import Till

_PULL = ("pull", "square", *DAYS)
_LOAD = ("load", "square", *DAYS)
_LEAST_ROUNDS = 6
_PASSES = 12


def disturb(campaign: Campaign, till: Till, say: Callable[[str], None], until: float) -> None:
    """Kill pulls and loads at places and moments, while the till goes on selling, until a moment."""
    rounds = 0
    while rounds < _LEAST_ROUNDS or time.monotonic() < until:
        rounds += 1
        if campaign.rng.random() < 0.3:
            # Faults are for the product; the campaign itself meets a till that is well.
            campaign.world.break_things("square", [])
            till.change(campaign.rng, campaign.report)
        campaign.world.break_things("square", draw_faults(campaign.rng, "square"))
        pull, load = (_PULL, campaign.draw_fate("pull")), (_LOAD, campaign.draw_fate("load"))
        children = [*campaign.run_all([pull]), *campaign.run_all([load])]
        campaign.report.rounds["inbound"] += 1
        say(f"in, round {rounds}: {describe(children)}")


def bring_in(campaign: Campaign, what: tuple[str, ...] = ("square", *DAYS)) -> None:
    """Pull and load until each has come to its own good end; the till may have faults on the way.

    The faults end after some passes: a till that is never well again cannot be pulled whole.
    """
    for step in (("pull", *what), ("load", *what)):
        for number in range(_PASSES):
            if number == _PASSES // 2:
                campaign.world.break_things("square", [])
            if is_done(campaign.run_all([(step, UNDISTURBED)])):
                break
        else:
            last = campaign.run(*step)
            campaign.report.find("unsettled", " ".join(step[:2]), "", f"never came to a good end: {last.last_words}")
    campaign.world.break_things("square", [])
