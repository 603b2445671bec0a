"""The map: what is in it follows from the lists, and loading it needs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from engage_pipelines.definitions import build_defs
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.model import CORE_TABLES
from engage_pipelines.operations import Desk
from engage_pipelines.orchestration.side_by_side import side_by_side_executor
from engage_pipelines.settings import Settings
from engage_pipelines.sources import SOURCES
from engage_pipelines_tests.installation import desk_of

ROOT = Path(__file__).parents[1]
LOADED = {table for source in SOURCES for entity in source.entities for table in entity.tables}
NOWHERE = "http://127.0.0.1:9"
_LOAD = """
import socket
def refuse(*_): raise SystemExit("the network was used")
socket.socket.connect = refuse
from engage_pipelines.definitions import defs
defs.resolve_job_def("nightly")
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_of(NOWHERE, tmp_path, keys={})


@pytest.fixture
def definitions(desk: Desk) -> dg.Definitions:
    return build_defs(desk=desk)


def _keys(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def test_the_assets_are_what_the_lists_imply(definitions: dg.Definitions) -> None:
    implied = {f"raw/{source.name}__{entity.name}" for source in SOURCES for entity in source.entities}
    implied |= {f"core/{table.name}" for table in CORE_TABLES if table.name in LOADED}
    implied |= {f"{destination.name}/{stream.name}" for destination in DESTINATIONS for stream in destination.streams}
    assert _keys(definitions) == implied | {"ops/published", "ops/deliveries"}


def test_the_names_that_people_know_are_there(definitions: dg.Definitions) -> None:
    wanted = {
        "raw/square__orders", "raw/square__customers", "raw/square__catalog", "raw/square__inventory_counts",
        "raw/square__locations", "raw/square__payments", "raw/square__refunds",
        "core/stores", "core/customers", "core/products", "core/inventory_levels", "core/transactions",
        "core/transaction_lines", "core/transaction_tenders", "core/payments",
        "aiq/sales", "aiq/personas", "aiq/inventory", "crmcom/products",
        "voyado/stores", "voyado/contacts", "voyado/contact_history", "voyado/receipts", "voyado/receipt_history",
        "ops/published", "ops/deliveries",
    }  # fmt: skip
    assert _keys(definitions) == wanted


def test_nothing_is_needed_to_load_the_definitions(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_definitions_load_where_nothing_is_configured(tmp_path: Path) -> None:
    defs = build_defs(Settings(file=tmp_path / "engage.toml"))
    assert _keys(defs) == {"ops/published", "ops/deliveries"}
    dg.Definitions.validate_loadable(defs)


def test_the_workspace_loads_with_dagsters_own_loader() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER")}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "engage_pipelines" in done.stdout + done.stderr


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert len(node.description.split()) >= 3, key
        assert node.group_name not in {"", "default"}, key
        assert node.kinds, key


def test_the_columns_in_the_ui_are_those_of_the_model(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for table in CORE_TABLES:
        key = dg.AssetKey(["core", table.name])
        if key not in graph.get_all_asset_keys():
            continue
        schema = graph.get(key).metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert [(c.name, c.type, c.description, c.constraints.nullable) for c in schema.columns] == [
            (c.name, c.duckdb_type, c.description, not c.required) for c in table.columns
        ]


def test_each_writer_and_each_platform_has_a_pool_of_its_own(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.get_all_asset_keys()}
    assert pools["core/transactions"] == pools["core/products"] == pools["ops/deliveries"] == {"warehouse"}
    assert pools["raw/square__orders"] == {"source_square_orders"}
    for destination in DESTINATIONS:
        for stream in destination.streams:
            assert pools[f"{destination.name}/{stream.name}"] == {f"destination_{destination.name}"}


def test_who_is_waited_for_longest_begins_first_and_readers_are_one_at_a_time(definitions: dg.Definitions) -> None:
    steps = {node.name: node.definition for node in definitions.resolve_job_def("nightly").nodes}
    readers = {name: step for name, step in steps.items() if name.startswith("core__") or name == "ops__published"}
    assert {step.pool for step in readers.values()} == {"readers"}

    def priority(name: str) -> int:
        return int(steps[name].tags.get("dagster/priority", "0"))

    assert priority("voyado__receipts") > priority("aiq__sales") > priority("core__transactions_key_is_unique")
    assert priority("core__transactions_key_is_unique") > priority("ops__published")


def test_steps_run_side_by_side_in_the_process_of_the_run(definitions: dg.Definitions) -> None:
    assert definitions.executor is side_by_side_executor
    for job in ("nightly", "history"):
        assert definitions.resolve_job_def(job).executor_def is side_by_side_executor


def test_the_nightly_job_has_everything_but_history(definitions: dg.Definitions) -> None:
    history = {f"{d.name}/{s.name}" for d in DESTINATIONS for s in d.streams if s.history}
    graph = definitions.resolve_asset_graph()

    def assets(job: str) -> set[str]:
        selected = definitions.resolve_job_def(job).asset_layer.selected_asset_keys
        return {key.to_user_string() for key in selected}

    assert assets("history") == history
    assert assets("nightly") == {key.to_user_string() for key in graph.get_all_asset_keys()} - history


def test_order_follows_from_dependencies(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def parents(*path: str) -> set[str]:
        return {key.to_user_string() for key in graph.get(dg.AssetKey(list(path))).parent_keys}

    assert "raw/square__orders" in parents("core", "transactions")
    assert {"core/transactions", "aiq/personas"} <= parents("aiq", "sales")
    assert {"core/inventory_levels", "aiq/sales"} <= parents("aiq", "inventory")
    assert {"core/transactions", "voyado/contacts"} <= parents("voyado", "receipts")
    assert "voyado/contact_history" in parents("voyado", "receipt_history")
    assert parents("ops", "published") == {f"core/{table.name}" for table in CORE_TABLES if table.name in LOADED}
    assert {"aiq/sales", "voyado/receipts", "ops/published"} <= parents("ops", "deliveries")


def test_payments_are_compared_with_receipts_once_both_are_loaded(definitions: dg.Definitions) -> None:
    steps = definitions.resolve_job_def("nightly").graph.dependencies
    (inputs,) = (needs for step, needs in steps.items() if step.name == "core__payments_payments_agree")
    assert {need.node for need in inputs.values() if isinstance(need, dg.DependencyDefinition)} == {
        "load_payments", "load_transactions",
    }  # fmt: skip


def test_what_the_sql_reads_is_loaded_before(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def loaded_before(*path: str) -> set[str]:
        return {key.path[1] for key in graph.get(dg.AssetKey(list(path))).parent_keys if key.path[0] == "core"}

    # A refund finds its receipt through its payment, a line its product, and each its day in the store's time zone.
    assert loaded_before("core", "transactions") == {"payments", "products", "stores"}
    assert loaded_before("core", "customers") == loaded_before("core", "payments") == {"stores"}
    assert loaded_before("core", "inventory_levels") == loaded_before("core", "stores") == set()
    assert loaded_before("aiq", "inventory") == {"inventory_levels", "products", "stores"}
    assert loaded_before("voyado", "receipts") == {
        "customers", "products", "stores", "transactions", "transaction_lines", "transaction_tenders",
    }  # fmt: skip
