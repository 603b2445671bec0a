"""Does every platform hold what it should? Row by row: the source, the ledger and the stand-in's own record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engage_pipelines.operations import Desk
from engage_pipelines_tests.chaos.held import READERS, Held, read
from engage_pipelines_tests.chaos.poison import Poison
from engage_pipelines_tests.chaos.report import Report
from engage_pipelines_tests.chaos.versions import Shaped, Versions
from engage_pipelines_tests.chaos.world import World
from engage_pipelines_tests.ledger_rows import mirrored

Row = dict[str, Any]
_HELD_STATES = ("delivered", "accepted")
_OPEN_STATES = ("sending", "pending", "in_doubt")
# Flow -> vendor and kind of its journal.
_GIVES_POINTS = {"aiq/sales": ("aiq", "sales"), "voyado/receipts": ("voyado", "receipts")}
# What Voyado writes into its log when a receipt came to harm: kind of entry -> kind of finding.
_HARM = {
    "receipt_dropped": "lost", "receipt_refused": "wrong", "receipt_part_lost": "wrong", "file_failed": "lost",
    "ghost_store_created": "wrong", "contact_skipped": "lost",
}  # fmt: skip


def ledger_of(desk: Desk) -> dict[str, dict[str, Row]]:
    """The ledger: flow -> record key -> row."""
    found: dict[str, dict[str, Row]] = {}
    for row in mirrored(desk.ledger)["ops.deliveries"].to_pylist():
        found.setdefault(f"{row['destination']}/{row['stream']}", {})[row["record_key"]] = row
    return found


def find_unnoted(world: World, desk: Desk, versions: Versions, report: Report) -> None:
    """Note what a platform holds and the ledger has never heard of: step 1 comes before the call, always."""
    ledger = ledger_of(desk)
    for flow, payloads in versions.payloads.items():
        reader, noted = READERS[flow], ledger.get(flow, {})
        known = {reader.key_in(versions.payload(flow, k, h)) for k in payloads if k in noted for h in payloads[k]}
        for key in read(world, flow).keys() - known:
            report.find("unnoted", flow, key, "held by the platform, unknown to the ledger")


@dataclass(slots=True)
class Comparison:
    """The comparison of one flow.

    Attributes:
        flow: `<destination>/<ledger stream>`.
        immutable: True if the platform can never change a record.
        versions: what the source says.
        ledger: its rows by record key.
        held: what the platform holds, by its own key.
        poison: rows that must be rejected.
        report: where findings go.
    """

    flow: str
    immutable: bool
    versions: Versions
    ledger: dict[str, Row]
    held: dict[str, Held]
    poison: Poison
    report: Report

    def run(self) -> None:
        """Compare every record of the source, then look for what nobody knows."""
        present = self.versions.present[self.flow]
        for key, shaped in present.items():
            row = self.ledger.get(key)
            if shaped.goes and self.poison.has(self.flow, shaped.payload):
                self._poisoned(key, row)
            elif shaped.goes and self.poison.blocks(self.flow, shaped.payload):
                self._blocked(key, row)
            elif shaped.goes:
                self._wanted(key, shaped, row)
            else:
                self._unwanted(key, shaped, row)
        for key in self.ledger.keys() - present.keys():
            self._find("duplicated", key, "in the ledger, and no longer in core")
        self._nobodys()

    def _wanted(self, key: str, shaped: Shaped, row: Row | None) -> None:
        if row is None:
            self._find("lost", key, "never delivered: the ledger does not know it")
        elif row["state"] in _OPEN_STATES:
            self._find("unsettled", key, f"{row['state']}: {row['reason']}")
        elif row["state"] == "rejected":
            self._find("wrongly_rejected", key, str(row["reason"]))
        elif row["state"] == "diverged":
            self._diverged(key, shaped, row)
        elif row["delivered_hash"] != shaped.hash:
            self._find("wrong", key, "the ledger says it is delivered, but not in the version that the source has")
        else:
            self._holds_version(key, row)

    def _diverged(self, key: str, shaped: Shaped, row: Row) -> None:
        if not self.immutable or row["delivered_hash"] == shaped.hash:
            self._find("wrongly_diverged", key, str(row["reason"]))
        self._holds_version(key, row)

    def _unwanted(self, key: str, shaped: Shaped, row: Row | None) -> None:
        if row is None:
            return
        if row["state"] in _OPEN_STATES:
            self._find("unsettled", key, f"{row['state']}, the source says: {shaped.skipped or shaped.rejected}")
        elif row["delivered_hash"] is not None:
            if row["state"] != "diverged":
                self._find("wrong", key, f"{row['state']}, although the source says: {shaped.skipped}")
            self._holds_version(key, row)
        elif row["state"] == "diverged":
            self._find("wrongly_diverged", key, "never delivered")

    def _poisoned(self, key: str, row: Row | None) -> None:
        if row is None or row["state"] != "rejected" or not row["reason"]:
            self._find("not_isolated", key, f"a poison row is {row['state'] if row else 'unknown to the ledger'}")

    def _blocked(self, key: str, row: Row | None) -> None:
        """Whom the platform does not know it must not be told of: it takes the call and loses the record."""
        if row is not None and (row["delivered_hash"] is not None or row["state"] in _HELD_STATES):
            self._find("lost", key, f"{row['state']}, although the platform has refused the person on it")

    def _holds_version(self, key: str, row: Row) -> None:
        """What the ledger says is there must be there, once, in that version."""
        payload = self.versions.payload(self.flow, key, row["delivered_hash"])
        if payload is None:
            self._find("wrong", key, f"{row['state']} in a version that the source never had")
            return
        reader = READERS[self.flow]
        held = self.held.get(reader.key_in(payload))
        if held is None:
            self._find("lost", key, f"{row['state']} by the ledger, and not at the platform")
        elif held.records > 1:
            self._find("duplicated", key, f"{held.records} records at the platform")
        elif not reader.is_same(payload, held.content):
            self._find("wrong", key, "the platform holds other contents than the ledger says")

    def _nobodys(self) -> None:
        ours: set[str] = set()
        for key, versions in self.versions.payloads[self.flow].items():
            row = self.ledger.get(key)
            if row is not None and row["delivered_hash"] is not None:
                ours |= {READERS[self.flow].key_in(self.versions.payload(self.flow, key, each)) for each in versions}
        for key in self.held.keys() - ours:
            self._find("unnoted", key, "held by the platform, not delivered by the ledger")

    def _find(self, kind: str, key: str, text: str) -> None:
        self.report.find(kind, self.flow, key, text)


def compare_platforms(world: World, desk: Desk, versions: Versions, poison: Poison, report: Report) -> None:
    """Compare every flow, and read Voyado's log for harm."""
    ledger = ledger_of(desk)
    for flow in versions.present:
        destination = desk.destination(flow.partition("/")[0])
        immutable = any(s.immutable for s in destination.streams if f"{destination.name}/{s.ledger_name}" == flow)
        rows = ledger.get(flow, {})
        Comparison(flow, immutable, versions, rows, read(world, flow), poison, report).run()
        _find_applied_again(world, flow, versions, report)
    if "voyado" in world.destinations:
        for entry in world.held("voyado", "integration_log"):
            if kind := _HARM.get(entry["kind"]):
                report.find(kind, "voyado log", entry["key"], f"{entry['kind']}: {entry['message']}")


def _find_applied_again(world: World, flow: str, versions: Versions, report: Report) -> None:
    """A receipt has one effect per version that there was, however often it was sent: points are not given twice."""
    if flow not in _GIVES_POINTS:
        return
    key_in, applied = READERS[flow].key_in, world.applied(*_GIVES_POINTS[flow])
    for key, payloads in versions.payloads[flow].items():
        at_platform = key_in(versions.payload(flow, key, next(iter(payloads))))
        if applied.get(at_platform, 0) > len(payloads):
            text = f"had an effect {applied[at_platform]} times, there were {len(payloads)} versions of it"
            report.find("duplicated", flow, key, text)
