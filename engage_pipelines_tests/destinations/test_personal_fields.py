"""What each platform is sent about people stands in fields that are declared as personal."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.operations import Desk
from engage_pipelines.warehouse.database import set_variables
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import desk_of

STREAMS = [(destination, stream) for destination in DESTINATIONS for stream in destination.streams]
PERSONAL = [(destination, stream) for destination, stream in STREAMS if stream.personal]
# Voyado's receipts carry whatever the match key is.
KEY_TYPES = ("externalId", "email", "mobilePhone")
CASES = [
    (destination, stream, changes)
    for destination, stream in STREAMS
    for changes in ([{"match_key_type": each} for each in KEY_TYPES] if destination.name == "voyado" else [{}])
]
NAMES = ("first_name", "last_name", "email", "phone", "street", "postal_code", "reference_id")


def name_of(value: Any) -> str:
    return value.name if isinstance(value, Destination | Stream) else "-".join(value.values())


@pytest.fixture(scope="module")
def desk(loaded_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("personal")
    shutil.copytree(loaded_folder / "data", folder / "data")
    return desk_of("http://127.0.0.1:9", folder, now=lambda: small_shop.NOW + timedelta(hours=1))


def shaped(desk: Desk, destination: Destination, stream: Stream, **changes: Any) -> list[str]:
    """Payloads of everything in the shop, skipped records too."""
    options = next(one for one in desk.destinations if one.name == destination.name).options
    given: Any = {"aiq": {"uid": "1"}, "crmcom": {"base_url": "http://x"}, "voyado": {
        "base_url": "http://x", "group_currency": "GBP", "go_live_on": small_shop.GO_LIVE_ON,
        "exchange_rates": {"EUR": "0.85"},
    }}[destination.name]  # fmt: skip
    channel = {"channel": "history" if stream.history else "api"}
    with desk.warehouse.connection() as connection:
        set_variables(connection, options(**given | changes).model_dump() | channel)
        connection.execute("create or replace temp table store_names (store_id varchar, store_name varchar)")
        connection.execute(f"create or replace temp view selected as select * from core.{stream.selects}")
        found = connection.execute((destination.folder / stream.sql).read_text()).fetchall()
        names = [column[0] for column in connection.description]
    return [row[names.index("payload")] for row in found]


def masked(value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: "*" if name in hidden else masked(inner, hidden) for name, inner in value.items()}
    return [masked(inner, hidden) for inner in value] if isinstance(value, list) else value


def people(desk: Desk) -> set[str]:
    """Every value of a customer that names, addresses or reaches them."""
    with desk.warehouse.connection() as connection:
        rows = connection.execute(f"select {', '.join(NAMES)} from core.customers").fetchall()
    known = {value for row in rows for value in row if value}
    return known | {value.removeprefix("+44") for value in known if value.startswith("+44")}


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for inner in value.values() for name in names_in(inner)}
    return {name for inner in value for name in names_in(inner)} if isinstance(value, list) else set()


@pytest.mark.parametrize(("destination", "stream", "changes"), CASES, ids=name_of)
def test_nobody_is_left_in_a_payload_whose_personal_fields_are_masked(
    desk: Desk, destination: Destination, stream: Stream, changes: dict[str, str]
) -> None:
    payloads = shaped(desk, destination, stream, **changes)
    known = people(desk)
    assert payloads
    assert len(known) > small_shop.CUSTOMERS
    text = "\n".join(json.dumps(masked(json.loads(each), stream.personal), ensure_ascii=False) for each in payloads)
    assert [value for value in known if value in text] == []


@pytest.mark.parametrize(("destination", "stream"), PERSONAL, ids=name_of)
def test_a_personal_field_is_one_that_the_stream_writes(destination: Destination, stream: Stream) -> None:
    sql = (destination.folder / stream.sql).read_text()
    assert [name for name in stream.personal if f"{name}:" not in sql and f'"{name}":' not in sql] == []


def test_customers_are_personal_wherever_they_go() -> None:
    selects = {stream.selects for _, stream in STREAMS if not stream.personal}
    assert selects == {"stores", "products", "inventory_levels"}
