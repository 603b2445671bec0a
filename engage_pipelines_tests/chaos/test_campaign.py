"""The reduced campaign: a fixed seed, a small shop, all platforms; and what the report says of it."""

from __future__ import annotations

from pathlib import Path

from engage_pipelines_tests.chaos.course_of_tests import run_campaign
from engage_pipelines_tests.chaos.report import KINDS

SEED = "7"


def test_after_a_campaign_nothing_is_lost_doubled_or_wrong(tmp_path: Path) -> None:
    ran = run_campaign(tmp_path, "--seed", SEED, "--minutes", "0.25", "--receipts", "400", "--customers", "80")
    report = ran.report
    assert report["findings"] == [], ran.said
    assert ran.code == 0
    assert report["sound"] is True
    assert report["counts"] == dict.fromkeys(KINDS, 0)

    # It was a campaign, and not a quiet night.
    kills = report["kills"]["by_place"]
    assert {place.partition(":")[0] for place in kills} == {"pull", "load", "deliver", "publish"}
    assert report["kills"]["total"] == sum(kills.values()) >= 15
    assert report["faults"]["total"] >= 5
    assert report["rounds"]["inbound"] >= 6
    assert report["rounds"]["outbound"] >= 10
    assert report["changes"]["receipts edited"] >= 5

    # Everything was there to be compared.
    streams = report["streams"]
    assert streams["core.transactions"]["rows"] == streams["core.transactions"]["held"] >= 400
    for flow in ("aiq/personas", "aiq/sales", "aiq/inventory", "crmcom/products", "voyado/stores", "voyado/contacts",
                 "voyado/receipts"):  # fmt: skip
        # What was voided after it arrived is still there, and no row to send any more.
        assert streams[flow]["rows"] + report["changes"]["receipts voided"] >= streams[flow]["held"] > 0
        assert streams[flow]["calls"] >= streams[flow]["least"] > 0
    assert {vendor: limits["times_exceeded"] for vendor, limits in report["limits"].items()} == {
        "square": 0, "aiq": 0, "crmcom": 0, "voyado": 0,
    }  # fmt: skip
    assert f"Seed {SEED}" in ran.said
