"""The way of one receipt: the till's window, the file, the versions, the calls, and who holds it now."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest

from engage_pipelines.errors import ConfigError
from engage_pipelines.operations import Desk
from engage_pipelines.operations.trace import Origin, Trace, trace
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import pull_and_load, put

LATE = datetime(2024, 4, 4, 10, tzinfo=UTC)
LATE_DAYS = (date(2024, 4, 4), date(2024, 4, 4))
KEY = "square:O40"
ANALYST = Path(__file__).parents[2] / "docs" / "analyst.md"
WORDS = ("'rejected'", "ops.versions")


def record_at(origin: Origin) -> dict[str, Any]:
    """The raw record that a trace points at."""
    assert origin.file is not None
    assert origin.line is not None
    with pa.CompressedInputStream(str(origin.file), "zstd") as stream:
        lines = io.BufferedReader(stream).readlines()
    found: dict[str, Any] = msgspec.json.decode(lines[origin.line - 1])
    return found


def delivery(found: Trace, destination: str) -> dict[str, Any]:
    (row,) = [row for row in found.deliveries if row["destination"] == destination]
    return row


@pytest.fixture
def delivered(loaded: Desk, sandbox: Sandbox) -> Desk:
    """The week is delivered, but for O41, which Voyado refuses."""
    sandbox.add_fault("voyado", kind="row_errors", route="api/v3/receipts", keys=["square:O41"])
    for destination in loaded.destinations:
        for stream in destination.streams:
            if not stream.history:
                loaded.deliver(destination, stream, Selection())
    return loaded


@pytest.fixture
def edited(delivered: Desk, sandbox: Sandbox) -> Desk:
    """The morning after, O40 is edited at the till, pulled, loaded and delivered again."""
    lines = [*small_shop.receipt(40)["line_items"], small_shop.line("z", 9, "GBP")]
    fresh = small_shop.order("O40", lines, small_shop.sold_at(40), customer_id="C04")
    put(sandbox, "orders", {**fresh, "version": 2, "updated_at": small_shop.text(LATE)})
    later = replace(delivered, now=lambda: LATE.replace(hour=23))
    pull_and_load(later, LATE_DAYS, only=("orders",))
    for name, stream in (("aiq", "sales"), ("voyado", "receipts")):
        destination = later.destination(name)
        later.deliver(destination, later.stream(destination, stream), Selection())
    return later


def test_every_version_is_told_with_its_window_and_the_file_that_really_has_it(edited: Desk) -> None:
    found = trace(edited, KEY)
    first, second = found.origins
    assert [(o.version.version, o.version.total_amount) for o in found.origins] == [
        (1, Decimal("18.80")), (2, Decimal("24.70")),
    ]  # fmt: skip
    for origin in found.origins:
        record, version = record_at(origin), origin.version
        assert (record["id"], record["version"]) == ("O40", version.version)
        assert version.window_start_at is not None
        assert version.window_end_at is not None
        assert version.window_start_at <= version.modified_at < version.window_end_at
        assert version.pulled_at is not None
        assert version.pulled_at <= version.loaded_at
    assert (first.file, second.version.entity) != (second.file, None)


def test_each_platform_tells_batch_route_status_and_since_when_it_holds_it(edited: Desk) -> None:
    found = trace(edited, KEY)
    aiq, voyado = delivery(found, "aiq"), delivery(found, "voyado")
    assert (aiq["state"], aiq["attempt_count"], aiq["delivered_at"]) == ("accepted", 2, edited.now())
    last = aiq["batches"][-1]
    assert (last["batch_id"], last["run_id"]) == (aiq["batch_id"], aiq["run_id"])
    assert last["route"].startswith("POST api/v1.1/createUpdateSale")
    assert (last["status"], last["call_count"], last["record_count"]) == (200, 1, 1)
    assert (voyado["state"], voyado["reason"]) == ("diverged", "changed after delivery")
    assert (voyado["batches"][0]["route"], voyado["batches"][0]["status"]) == ("POST api/v3/receipts", 202)
    assert voyado["delivered_hash"] != voyado["payload_hash"]
    assert found.holders == ("aiq/sales", "voyado/receipts")


def test_a_refusal_is_told_with_the_platforms_answer(delivered: Desk) -> None:
    found = trace(delivered, "square:O41")
    refused = delivery(found, "voyado")
    assert (refused["state"], refused["vendor_code"], refused["delivered_at"]) == ("rejected", "ValidationError", None)
    (batch,) = refused["batches"]
    assert (batch["status"], batch["call_count"]) == (400, 1)
    assert "refused with 400" in batch["answer"]
    assert found.holders == ("aiq/sales",)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(small_shop.OPEN, "open"), (small_shop.VOIDED, "voided")],
)
def test_a_receipt_that_goes_nowhere_is_told_with_the_reason(delivered: Desk, number: int, reason: str) -> None:
    found = trace(delivered, f"square:O{number:02}")
    assert found.deliveries == ()
    assert {(a.destination, a.reason) for a in found.absences} == {
        ("aiq", f"does not go there: {reason}"), ("voyado", f"does not go there: {reason}"),
    }  # fmt: skip
    assert found.holders == ()


def test_a_receipt_that_was_not_sent_yet_is_told_apart_from_one_that_never_goes(loaded: Desk) -> None:
    anonymous = min(small_shop.WITHOUT_CUSTOMER)
    reasons = {a.destination: a.reason for a in trace(loaded, f"square:O{anonymous:02}").absences}
    assert reasons == {"aiq": "not sent yet", "voyado": "does not go there: anonymous"}
    assert loaded.ledger.states() == {}


def test_it_is_found_by_our_key_by_the_tills_id_and_by_the_printed_number(loaded: Desk) -> None:
    found = [trace(loaded, wanted).receipt for wanted in (KEY, "O40", "R40")]
    assert [receipt.transaction_id for receipt in found if receipt] == [KEY] * 3
    assert {receipt.receipt_number for receipt in found if receipt} == {"R40"}


def test_a_printed_number_of_several_receipts_gives_the_latest_and_names_the_others(
    loaded: Desk, sandbox: Sandbox
) -> None:
    (payment,) = small_shop.payments(3)
    put(sandbox, "payments", {**payment, "receipt_number": "R40", "updated_at": small_shop.text(LATE)})
    pull_and_load(replace(loaded, now=lambda: LATE.replace(hour=23)), LATE_DAYS, only=("payments",))
    receipt = trace(loaded, "R40").receipt
    assert receipt is not None
    assert (receipt.transaction_id, receipt.others) == (KEY, ("square:O03",))


def test_what_is_nowhere_is_said_to_be_nowhere(loaded: Desk) -> None:
    with pytest.raises(ConfigError, match=r"O99: no such receipt in core\.transactions .*pull and load its day first"):
        trace(loaded, "O99")


def test_what_is_in_quarantine_is_told_with_its_reason_and_place(loaded: Desk, sandbox: Sandbox) -> None:
    put(sandbox, "orders", small_shop.order("BAD", [small_shop.line("a", 1, "XXQ")], LATE))
    pull_and_load(replace(loaded, now=lambda: LATE.replace(hour=23)), LATE_DAYS, only=("orders",))
    for wanted in ("BAD", "square:BAD"):
        found = trace(loaded, wanted)
        assert found.receipt is None
        (quarantined,) = found.quarantined
        assert "currency" in quarantined.reason
        assert (loaded.settings.data / "lake" / quarantined.spool_path).is_dir()


def test_a_file_that_was_deleted_or_replaced_is_not_claimed_to_have_it(edited: Desk, sandbox: Sandbox) -> None:
    first, second = trace(edited, KEY).origins
    assert first.file is not None
    # The week is pulled once more: the till lists O40 under its later change only.
    pull_and_load(edited, small_shop.DAYS, only=("orders",))
    assert [(o.file == f.file, o.line) for o, f in zip(trace(edited, KEY).origins, (first, second), strict=True)] == [
        (True, None), (True, second.line),
    ]  # fmt: skip
    first.file.unlink()
    assert trace(edited, KEY).origins[0].file is None


def test_a_record_that_only_mentions_a_receipt_is_not_taken_for_it(loaded: Desk) -> None:
    # The return of O20 names it.
    (origin,) = trace(loaded, "O20").origins
    assert record_at(origin)["id"] == "O20"


def test_the_published_warehouse_tells_the_same(edited: Desk) -> None:
    found = trace(edited, KEY)
    edited.publish()
    with duckdb.connect(str(edited.warehouse.published_path), read_only=True) as connection:
        versions = connection.execute(
            "select v.version, v.total_amount, l.window_start_at, l.window_end_at, l.spool_path "
            "from ops.versions as v join ops.loads as l using (load_id) where v.transaction_id = ? order by 1",
            [KEY],
        ).fetchall()
        calls = connection.execute(
            "select d.destination, d.state, d.attempt_count, b.batch_id, b.route, b.status, b.answer "
            "from ops.deliveries as d left join ops.delivery_batches as b using (batch_id, run_id) "
            "where d.record_key = ? order by 1",
            [KEY],
        ).fetchall()
    told = [o.version for o in found.origins]
    assert versions == [
        (v.version, v.total_amount, v.window_start_at, v.window_end_at, v.spool_path) for v in told
    ]  # fmt: skip
    last = [(row, next(b for b in row["batches"] if b["run_id"] == row["run_id"])) for row in found.deliveries]
    assert calls == [
        (r["destination"], r["state"], r["attempt_count"], b["batch_id"], b["route"], b["status"], b["answer"])
        for r, b in last
    ]
    assert Path(edited.settings.data / "lake" / versions[1][4]).is_dir()


def test_the_queries_of_the_analysts_page_run_as_they_stand(edited: Desk, sandbox: Sandbox) -> None:
    edited.publish()
    queries = re.findall(r"```sql\n(.*?)```", ANALYST.read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) >= 3
    with duckdb.connect(str(edited.warehouse.published_path), read_only=True) as connection:
        answers = [connection.execute(query.replace("square:O1", "square:O40")).fetchall() for query in queries]
    assert [len(answer) > 0 for answer in answers] == [True] * len(queries)
    by_word = {word: answer for query, answer in zip(queries, answers, strict=True) for word in WORDS if word in query}
    # Refused, by reason: O41 at Voyado.
    assert ("voyado", "receipts", "ValidationError", 1) in [row[:4] for row in by_word["'rejected'"]]
    # The way of one receipt: two versions, and the call that each platform got.
    assert {(row[0], row[4]) for row in by_word["ops.versions"]} >= {(1, "aiq"), (2, "voyado")}
