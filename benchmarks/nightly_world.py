"""A chain with so many receipts a day, all vendors on stand-ins, and an installation of the product that serves it.

The shop is the sandbox's made-up one: three stores, two currencies, 1,500 customers, receipts with lines, tenders and
returns. An installation is a folder: settings, keys, its data, the Dagster instance and the stand-ins' state; copied
whole it is the same night once more.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

from benchmarks.processes import HOME
from engage_pipelines.sandbox.process import start_sandbox_process
from engage_pipelines.sandbox.shops import fill_made_up_shop
from engage_pipelines.sandbox.shops.made_up_stores import STORES
from engage_pipelines.sandbox.square import SquareStandIn, documents
from engage_pipelines.sandbox.square.store import Search

Limits = Literal["none", "stand-in"]
VENDORS = ("square", "aiq", "crmcom", "voyado")
_KEYS = {
    "SQUARE_ACCESS_TOKEN": "sandbox-square-token", "AIQ_API_KEY": "sandbox-aiq-key",
    "CRMCOM_WEB_API_KEY": "SANDBOXCRMCOMWEBAPIKEY0000000001", "VOYADO_API_KEY": "sandbox-voyado-key",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop's calendar and size.

    Attributes:
        first: first day of sales and of history.
        last: last day of sales.
        receipts: in all these days.
        go_live_on: first day that goes to Voyado receipt by receipt.
    """

    first: date
    last: date
    receipts: int
    go_live_on: date


def busy_days(receipts_a_day: int) -> Shop:
    """Five days, of which the last one, a Wednesday, has that many receipts; the four before it are re-read.

    The last two go to Voyado one by one.
    """
    # The made-up shop has 150, 86, 88, 90 and 96 visitors from Saturday to Wednesday.
    last = date(2026, 10, 14)
    return Shop(last - timedelta(days=4), last, receipts_a_day * 510 // 96, last - timedelta(days=1))


def quiet_years(days: int, receipts_a_day: int) -> Shop:
    """Many days with few receipts each; the last two weeks go to Voyado one by one."""
    last = date(2026, 10, 14)
    return Shop(last - timedelta(days=days - 1), last, days * receipts_a_day, last - timedelta(days=min(days, 14) - 1))


def build(folder: Path, shop: Shop) -> None:
    """Fill the till of a new installation."""
    folder.mkdir(parents=True)
    till = SquareStandIn(folder / "sandbox" / "square")
    fill_made_up_shop(till, receipts=shop.receipts, first_day=shop.first, last_day=shop.last)
    till.close()
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in _KEYS.items()))
    (folder / "dagster").mkdir()
    shutil.copyfile(HOME / "dagster.yaml", folder / "dagster" / "dagster.yaml")


def restock(folder: Path, shop: Shop) -> None:
    """On the last day every third product gets another name, and every third shelf another count."""
    till = SquareStandIn(folder / "sandbox" / "square")
    changed = datetime.combine(shop.last, time(12), UTC).isoformat().replace("+00:00", "Z")
    with till.store.transaction():
        for found in _every_third(till, "catalog"):
            item = json.loads(found)
            if item["type"] == "ITEM":
                item |= {"updated_at": changed, "version": item["version"] + 1}
                item["item_data"]["name"] += " (new)"
                till.store.put(documents.catalog_documents(item))
        for found in _every_third(till, "count"):
            count = json.loads(found)
            count |= {"calculated_at": changed, "quantity": str(int(float(count["quantity"])) + 1)}
            till.store.put([documents.count_document(count)])
    till.close()


def _every_third(till: SquareStandIn, kind: str) -> list[bytes]:
    return [found.body for found in till.store.page(Search(kind), None, 1_000_000)][::3]


@contextmanager
def serving(folder: Path, shop: Shop, limits: Limits) -> Iterator[str]:
    """The stand-ins of an installation, and its settings pointing at them; yields their address.

    Args:
        folder: the installation.
        shop: whose days the settings name.
        limits: `none` on either side, or those that the stand-ins enforce (`stand-in`: 200 to 400 calls a second,
            CRM.COM 50).
    """
    with start_sandbox_process(folder / "sandbox") as running:
        told = {vendor: _limits_of(f"{running.url}/_sandbox/{vendor}/limits", limits) for vendor in VENDORS}
        stores = "".join(
            f'[stores."square:{store.location_id}"]\naiq = "Store{number}"\nvoyado = "store{number:02}"\n'
            for number, store in enumerate(STORES, start=1)
        )
        (folder / "engage.toml").write_text(_SETTINGS.format(
            url=running.url, first=shop.first, go_live_on=shop.go_live_on, stores=stores, **told,
            drop=folder / "sandbox" / "voyado" / "drop",
        ))  # fmt: skip
        yield running.url


def received(url: str) -> dict[str, Any]:
    """What the platforms say they have, and how many calls each vendor answered."""
    aiq, crmcom, voyado = (_get(f"{url}/_sandbox/{vendor}") for vendor in VENDORS[1:])
    return {
        "held": {"aiq": aiq, "crmcom": crmcom, "voyado": voyado},
        "calls": {vendor: _get(f"{url}/_sandbox/{vendor}/calls")["calls"] for vendor in VENDORS},
    }


def environment(folder: Path) -> dict[str, str]:
    """What a process of this installation is started with, as the README has it."""
    return {
        "ENGAGE_CONFIG": str(folder / "engage.toml"), "DAGSTER_HOME": str(folder / "dagster"),
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
    }  # fmt: skip


def _limits_of(url: str, limits: Limits) -> str:
    """A vendor's lines in engage.toml; where there are to be no limits, the stand-in has none either."""
    if limits == "none":
        _put(url, {"rates": [], "enforced": False})
        return "rates = []"
    declared = _get(url)
    rates = ", ".join(f'"{int(requests)}/{seconds:g}s"' for requests, seconds in declared["rates"])
    return f"rates = [{rates}]\nin_flight = {declared['in_flight']}"


_SETTINGS = """
[operator]
time_zone = "Europe/London"
default_country = "GB"

[sources.square]
base_url = "{url}/square"
history_from = {first}
{square}
[destinations.aiq]
base_url = "{url}/aiq"
uid = "1001"
{aiq}
[destinations.crmcom]
base_url = "{url}/crmcom"
{crmcom}
[destinations.voyado]
base_url = "{url}/voyado"
group_currency = "GBP"
exchange_rates = {{ EUR = "0.85" }}
go_live_on = {go_live_on}
drop = "folder:{drop}"
{voyado}
{stores}
"""


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  loopback
        told: dict[str, Any] = json.load(answer)
    return told


def _put(url: str, value: dict[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(value).encode(), method="PUT")  # noqa: S310  loopback
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310
