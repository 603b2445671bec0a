"""Settings, keys and a desk for an installation whose vendors are the stand-ins."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from engage_pipelines.connector import Destination, Source
from engage_pipelines.http_client import RetryPolicy
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines.settings import parse_settings
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests import small_shop

KEYS = {
    "SQUARE_ACCESS_TOKEN": "sandbox-square-token",
    "AIQ_API_KEY": "sandbox-aiq-key",
    "CRMCOM_WEB_API_KEY": "SANDBOXCRMCOMWEBAPIKEY0000000001",
    "VOYADO_API_KEY": "sandbox-voyado-key",
}
WRONG_KEYS = {name: f"wrong-key-of-{name.lower().replace('_', '-')}" for name in KEYS}


def settings_content(url: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """engage.toml as a dictionary; `changes` are keys by table, e.g. `square={"page_size": 3}`."""
    return {
        "operator": {"time_zone": "Europe/London", "default_country": "GB", **changes.get("operator", {})},
        "warehouse": {"memory_limit": "400MB", "wait_seconds": 20},
        "schedules": changes.get("schedules", {}),
        "alerts": changes.get("alerts", {}),
        "sources": {
            "square": {
                "base_url": f"{url}/square", "history_from": small_shop.FIRST_DAY, "page_size": 5, "in_flight": 2,
                "window_days": 3, **changes.get("square", {}),
            },
        },
        "destinations": {
            "aiq": {
                "base_url": f"{url}/aiq", "uid": "1001", "rates": ["1000/s"], "batch_items": {"sales": 10},
                **changes.get("aiq", {}),
            },
            "crmcom": {"base_url": f"{url}/crmcom", "rates": ["1000/s"], **changes.get("crmcom", {})},
            "voyado": {
                "base_url": f"{url}/voyado", "rates": ["1000/s"], "group_currency": "GBP", "in_flight": 2,
                "exchange_rates": {"EUR": "0.85"}, "go_live_on": small_shop.GO_LIVE_ON, "retry_first_wait": 0.0,
                "drop": f"folder:{folder / 'stand-ins' / 'voyado' / 'drop'}", **changes.get("voyado", {}),
            },
        },
    }  # fmt: skip


def write_keys(folder: Path, keys: Mapping[str, str] = KEYS) -> None:
    """Write the `.env` beside engage.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in keys.items()))


def desk_of(
    url: str, folder: Path, *, keys: Mapping[str, str] = KEYS, now: Callable[[], datetime] = lambda: small_shop.NOW,
    **changes: Any,
) -> Desk:  # fmt: skip
    """A desk whose settings and data are in `folder`."""
    write_keys(folder, keys)
    return Desk(parse_settings(settings_content(url, folder, **changes), folder / "engage.toml"), now=now)


def write_settings(url: str, folder: Path, **changes: Any) -> Path:
    """Write engage.toml and `.env`; gives the file."""
    write_keys(folder)
    file = folder / "engage.toml"
    file.write_text(_toml(settings_content(url, folder, **changes)))
    return file


def _toml(content: Mapping[str, Any], prefix: str = "") -> str:
    plain, tables = [], []
    for key, value in content.items():
        if isinstance(value, Mapping):
            tables.append(f"[{prefix}{key}]\n{_toml(value, f'{prefix}{key}.')}")
        else:
            plain.append(f"{key} = {json.dumps(value) if not hasattr(value, 'isoformat') else value.isoformat()}\n")
    return "".join(plain) + "".join(tables)


def impatient(client: Any, *, attempts: int = 5, timeout: float | None = None) -> Any:
    """The client without waits between tries and, on request, with a short time-out."""
    client.retry = RetryPolicy(attempts=attempts, first_wait=0.0)
    if timeout is not None:
        client._http.timeout = httpx.Timeout(timeout)
    return client


def fast_source(source: Source, **patience: Any) -> Source:
    """The till, connected with an impatient client."""
    return replace(source, connect=lambda *given: impatient(source.connect(*given), **patience))


def fast_destination(destination: Destination, **patience: Any) -> Destination:
    """The platform, connected with an impatient client."""

    def connect(*given: Any) -> Any:
        session = destination.connect(*given)
        impatient(session.client, **patience)
        return session

    return replace(destination, connect=connect)


def pull_and_load(
    desk: Desk, days: tuple[Any, Any] = small_shop.DAYS, *, reread: bool = False, only: Collection[str] = ()
) -> None:
    """Pull and load everything (or only some entities), in the order of the declaration."""
    for source in desk.sources:
        entities = [entity for entity in source.entities if not only or entity.name in only]
        for entity in entities:
            desk.pull(source, entity, days, reread=reread)
        for entity in entities:
            desk.load(source, entity, days, reread=reread and entity.windowed)


def selection_of(desk: Desk, destination: Destination, stream: Any) -> Selection:
    """Every record of the week, as the stream selects them."""
    go_live_on = desk.go_live_on(destination)
    if stream.history and go_live_on:
        return Selection(business=(small_shop.FIRST_DAY, go_live_on))
    if stream.windowed:
        return Selection(touched=desk.range_of(small_shop.DAYS))
    return Selection()


def rows(desk: Desk, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query over the warehouse."""
    with desk.warehouse.connection() as connection:
        return connection.execute(query).fetchall()


def calls_of(sandbox: Sandbox, vendor: str) -> int:
    """How many calls a stand-in has answered."""
    return sum(sandbox.frames[vendor].calls.values())


def listed(sandbox: Sandbox, vendor: str, kind: str) -> list[dict[str, Any]]:
    """What a stand-in holds of one kind."""
    answer = httpx.get(f"{sandbox.url}/_sandbox/{vendor}/records/{kind}", params={"limit": 10_000})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["records"]
    return found


def put(sandbox: Sandbox, kind: str, *records: Mapping[str, Any]) -> None:
    """Put records on Square's till."""
    httpx.post(f"{sandbox.url}/square/_shop/{kind}", json={kind: list(records)}).raise_for_status()
