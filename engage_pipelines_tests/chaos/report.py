"""What a campaign found and did: gathered on the way, written as JSON, printed for people."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# Every kind of finding, with what it says; a campaign is sound if all of them are zero.
KINDS = {
    "lost": "the source has it and it should be there, and it is not",
    "duplicated": "it is there more than once, or was sent again without a reason",
    "wrong": "it is there with other contents than those that the ledger or the source tells of",
    "wrongly_rejected": "rejected, although nothing is wrong with it",
    "not_isolated": "a poison row that is not rejected with its reason",
    "unnoted": "the platform holds it and the ledger knows nothing of it",
    "unsettled": "still pending, under way or in doubt after the last run",
    "wrongly_diverged": "called diverged, although source and platform agree",
    "over_limit": "a vendor's rate limit was exceeded",
    "restless": "a run without a reason still changed something",
    "broken_copy": "the published copy cannot be read or differs from the warehouse",
    "crashed": "a command ended by an error that it did not expect",
    "hung": "a command did not end",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what kind, in which flow, with which record, and how it shows."""

    kind: str
    flow: str
    key: str
    text: str


@dataclass(slots=True)
class Report:
    """The campaign's account.

    Attributes:
        seed: start of all chance.
        minutes: how long it was to disturb.
        mutation: the deliberate bug in it, if any.
        again: the command that runs the same campaign again.
        kills: killed children by place.
        faults: faults that struck, by vendor and kind.
        streams: flow -> rows, calls, least calls, and so on.
        findings: all that is wrong.
    """

    seed: int
    minutes: float
    mutation: str | None = None
    again: str = ""
    seconds: float = 0.0
    rounds: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    streams: dict[str, dict[str, int]] = field(default_factory=dict)
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def find(self, kind: str, flow: str, key: str, text: str) -> None:
        """Note something that is wrong, once."""
        finding = Finding(kind, flow, key, text)
        if finding not in self.findings:
            self.findings.append(finding)

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind, the kinds without any included."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found.get(kind, 0) for kind in KINDS}

    @property
    def is_sound(self) -> bool:
        """True if nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """The account as plain values."""
        return {
            "seed": self.seed, "minutes": self.minutes, "mutation": self.mutation, "again": self.again,
            "sound": self.is_sound,
            "seconds": round(self.seconds, 1), "rounds": dict(self.rounds), "commands": dict(self.commands),
            "kills": {"total": sum(self.kills.values()), "by_place": dict(self.kills.most_common())},
            "faults": {"total": sum(self.faults.values()), "by_kind": dict(self.faults.most_common())},
            "changes": dict(self.changes), "streams": self.streams, "limits": self.limits, "notes": dict(self.notes),
            "counts": self.counts,
            "findings": [
                {"kind": f.kind, "flow": f.flow, "key": f.key, "text": f.text} for f in self.findings
            ],
        }  # fmt: skip

    def write(self, file: Path) -> None:
        """Write the account, whole or not at all."""
        aside = file.with_name(f"{file.name}.part")
        aside.write_text(json.dumps(self.as_json(), indent=2) + "\n")
        aside.replace(file)

    def show(self, console: Console, file: Path) -> None:
        """Print the account for people."""
        console.print(_table("Killed", ["place", "times"], list(self.kills.most_common())))
        console.print(_table("Faults that struck", ["vendor and kind", "times"], list(self.faults.most_common())))
        columns = list(next(iter(self.streams.values()), {}))
        rows = [(flow, *(numbers[name] for name in columns)) for flow, numbers in self.streams.items()]
        console.print(_table("Flows", ["flow", *columns], rows))
        console.print(_table("Found", ["what", "times", "which means"], [
            (kind, count, KINDS[kind]) for kind, count in self.counts.items()
        ]))  # fmt: skip
        for finding in self.findings[:20]:
            console.print(f"  {finding.kind}: {finding.flow} {finding.key}: {finding.text}", style="red", markup=False)
        if len(self.findings) > 20:
            console.print(f"  ... and {len(self.findings) - 20} more", style="red")
        kills, faults = sum(self.kills.values()), sum(self.faults.values())
        sums = f"{kills} kills, {faults} faults in {self.seconds:.0f} s. Seed {self.seed}. Report: {file}"
        if self.is_sound:
            console.print(f"Nothing lost, nothing doubled, nothing wrong: {sums}", style="bold green")
        else:
            console.print(f"{len(self.findings)} findings: {sums}", style="bold red")
            console.print(f"See it again: {self.again}", markup=False, soft_wrap=True)


def _table(title: str, columns: list[str], rows: list[tuple[Any, ...]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[number], int) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    return table
