"""What a person does with records that wait, against the stand-ins: each ends where that person said, once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pytest

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.errors import ConfigError, CredentialsError, RetryableError, UnknownOutcomeError
from engage_pipelines.operations import Desk
from engage_pipelines.operations.casework import discard, find_case, find_cases, fix, replay, resolve
from engage_pipelines.operations.divergence import find_diverged
from engage_pipelines.operations.payloads import change, compact, differences
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.installation import desk_of, fast_destination, listed, pull_and_load, put, selection_of

LATE = datetime(2024, 4, 4, 10, tzinfo=UTC)
LATE_DAYS = (date(2024, 4, 4), date(2024, 4, 4))
BAD = "square:O40"
SALES = ("aiq", "sales")
RECEIPTS = ("voyado", "receipts")


def flow(desk: Desk, name: tuple[str, str]) -> tuple[Destination, Stream]:
    destination = desk.destination(name[0])
    return destination, desk.stream(destination, name[1])


def deliver(desk: Desk, name: tuple[str, str], **only: Any) -> Any:
    destination, stream = flow(desk, name)
    return desk.deliver(destination, stream, Selection(**only) if only else Selection())


def refuse(sandbox: Sandbox, vendor: str, *keys: str) -> None:
    route = {"aiq": "createUpdateSale", "voyado": "api/v3/receipts"}[vendor]
    sandbox.add_fault(vendor, kind="row_errors", route=route, keys=list(keys))


def state(desk: Desk, name: tuple[str, str], key: str = BAD) -> str:
    (row,) = [r for r in desk.queue.attempts(key) if (r["destination"], r["stream"], r["record_key"]) == (*name, key)]
    return str(row["state"])


def received(sandbox: Sandbox, vendor: str, kind: str, key: str = BAD) -> int:
    found = [row["times_received"] for row in listed(sandbox, vendor, kind) if row["key"] == key]
    return int(found[0]) if found else 0


def change_at_the_till(desk: Desk, sandbox: Sandbox, number: int = 40, **fields: Any) -> None:
    """A till edits a receipt after the week: one more line, unless the test says what."""
    made = small_shop.receipt(number)
    if not fields:
        store_id = small_shop.store_of(number)
        lines = [*made["line_items"], small_shop.line("z", 9, small_shop.STORES[store_id][2])]
        fresh = small_shop.order(made["id"], lines, small_shop.sold_at(number), store_id=store_id)
        fields = {name: fresh[name] for name in ("line_items", "total_money", "net_amounts", "tenders")}
    put(sandbox, "orders", {**made, **fields, "updated_at": small_shop.text(LATE)})
    later = replace(desk, now=lambda: LATE.replace(hour=23))
    pull_and_load(later, LATE_DAYS, only=("orders",))


@pytest.fixture
def refused(loaded: Desk, sandbox: Sandbox) -> Desk:
    """AIQ refuses receipt O40 and takes all others."""
    refuse(sandbox, "aiq", BAD)
    assert deliver(loaded, SALES).rejected == 1
    return loaded


# --- looking --------------------------------------------------------------------------------------


def test_a_refused_receipt_is_listed_with_reason_code_attempts_and_payload(refused: Desk) -> None:
    (case,) = find_cases(refused, "rejected")
    assert (case.record.destination, case.record.stream, case.record.record_key) == (*SALES, BAD)
    assert "refused with status 400" in str(case.record.reason)
    assert (case.record.vendor_code, case.record.attempt_count) == ("400", 1)
    assert case.record.first_attempt_at == case.record.last_attempt_at == refused.now()
    assert case.payload["visit"]["pos_id"] == BAD
    assert case.payload["visit"]["pos_user"] == "•••"


def test_what_a_rule_of_ours_refuses_is_listed_with_its_payload_too(sandbox: Sandbox, loaded: Desk) -> None:
    desk = desk_of(sandbox.url, loaded.settings.file.parent, now=loaded.now, voyado={"exchange_rates": {}})
    deliver(desk, RECEIPTS)
    cases = find_cases(desk, "rejected", *RECEIPTS)
    assert {case.record.reason for case in cases} == {"no exchange rate for EUR"}
    assert all(case.record.attempt_count == 0 and case.payload["currency"] == "EUR" for case in cases)


@pytest.mark.parametrize("key_type", ["externalId", "email", "mobilePhone"])
def test_nobody_can_be_identified_in_a_list(sandbox: Sandbox, loaded: Desk, key_type: str) -> None:
    desk = desk_of(sandbox.url, loaded.settings.file.parent, now=loaded.now, voyado={"match_key_type": key_type})
    sandbox.add_fault("voyado", kind="row_errors", route="api/v3/receipts", share=1.0)
    sandbox.add_fault("aiq", kind="row_errors", share=1.0)
    for name in (("aiq", "personas"), SALES, RECEIPTS):
        deliver(desk, name)
    cases = find_cases(desk, "rejected")
    assert len(cases) > small_shop.RECEIPTS
    shown = json.dumps([case.values() for case in cases], default=str, ensure_ascii=False)
    assert [value for value in small_shop.personal_values() if value in shown] == []
    revealed = [find_case(desk, *flow(desk, ("aiq", "personas")), c.record.record_key, reveal=True)
                for c in cases if c.record.stream == "personas"]  # fmt: skip
    assert any("wilhelmina1@shop-of-tests.example" in str(case.text) for case in revealed)


def test_a_platform_that_was_switched_off_still_shows_what_it_refused(refused: Desk, sandbox: Sandbox) -> None:
    off = desk_of(sandbox.url, refused.settings.file.parent, now=refused.now, aiq={"enabled": False})
    (case,) = find_cases(off, "rejected")
    assert case.payload["visit"]["pos_user"] == "•••"


def test_wrong_names_say_what_there_is(refused: Desk) -> None:
    with pytest.raises(ConfigError, match="no enabled destination 'acme'; there are: aiq"):
        find_cases(refused, "rejected", "acme")
    with pytest.raises(ConfigError, match="aiq has no stream 'receipts'; there are: personas"):
        find_cases(refused, "rejected", "aiq", "receipts")
    with pytest.raises(ConfigError, match="square:O01 is neither refused nor in doubt"):
        find_case(refused, *flow(refused, SALES), "square:O01")


# --- putting right --------------------------------------------------------------------------------


def test_what_was_put_right_is_delivered_by_the_next_run_and_only_once(refused: Desk, sandbox: Sandbox) -> None:
    shown = fix(refused, *flow(refused, SALES), BAD, ["visit.location=Soho"], None)
    assert (shown["visit"]["location"], shown["visit"]["pos_user"]) == ("Soho", "•••")
    sandbox.clear_faults("aiq")
    assert deliver(refused, SALES).accepted == 1
    (held,) = [row for row in listed(sandbox, "aiq", "sales") if row["key"] == BAD]
    assert held["times_received"] == 1
    assert deliver(refused, SALES).calls == 0
    assert find_cases(refused, "rejected") == []


def test_the_night_after_takes_it_too_whatever_day_it_is_from(refused: Desk, sandbox: Sandbox) -> None:
    fix(refused, *flow(refused, SALES), BAD, ["visit.location=Soho"], None)
    sandbox.clear_faults("aiq")
    assert deliver(refused, SALES, touched=refused.range_of(LATE_DAYS)).accepted == 1
    assert state(refused, SALES) == "accepted"


def test_a_fix_of_a_fix_stands_in_for_the_tills_record(refused: Desk, sandbox: Sandbox) -> None:
    here = flow(refused, SALES)
    fix(refused, *here, BAD, ["visit.location=Soho"], None)
    assert deliver(refused, SALES).rejected == 1
    assert find_case(refused, *here, BAD).payload["visit"]["location"] == "Soho"
    fix(refused, *here, BAD, ["visit.location=Camden"], None)
    sandbox.clear_faults("aiq")
    assert deliver(refused, SALES).accepted == 1
    assert deliver(refused, SALES).calls == 0


def test_a_fix_holds_only_for_that_version_of_the_source(refused: Desk, sandbox: Sandbox) -> None:
    fix(refused, *flow(refused, SALES), BAD, ["visit.location=Soho"], None)
    change_at_the_till(refused, sandbox)
    sandbox.clear_faults("aiq")
    sandbox.add_fault("aiq", kind="row_errors", keys=[BAD])
    deliver(refused, SALES)
    case = find_case(refused, *flow(refused, SALES), BAD)
    assert case.payload["visit"]["location"] == "London"
    assert len(case.payload["visit"]["visit_details_attributes"]) == len(small_shop.receipt(40)["line_items"]) + 1


def test_a_rule_of_ours_yields_to_a_person_who_put_the_payload_right(sandbox: Sandbox, loaded: Desk) -> None:
    desk = desk_of(sandbox.url, loaded.settings.file.parent, now=loaded.now, voyado={"exchange_rates": {}})
    for name in (("voyado", "stores"), ("voyado", "contacts"), RECEIPTS):
        deliver(desk, name)
    key = find_cases(desk, "rejected", *RECEIPTS)[0].record.record_key
    fix(desk, *flow(desk, RECEIPTS), key, ["exchangeRateToGroupCurrency=0.85"], None)
    assert replay(desk, *flow(desk, RECEIPTS), [key]).runs[0].accepted == 1
    assert received(sandbox, "voyado", "receipts", key) == 1


def test_a_whole_payload_can_be_given_as_it_was_revealed(refused: Desk, sandbox: Sandbox) -> None:
    here = flow(refused, SALES)
    text = find_case(refused, *here, BAD, reveal=True).text
    assert text is not None
    assert '"transaction_total":18.8000' in text
    fix(refused, *here, BAD, (), text.replace('"London"', '"Soho"').replace(",", " ,\n"))
    (row,) = refused.queue.fixes(*SALES).to_pylist()
    assert row["payload"] == text.replace('"London"', '"Soho"')


@pytest.mark.parametrize(
    ("changes", "whole", "words"),
    [
        (["visit.location"], None, r"--set visit\.location: write it as path=value"),
        (["visit.place.name=x"], None, r"visit\.place\.name: there is no 'place' in the payload"),
        (["visit.visit_details_attributes.9.sku=x"], None, "there is no '9'"),
        (["visit.location.name=x"], None, "leads nowhere"),
        (["visit.pos_id=square:other"], None, r"visit\.pos_id: must stay square:O40"),
        (["visit.pos_id="], None, r"visit\.pos_id: must stay square:O40"),
        (["visit=1"], None, r"visit\.pos_id: must stay square:O40"),
        ([], None, "say what to change with --set"),
        ([], "[1]", "the payload is no JSON object"),
        ([], '{"visit":', "the payload is no JSON object"),
        ([], '{"visit":{"pos_id":"square:O40","pos_user":"•••"}}', "has masked values"),
    ],
)
def test_a_fix_that_cannot_be_right_is_refused_and_changes_nothing(
    refused: Desk, changes: list[str], whole: str | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        fix(refused, *flow(refused, SALES), BAD, changes, whole)
    assert refused.queue.fixes(*SALES).num_rows == 0
    assert state(refused, SALES) == "rejected"


def test_only_a_refused_record_can_be_put_right(refused: Desk) -> None:
    with pytest.raises(ConfigError, match=r"aiq sales: not refused: square:O01; see `engage rejected list aiq sales`"):
        fix(refused, *flow(refused, SALES), "square:O01", ["visit.location=x"], None)


def test_values_keep_their_type_and_an_empty_one_takes_the_field_out() -> None:
    payload = '{"a":1.50,"b":{"c":["x","y"]},"d":"e"}'
    changed = change(payload, ["a=2.10", "b.c.1=z", "d=", "f=true", "g=007"])
    assert changed == '{"a":2.10,"b":{"c":["x","z"]},"f":true,"g":"007"}'
    assert change(payload, ["b.c.0=null", "nothing="]) == '{"a":1.50,"b":{"c":["y"]},"d":"e"}'
    assert compact(' {"n": 12345678901234567890.10} ') == '{"n":12345678901234567890.10}'


# --- again ----------------------------------------------------------------------------------------


def test_a_replay_after_the_cause_is_gone_delivers_exactly_once(refused: Desk, sandbox: Sandbox) -> None:
    here = flow(refused, SALES)
    again = replay(refused, *here, None)
    assert (again.records, again.refused, again.runs[0].rejected) == (1, 1, 1)
    assert find_cases(refused, "rejected")[0].record.attempt_count == 2
    sandbox.clear_faults("aiq")
    done = replay(refused, *here, None)
    assert (done.records, done.refused, done.runs[0].accepted) == (1, 0, 1)
    assert replay(refused, *here, None).records == 0
    assert deliver(refused, SALES).calls == 0
    assert received(sandbox, "aiq", "sales") == 1


def test_a_replay_sends_only_what_was_named(loaded: Desk, sandbox: Sandbox) -> None:
    refuse(sandbox, "aiq", BAD, "square:O07")
    deliver(loaded, SALES)
    sandbox.clear_faults("aiq")
    assert replay(loaded, *flow(loaded, SALES), [BAD]).records == 1
    assert [case.record.record_key for case in find_cases(loaded, "rejected")] == ["square:O07"]
    assert received(sandbox, "aiq", "sales", "square:O07") == 0
    assert replay(loaded, *flow(loaded, SALES), None, vendor_code="999").records == 0
    assert replay(loaded, *flow(loaded, SALES), None, vendor_code="400").records == 1


def test_history_is_replayed_as_a_file_and_the_rest_by_api(loaded: Desk, sandbox: Sandbox) -> None:
    desk = desk_of(sandbox.url, loaded.settings.file.parent, now=loaded.now, voyado={"exchange_rates": {}})
    for name in (("voyado", "stores"), ("voyado", "contacts")):
        deliver(desk, name)
    voyado, receipts = flow(desk, RECEIPTS)
    for each in (receipts, desk.stream(voyado, "receipt_history")):
        desk.deliver(voyado, each, selection_of(desk, voyado, each))
    refused = len(find_cases(desk, "rejected", *RECEIPTS))
    right = desk_of(sandbox.url, loaded.settings.file.parent, now=loaded.now)
    done = replay(right, voyado, receipts, None)
    assert [run.flow for run in done.runs] == ["voyado/receipt_history", "voyado/receipts"]
    assert (done.records, sum(run.accepted for run in done.runs), done.refused) == (refused, refused, 0)
    states = {s: n for (d, stream, s), n in right.ledger.states().items() if (d, stream) == RECEIPTS}
    assert set(states) == {"accepted"}
    assert sandbox.stand_ins["voyado"].report()["receipts"] == states["accepted"]


def test_a_platform_that_is_down_leaves_a_replay_for_the_next_run(refused: Desk, sandbox: Sandbox) -> None:
    sandbox.clear_faults("aiq")
    sandbox.add_fault("aiq", kind="status", status=503)
    destination, stream = flow(refused, SALES)
    with pytest.raises(RetryableError):
        replay(refused, fast_destination(destination, attempts=1), stream, [BAD])
    assert state(refused, SALES) == "pending"
    sandbox.clear_faults("aiq")
    assert deliver(refused, SALES, touched=refused.range_of(LATE_DAYS)).accepted == 1


def test_without_a_key_nothing_is_replayed_and_nothing_leaves_the_list(refused: Desk, sandbox: Sandbox) -> None:
    (refused.settings.file.parent / ".env").write_text("")
    with pytest.raises(CredentialsError):
        replay(refused, *flow(refused, SALES), None)
    assert state(refused, SALES) == "rejected"


def test_a_source_that_changes_is_tried_again_by_itself(refused: Desk, sandbox: Sandbox) -> None:
    sandbox.clear_faults("aiq")
    assert deliver(refused, SALES).rejected == 1
    assert received(sandbox, "aiq", "sales") == 0
    change_at_the_till(refused, sandbox)
    assert deliver(refused, SALES, touched=refused.range_of(LATE_DAYS)).accepted == 1
    assert received(sandbox, "aiq", "sales") == 1
    assert find_cases(refused, "rejected") == []


def test_a_replay_hides_nothing_that_earlier_nights_left_behind(refused: Desk, sandbox: Sandbox) -> None:
    destination, stream = flow(refused, SALES)
    lines = [small_shop.line("a", 1, "GBP")]
    bought = [small_shop.order(f"D{n}", lines, datetime(2024, 4, 5, 12, tzinfo=UTC)) for n in range(60)]
    put(sandbox, "orders", *bought)
    sandbox.clear_faults("aiq")
    for day in range(5, 12):
        night = replace(refused, now=partial(datetime, 2024, 4, day + 1, 1, 30, tzinfo=UTC))
        days = (date(2024, 4, day), date(2024, 4, day))
        pull_and_load(night, days, reread=True, only=("orders",))
        sandbox.add_fault("aiq", kind="status", status=503)
        with pytest.raises(RetryableError):
            night.deliver(
                fast_destination(destination, attempts=1), stream, night.touched(destination, stream, days, reread=True)
            )
        sandbox.clear_faults("aiq")
    morning = replace(refused, now=partial(datetime, 2024, 4, 12, 9, tzinfo=UTC))
    assert replay(morning, destination, stream, [BAD]).runs[0].accepted == 1
    night = replace(refused, now=partial(datetime, 2024, 4, 13, 1, 30, tzinfo=UTC))
    days = (date(2024, 4, 12), date(2024, 4, 12))
    pull_and_load(night, days, reread=True, only=("orders",))
    night.deliver(destination, stream, night.touched(destination, stream, days, reread=True))
    assert sandbox.stand_ins["aiq"].report()["sales"] == small_shop.RECEIPTS - 2 + 1 + len(bought)


# --- putting aside --------------------------------------------------------------------------------


def test_what_was_put_aside_stays_aside_until_its_source_changes(refused: Desk, sandbox: Sandbox) -> None:
    assert discard(refused, *flow(refused, SALES), [BAD], "a test sale of ann@shop.example") == 1
    sandbox.clear_faults("aiq")
    done = deliver(refused, SALES)
    assert (done.calls, done.skipped["discarded by a person"]) == (0, 1)
    (case,) = find_cases(refused, "discarded")
    assert str(case.record.reason).startswith("discarded: a test sale of [redacted] (was: AIQ: POST")
    assert case.payload["visit"]["pos_id"] == BAD
    change_at_the_till(refused, sandbox)
    assert deliver(refused, SALES).accepted == 1
    assert received(sandbox, "aiq", "sales") == 1


def test_what_was_put_aside_comes_back_where_it_is_named(refused: Desk, sandbox: Sandbox) -> None:
    here = flow(refused, SALES)
    discard(refused, *here, None, "by mistake")
    sandbox.clear_faults("aiq")
    assert replay(refused, *here, None).records == 0
    assert replay(refused, *here, [BAD]).runs[0].accepted == 1


def test_putting_aside_needs_a_reason_and_refused_records(refused: Desk) -> None:
    with pytest.raises(ConfigError, match="--because"):
        discard(refused, *flow(refused, SALES), None, "  ")
    with pytest.raises(ConfigError, match="not refused: square:O01, square:O02"):
        discard(refused, *flow(refused, SALES), ["square:O02", "square:O01", BAD], "why not")
    assert state(refused, SALES) == "rejected"


# --- in doubt -------------------------------------------------------------------------------------


def lose_the_answer(desk: Desk, sandbox: Sandbox) -> None:
    """One receipt is sent and taken, and the answer cannot be read."""
    destination, stream = flow(desk, SALES)
    sandbox.add_fault("aiq", kind="broken_json", route="createUpdateSale")
    with pytest.raises(UnknownOutcomeError):
        desk.deliver(fast_destination(destination, attempts=1), stream, Selection(keys=(BAD,)))
    sandbox.clear_faults("aiq")


def die_before_the_call(desk: Desk) -> None:
    """A run notes one receipt as being sent, and ends there."""
    desk.ledger.begin(*SALES, "batch", "run", [(BAD, "hash")], desk.now())


@pytest.fixture
def careful(loaded: Desk, sandbox: Sandbox) -> Desk:
    """A desk that asks a person about every sale in doubt."""
    return desk_of(sandbox.url, loaded.settings.file.parent, now=loaded.now, aiq={"in_doubt": {"sales": "hold"}})


def test_what_a_person_found_there_is_not_sent_again(careful: Desk, sandbox: Sandbox) -> None:
    lose_the_answer(careful, sandbox)
    assert deliver(careful, SALES).in_doubt == 1
    (case,) = find_cases(careful, "in_doubt")
    # A person who looks needs to know what was sent.
    assert case.payload["visit"]["transaction_total"] == "18.8000"
    assert case.payload["visit"]["pos_user"] == "•••"
    assert resolve(careful, *flow(careful, SALES), [BAD], sent=True) == 1
    assert deliver(careful, SALES).calls == 0
    assert (state(careful, SALES), received(sandbox, "aiq", "sales")) == ("delivered", 1)


def test_what_a_person_did_not_find_goes_out_with_the_next_run(careful: Desk, sandbox: Sandbox) -> None:
    die_before_the_call(careful)
    assert deliver(careful, SALES).in_doubt == 1
    assert received(sandbox, "aiq", "sales") == 0
    assert resolve(careful, *flow(careful, SALES), None, sent=False) == 1
    assert deliver(careful, SALES, touched=careful.range_of(LATE_DAYS)).accepted == 1
    assert received(sandbox, "aiq", "sales") == 1
    with pytest.raises(ConfigError, match=r"not in doubt: square:O40; see `engage resolve aiq sales`"):
        resolve(careful, *flow(careful, SALES), [BAD], sent=True)


# --- changed after delivery -----------------------------------------------------------------------


@pytest.fixture
def delivered(loaded: Desk) -> Desk:
    """Voyado has the receipts of the week, for good."""
    for name in (("voyado", "stores"), ("voyado", "contacts"), RECEIPTS):
        deliver(loaded, name)
    return loaded


def test_a_receipt_that_changed_after_delivery_is_shown_in_both_versions(delivered: Desk, sandbox: Sandbox) -> None:
    assert find_diverged(delivered) == []
    change_at_the_till(delivered, sandbox)
    assert deliver(delivered, RECEIPTS).diverged == 1
    (found,) = find_diverged(delivered, "voyado", "receipts")
    assert (found.record_key, found.reason) == (BAD, "changed after delivery")
    assert (found.held["totalGrossPrice"], found.now["totalGrossPrice"]) == ("18.8000", "24.7000")
    assert len(found.now["items"]) == len(found.held["items"]) + 1
    assert found.held["contact"]["matchKey"] == found.now["contact"]["matchKey"] == "•••"
    paths = {each.path: (each.held, each.now) for each in found.differences}
    assert paths["totalGrossPrice"] == ("18.8000", "24.7000")
    assert paths["items.2"][0] is None
    assert "uniqueReceiptId" not in paths


def test_a_receipt_whose_customer_changed_differs_in_a_masked_field(delivered: Desk, sandbox: Sandbox) -> None:
    change_at_the_till(delivered, sandbox, customer_id="C01")
    deliver(delivered, RECEIPTS)
    (hidden,), (open_,) = find_diverged(delivered), find_diverged(delivered, reveal=True)
    assert [(d.path, d.held, d.now) for d in hidden.differences] == [("contact.matchKey", "•••", "•••")]
    assert [(d.held, d.now) for d in open_.differences] == [("square:C04", "square:C01")]


def test_a_receipt_that_was_voided_after_delivery_would_not_be_sent_today(delivered: Desk, sandbox: Sandbox) -> None:
    change_at_the_till(delivered, sandbox, state="CANCELED")
    deliver(delivered, RECEIPTS)
    (found,) = find_diverged(delivered)
    assert (found.reason, found.now, found.differences) == ("delivered, now: voided", None, ())
    assert found.held["uniqueReceiptId"] == BAD


def test_a_version_whose_plan_is_gone_is_said_to_be_gone(delivered: Desk, sandbox: Sandbox) -> None:
    change_at_the_till(delivered, sandbox)
    deliver(delivered, RECEIPTS)
    for plan in (delivered.settings.data / "outbox").rglob("plan.parquet"):
        plan.unlink()
    (found,) = find_diverged(delivered)
    assert (found.held, found.now["totalGrossPrice"]) == (None, "24.7000")


def test_differences_are_told_field_by_field() -> None:
    held, now = '{"a":1.50,"b":[{"c":1},2],"e":"ann@shop.example"}', '{"a":1.5,"b":[{"c":2}],"e":"x","n":{"m":1}}'
    found = [(d.path, d.held, d.now) for d in differences(held, now, frozenset({"m"}))]
    assert found == [("b.0.c", 1, 2), ("b.1", 2, None), ("e", "[redacted]", "x"), ("n", None, {"m": "•••"})]
    assert differences(held, held, frozenset()) == []
