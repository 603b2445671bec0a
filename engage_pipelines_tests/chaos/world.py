"""The world of a campaign: the stand-ins in a process of their own, the settings, and the levers of the sandbox."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.process import start_sandbox_process
from engage_pipelines.settings import load_settings
from engage_pipelines_tests.chaos.shop import FIRST_DAY, GO_LIVE_ON
from engage_pipelines_tests.installation import write_keys

VENDORS = ("square", "aiq", "crmcom", "voyado")
# Tight enough to be felt, and in windows long enough that a busy machine does not blur them.
RATES: Mapping[str, Sequence[tuple[int, float]]] = {
    "aiq": ((80, 5.0), (900, 60.0)),
    "crmcom": ((30, 5.0),),
    "voyado": ((600, 5.0),),
}
IN_FLIGHT = {"aiq": 2, "crmcom": 2, "voyado": 4}
BATCH_ITEMS = {
    "aiq": {"personas": 20, "sales": 25, "inventory": 60},
    "crmcom": {"products": 40},
    "voyado": {"receipt_history": 60},
}
_PAGE = 5_000


@dataclass(frozen=True)
class World:
    """The running stand-ins and the installation that talks to them."""

    folder: Path
    config: Path
    http: httpx.Client
    destinations: tuple[str, ...]
    struck: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)

    def desk(self) -> Desk:
        """A desk of the installation, to look into the warehouse and the ledger."""
        return Desk(load_settings(self.config))

    def report(self, vendor: str) -> dict[str, Any]:
        """What a stand-in holds, in numbers."""
        return dict(self._json("GET", f"_sandbox/{vendor}"))

    def limits(self, vendor: str) -> dict[str, Any]:
        """Its limits and how they were kept."""
        return dict(self._json("GET", f"_sandbox/{vendor}/limits"))

    def calls(self, vendor: str) -> dict[str, dict[str, int]]:
        """Calls so far: route -> status -> count."""
        found: dict[str, dict[str, int]] = self._json("GET", f"_sandbox/{vendor}/calls")["routes"]
        return found

    def held(self, vendor: str, kind: str) -> list[dict[str, Any]]:
        """All records of a kind that a stand-in holds."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._json("GET", f"_sandbox/{vendor}/records/{kind}", params={"limit": _PAGE, "offset": len(found)})
            found += page["records"]
            if not page["records"] or len(found) >= page["total"]:
                return found

    def applied(self, vendor: str, kind: str) -> dict[str, int]:
        """How often each record had an effect, by the stand-in's own journal: creations and changes."""
        path = f"_sandbox/{vendor}/journal/{kind}"
        found: dict[str, int] = {}
        while True:
            page = self._json("GET", path, params={"limit": _PAGE, "offset": len(found)})
            found |= {each["key"]: each["created"] + each["changed"] for each in page["records"]}
            if not page["records"] or len(found) >= page["total"]:
                return found

    def import_files(self) -> None:
        """Let Voyado import the files that wait."""
        self._json("POST", "_sandbox/voyado/import")

    def break_things(self, vendor: str, rules: Sequence[Mapping[str, Any]]) -> None:
        """Put these rules, and no others, into a vendor's fault book."""
        self._count_strikes(vendor)
        self._json("DELETE", f"_sandbox/{vendor}/faults")
        if rules:
            self._json("POST", f"_sandbox/{vendor}/faults", json=list(rules))

    def change_shop(self, kind: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Put whole records on the till."""
        self._json("POST", f"square/_shop/{kind}", json={kind: list(records)})

    def ask_square(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the till by its own API, as anybody with the token can."""
        headers = {"Authorization": "Bearer sandbox-square-token", "Square-Version": "2025-08-20"}
        return dict(self._json(method, f"square/v2/{path}", json=body, headers=headers))

    def all_of_square(self, path: str, name: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Every record that a paged POST of the till lists."""
        found, cursor = [], None
        while True:
            page = self.ask_square("POST", path, {**body, **({"cursor": cursor} if cursor else {})})
            found += page.get(name, [])
            cursor = page.get("cursor")
            if not cursor:
                return found

    def _count_strikes(self, vendor: str) -> None:
        for rule in self._json("GET", f"_sandbox/{vendor}/faults")["faults"]:
            if rule["struck"]:
                self.struck[f"{vendor} {rule['kind']}"] += rule["struck"]
            if rule["kind"] == "throttle":
                self.throttled[vendor] += rule["struck"]

    def _json(self, method: str, path: str, **given: Any) -> Any:
        answer = self.http.request(method, path, **given).raise_for_status()
        # Exact: money and quantities are compared digit by digit.
        return json.loads(answer.content, parse_float=Decimal)


@contextmanager
def running_world(folder: Path, destinations: Sequence[str]) -> Iterator[World]:
    """Serve the stand-ins over `folder/sandbox` and write the settings that point at them."""
    with (
        start_sandbox_process(folder / "sandbox") as sandbox,
        httpx.Client(base_url=sandbox.url, timeout=60.0) as http,
    ):
        world = World(folder, folder / "engage.toml", http, tuple(destinations))
        for vendor, rates in RATES.items():
            world._json("PUT", f"_sandbox/{vendor}/limits", json={"rates": rates, "in_flight": IN_FLIGHT[vendor]})
        write_keys(folder)
        world.config.write_text(_settings(sandbox.url, folder, destinations))
        yield world


def _settings(url: str, folder: Path, destinations: Sequence[str]) -> str:
    own = {
        "aiq": 'uid = "1001"',
        "crmcom": "",
        "voyado": f"""group_currency = "GBP"
exchange_rates = {{ EUR = "0.85" }}
go_live_on = {GO_LIVE_ON}
drop = "folder:{folder / "sandbox" / "voyado" / "drop"}"
retry_first_wait = 0.2""",
    }
    common = f"""[operator]
time_zone = "Europe/London"
[paths]
data = "."
[warehouse]
memory_limit = "320MB"
wait_seconds = 60
[sources.square]
base_url = "{url}/square"
history_from = {FIRST_DAY}
in_flight = 2
window_days = 40
"""
    return common + "".join(
        f'[destinations.{name}]\nbase_url = "{url}/{name}"\nin_flight = {IN_FLIGHT[name]}\n'
        f"rates = [{', '.join(_rate(*rate) for rate in RATES[name])}]\n{own[name]}\n"
        f"[destinations.{name}.batch_items]\n"
        + "".join(f"{stream} = {items}\n" for stream, items in BATCH_ITEMS[name].items())
        for name in destinations
    )


def _rate(requests: int, seconds: float) -> str:
    return f'"{requests}/{seconds:g}s"'
