"""Delivering into the product's sandbox while things go wrong, and counting what the platform has in the end.

1 % of the rows are refused by the platform (in an answer of status 200), 0.5 % of the calls fail with 503 before
anything is done, 0.2 % are worked off and then the connection is lost. Two nights: what the first one leaves is the
second one's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.processes import Measured, run
from engage_pipelines.sandbox.process import start_sandbox_process

KEY = "SANDBOXCRMCOMWEBAPIKEY0000000001"
_ROUTE = "products/synchronise"
_FAULTS = (
    {"kind": "poison", "route": _ROUTE, "share": 0.01, "by_row": True, "seed": 7},
    {"kind": "status", "status": 503, "route": _ROUTE, "probability": 0.005, "seed": 1},
    {"kind": "reset_after", "route": _ROUTE, "probability": 0.002, "seed": 11},
)
_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a platform holds after a contender's two runs, beside what the contender says.

    Attributes:
        sent: rows that there were.
        poisoned: rows that the platform refuses.
        held: different rows at the platform.
        twice: rows that it holds twice.
        lost: sound rows that it does not hold.
        sent_again: how often a row came that was there already.
        told_delivered: rows that the contender says are there.
        falsely_told: of those, rows that are not there.
        told_refused: rows that the contender knows to be refused.
        calls: calls of both runs.
        struck: how often each fault struck.
    """

    sent: int
    poisoned: int
    held: int
    twice: int
    lost: int
    sent_again: int
    told_delivered: int
    falsely_told: int
    told_refused: int
    calls: int
    struck: dict[str, int]


@contextmanager
def faulty_sandbox(folder: Path) -> Iterator[str]:
    """The sandbox's CRM.COM with faults and without a rate; yields its address."""
    with start_sandbox_process(folder, vendors=["crmcom"]) as sandbox:
        url = f"{sandbox.url}/_sandbox/crmcom"
        httpx.put(f"{url}/limits", json={"rates": [[100_000, 1]], "in_flight": 64}).raise_for_status()
        httpx.post(f"{url}/faults", json=list(_FAULTS)).raise_for_status()
        yield sandbox.url


def token_of(url: str) -> str:
    """A token for a contender that cannot log in itself."""
    answer = httpx.post(f"{url}/crmcom/crmapi/rest/v2/authentication/web_api_key/token", auth=(KEY, ""), json={})
    token: str = answer.raise_for_status().json()["data"]["token"]
    return token


def measure(command: Callable[[str], list[str]], folder: Path, rows: int) -> tuple[Measured, Accounts]:
    """Let a contender deliver into a faulty sandbox; its measures, and what came of it."""
    with faulty_sandbox(folder / "sandbox") as url:
        measured = run(command(url), folder=folder)
        return measured, _accounts(url, rows, measured.result)


def _accounts(url: str, rows: int, result: dict[str, Any]) -> Accounts:
    inspection = f"{url}/_sandbox/crmcom"
    records = list(_records(inspection))
    codes = [record["key"] for record in records]
    poisoned = set(_poisoned(inspection, rows))
    held = set(codes)
    first, second = result["first"], result["second"]
    # Who sends only what is left adds up; who sends everything again says the last word the second time.
    told = second["delivered"] + (first["delivered"] if "unchanged" in second else 0)
    return Accounts(
        sent=rows, poisoned=len(poisoned), held=len(held), twice=len(codes) - len(held),
        lost=rows - len(poisoned) - len(held - poisoned),
        sent_again=sum(record["times_received"] - 1 for record in records),
        told_delivered=told, falsely_told=max(0, told - len(held)),
        told_refused=first.get("rejected", 0), calls=httpx.get(f"{inspection}/calls").json()["calls"],
        struck=httpx.get(f"{inspection}/faults/summary").json()["struck"],
    )  # fmt: skip


def _records(inspection: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = httpx.get(f"{inspection}/records/products", params={"offset": offset, "limit": _PAGE}, timeout=60)
        records = page.raise_for_status().json()["records"]
        yield from records
        if len(records) < _PAGE:
            return
        offset += _PAGE


def _poisoned(inspection: str, rows: int) -> list[str]:
    codes = [f"SKU-{number:09d}" for number in range(rows)]
    answer = httpx.post(f"{inspection}/faults/poisoned", json={"keys": codes}, timeout=60)
    poisoned: list[str] = answer.raise_for_status().json()["poisoned"]
    return poisoned
