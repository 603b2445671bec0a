"""Runs of the assets on a real instance: what they note, what they say, and what a failure keeps."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from engage_pipelines.definitions import build_defs
from engage_pipelines.ingest import Spool
from engage_pipelines.operations import Desk
from engage_pipelines.orchestration.runs import InProcess
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import KEYS, calls_of, desk_of, pull_and_load, put, rows
from engage_pipelines_tests.orchestration.own_process import run_job
from engage_pipelines_tests.small_shop import DAYS

WEEK = ["2024-03-28", "2024-03-29", "2024-03-30", "2024-03-31", "2024-04-01", "2024-04-02", "2024-04-03"]
RAW = [
    ("raw", f"square__{name}")
    for name in ("locations", "catalog", "customers", "inventory_counts", "orders", "payments", "refunds")
]
CORE = [
    ("core", name)
    for name in ("stores", "products", "inventory_levels", "customers", "transactions", "transaction_lines",
                 "transaction_tenders", "payments")
]  # fmt: skip


def _runner(desk: Desk, instance: dg.DagsterInstance) -> InProcess:
    return InProcess(build_defs(desk=desk), instance)


def _days(instance: dg.DagsterInstance, *path: str) -> list[str]:
    return sorted(instance.get_materialized_partitions(dg.AssetKey(list(path))))


def _everything_said(instance: dg.DagsterInstance) -> str:
    """All events of all runs, as the UI can show them."""
    return "\n".join(
        dg.serialize_value(record.event_log_entry)
        for run in instance.get_runs()
        for record in instance.get_records_for_run(run.run_id, limit=10_000).records
    )


def test_a_week_in_one_run_notes_each_day_of_each_table(
    desk: Desk, instance: dg.DagsterInstance, sandbox: Sandbox
) -> None:
    runner = _runner(desk, instance)
    said = runner.run_days("nightly", DAYS)
    for path in CORE[3:]:
        assert _days(instance, *path) == WEEK
    assert _days(instance, "aiq", "sales") == _days(instance, "raw", "square__orders") == WEEK
    assert said["raw/square__orders"]["records"] == small_shop.RECEIPTS
    assert said["core/transactions"]["rows"] == small_shop.RECEIPTS + 1
    assert said["aiq/sales"]["accepted"] == small_shop.RECEIPTS - 2 + 1
    assert said["aiq/sales"]["skipped"] == {"open": 1, "voided": 1}
    assert said["ops/published"]["rows core.stores"] == len(small_shop.STORES)
    assert desk.warehouse.published_path.exists()
    assert sandbox.stand_ins["voyado"].report()["receipts_by_channel"] == {"api": 9}

    seen = _everything_said(instance)
    assert [value for value in [*small_shop.personal_values(), *KEYS.values()] if value in seen] == []

    again = runner.run_days("nightly", DAYS, [("aiq", "sales"), ("voyado", "receipts")])
    assert again["aiq/sales"]["calls"] == again["voyado/receipts"]["calls"] == 0


def test_a_week_side_by_side_is_the_same_and_stays_within_each_accounts_limits(
    desk: Desk, instance: dg.DagsterInstance, sandbox: Sandbox
) -> None:
    job = build_defs(desk=desk).resolve_job_def("nightly")
    tags = {"dagster/asset_partition_range_start": WEEK[0], "dagster/asset_partition_range_end": WEEK[-1]}
    run = run_job(job, instance, tags=tags)
    steps = [(step.step_key, step.status.value) for step in instance.get_run_step_stats(run.run_id)]
    assert len(steps) > 30
    assert [key for key, status in steps if status != "SUCCESS"] == []
    for path in CORE[3:]:
        assert _days(instance, *path) == WEEK
    held = sandbox.stand_ins["aiq"].report()
    assert (held["sales"], held["duplicate_sales_received"]) == (small_shop.RECEIPTS - 2 + 1, 0)
    assert sandbox.stand_ins["voyado"].report()["receipts_by_channel"] == {"api": 9}
    # Seven pulls of one till at once, and still no more requests than its account allows.
    for vendor, in_flight in {"square": 2, "aiq": 2, "crmcom": 2, "voyado": 2}.items():
        assert 0 < sandbox.frames[vendor].most_in_flight <= in_flight


def _night(desk: Desk, instance: dg.DagsterInstance) -> dict[str, str]:
    """Run the week side by side, as a night does; gives how each step ended."""
    tags = {"dagster/asset_partition_range_start": WEEK[0], "dagster/asset_partition_range_end": WEEK[-1]}
    run = run_job(build_defs(desk=desk).resolve_job_def("nightly"), instance, tags=tags)
    return {step.step_key: step.status.value for step in instance.get_run_step_stats(run.run_id)}


def _published(desk: Desk, rows_of: str) -> int:
    """How many rows the analysts' copy has."""
    with duckdb.connect(str(desk.warehouse.published_path), read_only=True) as copy:
        ((found,),) = copy.execute(f"select count(*) from {rows_of}").fetchall()
    return int(found)


