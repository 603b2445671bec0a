"""What all parts of a campaign share: chance, the clock, the world, the children, and the fates that they meet."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from engage_pipelines_tests.chaos.children import Child, HungError, Nursery
from engage_pipelines_tests.chaos.mutations import MUTATION
from engage_pipelines_tests.chaos.points import POINTS, Point, kill_order
from engage_pipelines_tests.chaos.report import Report
from engage_pipelines_tests.chaos.shop import FIRST_DAY, LAST_DAY
from engage_pipelines_tests.chaos.world import World

# Plenty for any command here, however busy the machine is.
PATIENCE_SECONDS = 150.0
DAYS = ("--from", FIRST_DAY.isoformat(), "--to", LAST_DAY.isoformat())


class Fate(NamedTuple):
    """How a child is to end: at the n-th meeting of a place, after some seconds, or by itself."""

    point: Point | None = None
    nth: int = 0
    seconds: float | None = None


UNDISTURBED = Fate()


@dataclass(slots=True)
class Campaign:
    """The running campaign.

    Attributes:
        rng: the only source of chance.
        world: stand-ins and installation.
        nursery: where children come from.
        report: where everything is noted.
        deliver_flags: what every delivery needs besides (`--yes-really`, where there is such a guard).
        can_resolve: True if there is a command for records that a person has to decide about.
    """

    rng: random.Random
    world: World
    nursery: Nursery
    report: Report
    deliver_flags: tuple[str, ...] = ()
    can_resolve: bool = False
    _decks: dict[str, list[Fate]] = field(default_factory=dict)
    _longest: dict[str, float] = field(default_factory=dict)

    def learn_the_command_line(self) -> None:
        """Find out which commands and flags there are."""
        self.can_resolve = " resolve " in self.run("--help").out.read_text()
        guarded = "--yes-really" in self.run("deliver", "--help").out.read_text()
        self.deliver_flags = ("--yes-really",) if guarded else ()

    def draw_fate(self, command: str) -> Fate:
        """The next fate for a command: each place comes by before any comes by again."""
        deck = self._decks.setdefault(command, [])
        if not deck:
            points = [point for point in POINTS if command in point.of]
            deck += [Fate(point, self.rng.randint(1, point.often)) for point in points]
            deck += [UNDISTURBED] * 2 + [self._moment(command) for _ in range(max(2, len(points) // 2))]
            self.rng.shuffle(deck)
        return deck.pop()

    def run(self, *arguments: str) -> Child:
        """Run one command to its own end."""
        return self.run_all([(arguments, UNDISTURBED)])[0]

    def run_all(self, commands: Sequence[tuple[Sequence[str], Fate]]) -> list[Child]:
        """Run commands at the same time, each to its fate; gives them when all have ended."""
        began = time.monotonic()
        pairs = [(self._start(arguments, fate), fate) for arguments, fate in commands]
        for child, fate in sorted(pairs, key=lambda pair: pair[1].seconds or 0.0):
            if fate.seconds is not None and not child.ends_within(began + fate.seconds - time.monotonic()):
                child.kill()
        for child, _ in pairs:
            self._bury(child, began)
        return [child for child, _ in pairs]

    def _start(self, arguments: Sequence[str], fate: Fate) -> Child:
        environment: dict[str, str] = {"ENGAGE_CONFIG": str(self.world.config)}
        if fate.point:
            environment |= kill_order(fate.point, fate.nth)
        if self.report.mutation:
            environment[MUTATION] = self.report.mutation
        place = fate.point.name if fate.point else "at a random moment"
        flags = self.deliver_flags if arguments[0] == "deliver" and "--help" not in arguments else ()
        self.report.commands[" ".join(arguments[:2])] += 1
        return self.nursery.start(*arguments, *flags, place=place, environment=environment)

    def _bury(self, child: Child, began: float) -> None:
        try:
            child.wait(PATIENCE_SECONDS)
        except HungError as error:
            self.report.find("hung", child.command, "", str(error))
            return
        if child.was_killed:
            self.report.kills[f"{child.command}: {child.place}"] += 1
            return
        lasted = time.monotonic() - began
        self._longest[child.command] = max(self._longest.get(child.command, 0.0), lasted)
        if child.has_crashed:
            self.report.find("crashed", " ".join(child.arguments[:3]), "", child.last_words)
        elif child.code:
            self.report.notes[f"{child.command} ended with {child.code}"] += 1

    def _moment(self, command: str) -> Fate:
        return Fate(seconds=self.rng.uniform(0.0, 1.0) * max(self._longest.get(command, 1.5), 0.3))


def is_done(children: Sequence[Child]) -> bool:
    """True if all of them came to a good end."""
    return all(child.code == 0 for child in children)


def describe(children: Sequence[Child]) -> str:
    """What became of the children of a round, in one line."""
    return ", ".join(f"{' '.join(child.arguments[:3])} {_end(child)}" for child in children)


def _end(child: Child) -> str:
    if child.was_killed:
        return f"killed ({child.place})"
    return "done" if child.code == 0 else f"ended with {child.code}"
