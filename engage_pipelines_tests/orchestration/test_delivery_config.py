"""What a person may ask of a delivery in the launchpad: a preview, or to go beyond the guard rails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from engage_pipelines.definitions import build_defs
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines.settings import GuardSettings
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import calls_of
from engage_pipelines_tests.small_shop import DAYS

SALES, PERSONAS, DELIVERIES = ("aiq", "sales"), ("aiq", "personas"), ("ops", "deliveries")


def launch(
    desk: Desk,
    instance: dg.DagsterInstance,
    assets: Sequence[tuple[str, str]],
    *,
    raise_on_error: bool = True,
    **config: dict[str, Any],
) -> dg.ExecuteInProcessResult:
    """Run some assets of the nightly job for the whole week, as the launchpad does; config by asset."""
    first, last = (day.isoformat() for day in DAYS)
    return build_defs(desk=desk).resolve_job_def("nightly").execute_in_process(
        run_config={
            "ops": {name: {"config": values} for name, values in config.items()},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        instance=instance,
        tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last},
        asset_selection=[dg.AssetKey(list(path)) for path in assets],
        raise_on_error=raise_on_error,
    )  # fmt: skip


def observed(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Asset -> metadata of its observation."""
    found = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
    return {
        "/".join(seen.asset_key.path): {name: value.value for name, value in seen.metadata.items()} for seen in found
    }


def made(result: dg.ExecuteInProcessResult) -> set[str]:
    """The assets that were materialized."""
    return {"/".join(event.asset_key.path) for event in result.get_asset_materialization_events() if event.asset_key}


def with_guard(desk: Desk, **guard: Any) -> Desk:
    """The same installation with other guard rails."""
    return Desk(desk.settings.model_copy(update={"guard": GuardSettings(**guard)}), now=desk.now)


def test_a_preview_is_an_observation_and_nothing_leaves(
    loaded: Desk, instance: dg.DagsterInstance, sandbox: Sandbox
) -> None:
    result = launch(loaded, instance, [SALES, DELIVERIES], aiq__sales={"preview": True})
    seen = observed(result)["aiq/sales"]
    assert made(result) == set()
    assert (seen["new"], seen["source_records"]) == (small_shop.RECEIPTS - 2 + 1, small_shop.RECEIPTS + 1)
    assert (seen["skipped"], seen["warnings"]) == ({"open": 1, "voided": 1}, [])
    assert (seen["calls"], len(seen["first"])) == (5, 3)
    assert calls_of(sandbox, "aiq") == 0
    assert (loaded.ledger.states(), loaded.runs.since(small_shop.NOW)) == ({}, [])
    assert not loaded.warehouse.published_path.exists()
    # Nobody is told that the days were delivered.
    assert instance.get_materialized_partitions(dg.AssetKey(list(SALES))) == set()

    again = launch(loaded, instance, [SALES])
    assert made(again) == {"aiq/sales"}
    assert observed(again) == {}


def test_a_preview_shows_nobody(loaded: Desk, instance: dg.DagsterInstance, sandbox: Sandbox) -> None:
    result = launch(loaded, instance, [PERSONAS], aiq__personas={"preview": True})
    seen = str(observed(result)["aiq/personas"])
    assert observed(result)["aiq/personas"]["first"] != {}
    assert [value for value in small_shop.personal_values() if value in seen] == []
    events = [record.event_log_entry for record in instance.get_records_for_run(result.run_id).records]
    said = "\n".join(dg.serialize_value(event) for event in events)
    assert [value for value in small_shop.personal_values() if value in said] == []
    assert calls_of(sandbox, "aiq") == 0


def test_what_comes_after_a_preview_does_not_run_and_the_others_do(
    loaded: Desk, instance: dg.DagsterInstance, sandbox: Sandbox
) -> None:
    assets = [("voyado", "stores"), ("voyado", "contacts"), ("voyado", "receipts"), ("crmcom", "products")]
    result = launch(loaded, instance, assets, voyado__stores={"preview": True})
    assert result.success
    assert set(observed(result)) == {"voyado/stores"}
    assert made(result) == {"crmcom/products"}
    assert calls_of(sandbox, "voyado") == 0
    skipped = {event.step_key for event in result.all_events if event.event_type_value == "STEP_SKIPPED"}
    assert {"voyado__contacts", "voyado__receipts"} <= skipped


def test_a_jump_is_a_failure_that_says_the_way_out_and_a_person_lets_it_through(
    loaded: Desk, instance: dg.DagsterInstance, sandbox: Sandbox
) -> None:
    launch(loaded, instance, [PERSONAS])
    with loaded.warehouse.transaction() as connection:
        connection.execute("update private.core.customers set first_name = 'Somebody'")
    strict = with_guard(loaded, floor=1, changed_share=0.5)
    before = calls_of(sandbox, "aiq")
    known = loaded.ledger.states()
    with pytest.raises(dg.Failure) as caught:
        launch(strict, instance, [PERSONAS])
    said = caught.value.metadata
    assert str(caught.value.description).startswith("GuardError: aiq/personas: nothing was sent, because ")
    assert said["error"].value == "GuardError"
    assert said["what_to_do"].value == (
        "look at what would be sent (preview: true); if it is right, run again with yes_really: true"
    )
    assert caught.value.allow_retries is False
    assert (calls_of(sandbox, "aiq"), loaded.ledger.states()) == (before, known)

    preview = observed(launch(strict, instance, [PERSONAS], aiq__personas={"preview": True}))["aiq/personas"]
    assert len(preview["warnings"]) == 1
    assert preview["warnings"][0] in str(caught.value.description)
    assert calls_of(sandbox, "aiq") == before

    result = launch(strict, instance, [PERSONAS], aiq__personas={"yes_really": True})
    assert made(result) == {"aiq/personas"}
    assert calls_of(sandbox, "aiq") > before


def test_a_misspelt_wish_is_refused_before_anything_runs(
    loaded: Desk, instance: dg.DagsterInstance, sandbox: Sandbox
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="previw"):
        launch(loaded, instance, [SALES], aiq__sales={"previw": True})
    assert calls_of(sandbox, "aiq") == 0
