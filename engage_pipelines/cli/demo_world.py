"""The world of the demonstration: a shop, the stand-ins, the settings that point at them."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from string import Template
from typing import Any

from filelock import FileLock, Timeout

from engage_pipelines.errors import ConfigError
from engage_pipelines.http_client import VendorClient
from engage_pipelines.sandbox.process import SandboxProcess, start_sandbox_process
from engage_pipelines.settings import CONFIG_VARIABLE, set_environment

# The stand-ins know these keys and nobody else does: they open nothing.
_KEYS = {
    "SQUARE_ACCESS_TOKEN": "sandbox-square-token",
    "AIQ_API_KEY": "sandbox-aiq-key",
    "CRMCOM_WEB_API_KEY": "SANDBOXCRMCOMWEBAPIKEY0000000001",
    "VOYADO_API_KEY": "sandbox-voyado-key",
}


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop and its calendar.

    Attributes:
        kind: `made-up` or `online-retail`.
        history_from: first day of sales.
        go_live_on: first day that goes to Voyado live.
        last_day: last day of sales.
        receipts: receipts of the made-up shop.
        parquet: file of the real shop.
    """

    kind: str
    history_from: date
    go_live_on: date
    last_day: date
    receipts: int = 0
    parquet: Path | None = None

    @property
    def label(self) -> str:
        """What distinguishes this shop's state from another's."""
        return f"{self.kind} {self.receipts or ''}".strip()


def made_up(receipts: int) -> Shop:
    """The bundled shop: three stores, two time zones, two currencies, 24 months and two weeks."""
    return Shop("made-up", date(2024, 10, 1), date(2026, 10, 1), date(2026, 10, 14), receipts)


def online_retail(parquet: Path) -> Shop:
    """The real wholesaler whose invoices are in `parquet`."""
    if not parquet.is_file():
        raise ConfigError(f"SHOP {parquet}: no such file")
    return Shop("online-retail", date(2010, 12, 1), date(2011, 12, 1), date(2011, 12, 9), parquet=parquet)


@dataclass(frozen=True, slots=True)
class World:
    """The running demonstration: folder, settings file, and where the stand-ins answer."""

    folder: Path
    config: Path
    url: str

    def ask(self, path: str) -> Any:
        """Ask the sandbox's inspection API."""
        with VendorClient("sandbox", self.url) as client:
            return client.call("GET", f"_sandbox/{path}").json()

    def tell(self, path: str) -> Any:
        """Pull a lever of the sandbox."""
        with VendorClient("sandbox", self.url) as client:
            return client.call("POST", f"_sandbox/{path}", json={}).json()


@contextmanager
def running_world(data: Path, shop: Shop, *, on_filling: Callable[[int, int], None]) -> Iterator[World]:
    """Start the stand-ins over `data/demo` and write the settings that point at them.

    The same folder gives the same world, so a second run meets what the first one left.

    Raises:
        ConfigError: another process runs a world in this folder.
    """
    folder = data / "demo"
    with _alone_in(data), _stand_ins(data, folder, shop, on_filling) as sandbox:
        world = World(folder, folder / "engage.toml", sandbox.url)
        (folder / "port").write_text(sandbox.url.rsplit(":", 1)[1])
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in _KEYS.items()))
        world.config.write_text(_settings(world, shop))
        set_environment(**{CONFIG_VARIABLE: str(world.config)})
        yield world


@contextmanager
def _alone_in(data: Path) -> Iterator[None]:
    data.mkdir(parents=True, exist_ok=True)
    try:
        # Beside the folder, which goes when another shop comes.
        with FileLock(data / "demo.lock", timeout=0):
            yield
    except Timeout:
        raise ConfigError(
            f"{data / 'demo'} is in use by another `engage demo`, `engage dev` or `engage sandbox`: "
            "stop that one, or choose another folder with --data (DATA=<folder> with make)"
        ) from None


@contextmanager
def _stand_ins(
    data: Path, folder: Path, shop: Shop, on_filling: Callable[[int, int], None]
) -> Iterator[SandboxProcess]:
    _forget_other_shop(data, folder, shop)
    with start_sandbox_process(
        folder / "sandbox", port=_known_port(folder), shop=shop.kind, receipts=shop.receipts or 1,
        retail_parquet=shop.parquet, progress=on_filling,
    ) as sandbox:  # fmt: skip
        yield sandbox


def prepare_instance(data: Path, project: Path) -> None:
    """Point Dagster at `data/dagster`, with the project's dagster.yaml."""
    home = data / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(project / "dagster.yaml", home / "dagster.yaml")
    set_environment(DAGSTER_HOME=str(home), DAGSTER_EVENT_BATCH_SIZE="1000")


def _forget_other_shop(data: Path, folder: Path, shop: Shop) -> None:
    marker = folder / "shop"
    if marker.exists() and marker.read_text() != shop.label:
        # Two shops in one warehouse would balance with neither.
        shutil.rmtree(folder)
        shutil.rmtree(data / "dagster", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(shop.label)


def _known_port(folder: Path) -> int:
    """The port of the last time, 0 (any) the first time or if another program has taken it since."""
    file = folder / "port"
    port = int(file.read_text()) if file.exists() else 0
    with socket.socket() as probe:
        # As the server itself asks for it: what has just closed does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _settings(world: World, shop: Shop) -> str:
    template = Template((Path(__file__).parent / "demo.toml").read_text(encoding="utf-8"))
    limits = {}
    for vendor in ("aiq", "crmcom", "voyado"):
        declared = world.ask(f"{vendor}/limits")
        rates = [f'"{int(requests)}/{seconds:g}s"' for requests, seconds in declared["rates"]]
        limits[f"{vendor}_rates"] = ", ".join(rates)
        limits[f"{vendor}_in_flight"] = str(declared["in_flight"])
    return template.substitute(
        limits, time_zone="Europe/London", url=world.url, history_from=shop.history_from.isoformat(),
        go_live_on=shop.go_live_on.isoformat(), drop=world.folder / "sandbox" / "voyado" / "drop",
        stores=_stores(world),
    )  # fmt: skip


def _stores(world: World) -> str:
    with VendorClient(
        "square", f"{world.url}/square",
        headers={"Authorization": f"Bearer {_KEYS['SQUARE_ACCESS_TOKEN']}", "Square-Version": "2025-08-20"},
    ) as client:  # fmt: skip
        locations = client.call("GET", "v2/locations").json()["locations"]
    lines = []
    for number, location in enumerate(sorted(locations, key=lambda each: each["id"]), start=1):
        slug = "".join(c if c.isalnum() else "-" for c in location["name"].lower())
        lines.append(
            f'\n[stores."square:{location["id"]}"]\naiq = "Store{number}"\nvoyado = "store{number:02}-{slug}"\n'
        )
    return "".join(lines)