def test_a_platform_that_fails_holds_up_neither_analysts_nor_other_platforms(
    sandbox: Sandbox, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    desk = desk_of(sandbox.url, tmp_path, keys={**KEYS, "AIQ_API_KEY": "wrong"})
    ended = _night(desk, instance)
    failed = {key for key, status in ended.items() if status == "FAILURE"}
    assert failed == {"aiq__personas"}
    assert ended["ops__published"] == ended["voyado__receipts"] == ended["crmcom__products"] == "SUCCESS"
    assert {"aiq__sales", "aiq__inventory", "ops__deliveries"}.isdisjoint(ended)
    assert _published(desk, "core.transactions") == small_shop.RECEIPTS + 1
    assert sandbox.stand_ins["voyado"].report()["receipts_by_channel"] == {"api": 9}

    # The sensor has the ledger published then: what did go out is told, too.
    assert _published(desk, "ops.deliveries") == 0
    run = run_job(build_defs(desk=desk).resolve_job_def("ledger"), instance)
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert _published(desk, "ops.deliveries where destination = 'voyado' and stream = 'receipts'") > 0


def test_a_pull_that_fails_stops_what_reads_it_and_nothing_else(
    sandbox: Sandbox, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    sandbox.add_fault("square", kind="expired_token", route="inventory/counts")
    ended = _night(desk_of(sandbox.url, tmp_path), instance)
    assert {key for key, status in ended.items() if status == "FAILURE"} == {"raw__square__inventory_counts"}
    assert {"load_inventory_levels", "aiq__inventory"}.isdisjoint(ended)
    # What analysts see is whole, or it is that of the night before.
    assert "ops__published" not in ended
    assert ended["load_transactions"] == ended["aiq__sales"] == ended["voyado__receipts"] == "SUCCESS"
    assert sandbox.stand_ins["aiq"].report()["sales"] == small_shop.RECEIPTS - 2 + 1


def test_days_are_shaped_anew_by_a_tag_and_left_alone_without_it(loaded: Desk, instance: dg.DagsterInstance) -> None:
    job = build_defs(desk=loaded).resolve_job_def("nightly")
    selection = [dg.AssetKey(list(path)) for path in CORE[3:]]
    days = {"dagster/asset_partition_range_start": WEEK[0], "dagster/asset_partition_range_end": WEEK[-1]}
    changed = []
    for extra in ({}, {"engage/anew": "true"}):
        result = job.execute_in_process(instance=instance, tags=days | extra, asset_selection=selection)
        (event,) = result.asset_materializations_for_node("load_transactions")[:1]
        changed.append(event.metadata["changed"].value)
    assert changed[0] == 0
    assert changed[1] >= small_shop.RECEIPTS


def test_a_month_of_history_goes_as_files(loaded: Desk, instance: dg.DagsterInstance, sandbox: Sandbox) -> None:
    runner = _runner(loaded, instance)
    runner.run_days("nightly", DAYS, [("voyado", "stores")])
    for month in ("2024-03-01", "2024-04-01"):
        runner.run_partition("history", month)
    assert _days(instance, "voyado", "receipt_history") == ["2024-03-01", "2024-04-01"]
    held = sandbox.stand_ins["voyado"].report()
    sent = rows(
        loaded,
        "select count(*) from core.transactions where is_countable and customer_id is not null "
        f"and business_on < date '{small_shop.GO_LIVE_ON}'",
    )
    assert held["receipts_by_channel"] == {"file": sent[0][0]}


def test_a_failure_keeps_the_days_before_it(sandbox: Sandbox, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    desk = desk_of(sandbox.url, tmp_path, square={"window_days": 1})
    runner = _runner(desk, instance)
    runner.run_days("nightly", DAYS, RAW)
    source = desk.source("square")
    spools = Spool(desk.settings.data / "lake", "square", "orders").finished()
    broken, manifest = next((f, m) for f, m in spools if desk.settings.day_of(m.window_start) == date(2024, 4, 1))
    whole = (broken / "records.ndjson.zst").read_bytes()
    (broken / "records.ndjson.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match=r"."):
        runner.run_days("nightly", DAYS, CORE)
    assert _days(instance, "core", "transactions") == WEEK[:4]
    assert _days(instance, "core", "payments") == WEEK
    assert _days(instance, "core", "customers") == WEEK
    day = "select count(*) from core.transactions where source_transaction_id like 'O%' and business_on"
    assert rows(desk, f"{day} <= date '2024-03-31'") == [(24,)]
    assert rows(desk, f"{day} > date '2024-03-31'") == [(0,)]
    assert desk.bookmarks.through("square", "orders") == manifest.window_start
    assert manifest.window_start == desk.settings.midnight(date(2024, 4, 1))

    desk.pull(source, desk.entity(source, "orders"), (date(2024, 4, 1), date(2024, 4, 1)))
    runner.run_days("nightly", (date(2024, 4, 1), DAYS[1]), CORE)
    assert _days(instance, "core", "transactions") == WEEK
    assert rows(desk, "select count(*) from core.transactions") == [(small_shop.RECEIPTS + 1,)]


def test_days_with_missing_records_are_not_noted(
    sandbox: Sandbox, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    desk = desk_of(sandbox.url, tmp_path, square={"window_days": 1, "in_flight": 1})
    runner = _runner(desk, instance)
    runner.run_days("nightly", DAYS, [path for path in RAW if path[1] != "square__orders"])
    # The pull and the proof of the first two days, whose last page is full, pass; then two orders are kept back.
    sandbox.add_fault("square", kind="missing_rows", route="orders/search", times=1, after=7)
    runner.run_days("nightly", DAYS, [("raw", "square__orders")])
    sandbox.clear_faults("square")
    with pytest.raises(dg.Failure) as caught:
        runner.run_days("nightly", DAYS, CORE)
    assert caught.value.metadata["error"].value == "IncompleteError"
    assert caught.value.metadata["what_to_do"].value == "run the same days again"
    noted = _days(instance, "core", "transactions")
    assert noted == WEEK[: len(noted)]
    assert 0 < len(noted) < 7


def test_a_failure_says_what_to_do_and_hides_what_is_private(
    sandbox: Sandbox, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    desk = desk_of(sandbox.url, tmp_path, keys={})
    with pytest.raises(dg.Failure) as caught:
        _runner(desk, instance).run_days("nightly", DAYS, [("raw", "square__orders")])
    assert "SQUARE_ACCESS_TOKEN" in str(caught.value.description)
    assert "\n" not in str(caught.value.description)
    assert caught.value.metadata["error"].value == "CredentialsError"
    assert "a person" in str(caught.value.metadata["what_to_do"].value)
    assert caught.value.allow_retries is False
    assert [calls_of(sandbox, vendor) for vendor in sandbox.frames] == [0, 0, 0, 0]


def _checks(desk: Desk, instance: dg.DagsterInstance) -> dict[str, bool]:
    definitions = build_defs(desk=desk)
    job = dg.Definitions(
        assets=definitions.assets, asset_checks=definitions.asset_checks, executor=dg.in_process_executor,
        jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())],
    ).resolve_job_def("checks")  # fmt: skip
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    found: dict[str, bool] = {}
    for evaluation in result.get_asset_check_evaluations():
        found[f"{evaluation.asset_key.to_user_string()} {evaluation.check_name}"] = evaluation.passed
    return found


def test_checks_pass_on_a_good_shop_and_find_damage(
    loaded: Desk, instance: dg.DagsterInstance, sandbox: Sandbox
) -> None:
    good = _checks(loaded, instance)
    assert sum(name.endswith("key_is_unique") for name in good) == len(CORE)
    assert sum(name.endswith("nothing_in_doubt") for name in good) == sum(len(d.streams) for d in loaded.destinations)
    assert [name for name, passed in good.items() if not passed] == []

    with loaded.warehouse.transaction() as connection:
        connection.execute("insert into warehouse.core.stores from warehouse.core.stores limit 1")
        connection.execute("update warehouse.core.transactions set total_amount = total_amount + 1 "
                           "where transaction_id = 'square:O00'")  # fmt: skip
        connection.execute("update warehouse.ops.completeness set is_complete = false, missing_count = 1 "
                           "where location_id = 'L1'")  # fmt: skip
    now = loaded.now()
    loaded.ledger.begin("aiq", "sales", "b", "r", [("square:O00", "h")], now)
    loaded.ledger.find_in_doubt("aiq", "sales")
    put(sandbox, "orders", small_shop.receipt(0))
    bad = _checks(loaded, instance)
    assert {name for name, passed in bad.items() if not passed} == {
        "core/stores key_is_unique", "core/transactions receipts_add_up", "core/transactions windows_are_complete",
        "aiq/sales nothing_in_doubt",
    }  # fmt: skip


def test_a_backfill_leaves_no_trace_of_people_in_the_instance(loaded: Desk, instance: dg.DagsterInstance) -> None:
    pull_and_load(loaded, only=("customers",))
    said: dict[str, Any] = _runner(loaded, instance).run_days("nightly", DAYS, [("aiq", "personas"), ("aiq", "sales")])
    seen = json.dumps(said, default=str)
    assert [value for value in small_shop.personal_values() if value in seen] == []
