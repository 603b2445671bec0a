"""Delivering a stream: each record ends in exactly one place, and nothing is sent twice by mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, BatchLimits, InDoubt, Outcome
from engage_pipelines.delivery import Delivered
from engage_pipelines.errors import (
    BudgetSpentError,
    ConfigError,
    ContractError,
    CredentialsError,
    EngageError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.settings import child_environment
from engage_pipelines_tests.delivery.post_office import PostOffice, deliver_all
from engage_pipelines_tests.plain_till import NIGHT, order
from engage_pipelines_tests.postgres import fresh_postgres
from engage_pipelines_tests.scripted_vendor import scripted_vendor

REPOSITORY = Path(__file__).resolve().parents[2]
RESEND, HOLD = InDoubt("resend", "the vendor knows our key"), InDoubt("hold", "a person decides")


@pytest.fixture(params=["sqlite", "postgres"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostOffice]:
    """A post office on each of the two databases."""
    with fresh_postgres() if request.param == "postgres" else nullcontext("") as state_url:
        office = PostOffice(tmp_path, state_url=state_url)
        yield office
        office.close()


def failing(error: EngageError, *, on: str = "") -> Any:
    """A vendor that fails each batch that holds a key ending like `on`."""

    def send(session: Any, batch: Batch) -> list[Outcome]:
        if any(key.endswith(on) for key in batch.keys):
            raise error
        return deliver_all(session, batch)

    return send


def test_new_records_are_delivered_in_batches_and_the_ledger_knows_each(office: PostOffice) -> None:
    keys = office.fill(25)
    result = office.run(office.stream())
    assert (result.flow, result.source_records, result.delivered, result.minimal_calls) == ("club/receipts", 25, 25, 3)
    assert [len(batch.keys) for batch in office.sent] == [10, 10, 5]
    assert office.sent_keys == keys
    assert office.sent[0].payloads[0] == b'{"id":"acme:O000","total":10.0000}'
    assert office.states() == dict.fromkeys(keys, "delivered")
    assert result.is_balanced


def test_a_second_run_without_changes_sends_nothing(tmp_path: Path) -> None:
    def post(session: Any, batch: Batch) -> list[Outcome]:
        session.client.call("POST", "receipts", content=b"[" + b",".join(batch.payloads) + b"]")
        return [Outcome("accepted")] * len(batch.keys)

    with scripted_vendor((202, {})) as vendor:
        office = PostOffice(tmp_path, url=vendor.url)
        office.fill(15)
        first, second = office.run(office.stream(post)), office.run(office.stream(post))
        assert (first.accepted, first.calls, first.minimal_calls) == (15, 2, 2)
        assert (second.unchanged, second.calls, second.minimal_calls, second.accepted) == (15, 0, 0, 0)
        assert len(vendor.asked) == 2
        office.close()


def test_only_what_changed_is_sent_again(office: PostOffice) -> None:
    office.fill(5)
    office.run(office.stream())
    office.till.load(order("O003", version=2, total=11))
    result = office.run(office.stream())
    assert (office.sent_keys, result.delivered, result.unchanged) == (["acme:O003"], 1, 4)


def test_while_a_call_is_under_way_anyone_can_see_that_its_records_are_being_sent(office: PostOffice) -> None:
    keys = office.fill(4)
    seen: list[dict[str, str]] = []

    def look(session: Any, batch: Batch) -> list[Outcome]:
        seen.append(office.states())
        return deliver_all(session, batch)

    office.run(office.stream(look, limits=BatchLimits(items=2)))
    assert seen == [
        dict.fromkeys(keys[:2], "sending"),
        {**dict.fromkeys(keys[:2], "delivered"), **dict.fromkeys(keys[2:], "sending")},
    ]


def test_every_record_ends_in_exactly_one_place(office: PostOffice) -> None:
    answers = {
        "1": Outcome("rejected", "no such store", "E7"),
        "2": Outcome("pending", "later"),
        "3": Outcome("accepted"),
    }

    def answer(session: Any, batch: Batch) -> list[Outcome]:
        return [answers.get(key[-1], Outcome("delivered")) for key in batch.keys]

    office.fill(5)
    office.till.load(order("VOID", state="voided"), order("BIG", total=5000))
    result = office.run(office.stream(answer))
    assert result.is_balanced
    assert (result.delivered, result.accepted, result.rejected, result.pending) == (2, 1, 2, 1)
    assert (result.skipped, result.source_records) == ({"voided": 1}, 7)
    assert office.reasons()["acme:O001"] == "no such store"
    assert office.reasons()["acme:BIG"] == "too much money"
    again = office.run(office.stream())
    # The pending one is tried again; what was refused is not, until it changes.
    assert office.sent_keys == ["acme:O002"]
    assert (again.rejected, again.unchanged, again.is_balanced) == (2, 3, True)


def test_a_run_is_noted_with_its_counts(office: PostOffice) -> None:
    office.fill(3)
    office.till.load(order("VOID", state="voided"))
    office.run(office.stream())
    (run,) = office.runs.since(NIGHT)
    assert (run["destination"], run["stream"], run["ended_at"]) == ("club", "receipts", NIGHT)
    assert (run["source_record_count"], run["delivered_count"], run["skipped"]) == (4, 3, {"voided": 1})


# --- a run that dies ------------------------------------------------------------------------------


def deliver_and_die(folder: Path, policy: str, state_url: str) -> None:
    """Deliver two batches; the process is killed while the second call is under way."""
    office = PostOffice(folder, state_url=state_url)

    def die_on_the_second(session: Any, batch: Batch) -> list[Outcome]:
        if len(office.sent) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return deliver_all(session, batch)

    in_doubt = RESEND if policy == "resend" else HOLD
    office.run(office.stream(die_on_the_second, limits=BatchLimits(items=2), in_doubt=in_doubt))


@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_what_a_killed_run_had_under_way_is_in_doubt_and_the_policy_decides(office: PostOffice, policy: str) -> None:
    keys = office.fill(6)
    code = f"from {__name__} import *; deliver_and_die(Path({str(office.folder)!r}), {policy!r}, {office.state_url!r})"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=child_environment(), capture_output=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert office.states() == dict.fromkeys(keys[:2], "delivered") | dict.fromkeys(keys[2:4], "sending")

    stream = office.stream(in_doubt=RESEND if policy == "resend" else HOLD)
    assert office.preview(stream).in_doubt == (0 if policy == "resend" else 2)
    result = office.run(stream)
    if policy == "resend":
        assert (office.sent_keys, result.in_doubt, result.delivered) == (keys[2:], 0, 4)
        assert set(office.states().values()) == {"delivered"}
    else:
        assert (office.sent_keys, result.in_doubt, result.delivered) == (keys[4:], 2, 2)
        assert [office.states()[key] for key in keys[2:4]] == ["in_doubt"] * 2
        # And it stays so, night after night, until a person has decided.
        assert (office.run(stream).in_doubt, office.sent) == (2, [])
    assert result.is_balanced
    # Plans hold payloads: they are gone, but for the dead run's, which tells what was sent of what is in doubt.
    assert len(list(office.folder.glob("outbox/**/*.parquet"))) == (0 if policy == "resend" else 1)


def test_an_answer_that_never_came_leaves_the_batch_in_doubt_and_the_others_go_on(office: PostOffice) -> None:
    keys = office.fill(4)
    stream = office.stream(
        failing(UnknownOutcomeError("club: no answer"), on="1"), limits=BatchLimits(items=1), in_doubt=HOLD
    )
    with pytest.raises(UnknownOutcomeError):
        office.run(stream)
    assert [office.states()[key] for key in keys] == ["delivered", "in_doubt", "delivered", "delivered"]
    assert office.run(office.stream(in_doubt=HOLD)).in_doubt == 1
    assert office.run(office.stream(in_doubt=RESEND)).delivered == 1


def test_a_bug_in_a_connector_is_not_swallowed_and_leaves_its_batch_in_doubt(office: PostOffice) -> None:
    def stumble(session: Any, batch: Batch) -> list[Outcome]:
        raise KeyError("id")

    keys = office.fill(2)
    with pytest.raises(KeyError):
        office.run(office.stream(stumble))
    assert office.states() == dict.fromkeys(keys, "sending")
    assert office.run(office.stream()).delivered == 2


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [set(), {5}, {0, 63}, {7, 8, 40}, set(range(0, 64, 9)), set(range(64))])
def test_a_batch_that_is_refused_as_a_whole_is_halved_until_the_bad_records_are_alone(
    office: PostOffice, bad: set[int]
) -> None:
    keys = office.fill(64)
    poison = {keys[n] for n in bad}

    def refuse(session: Any, batch: Batch) -> list[Outcome]:
        if poison & set(batch.keys):
            raise RejectedError("club: POST receipts: refused with 400 E1", vendor_code="E1")
        return deliver_all(session, batch)

    result = office.run(office.stream(refuse, limits=BatchLimits(items=64)))
    assert (result.delivered, result.rejected, result.is_balanced) == (64 - len(bad), len(bad), True)
    assert {key for key, state in office.states().items() if state == "rejected"} == poison
    # Two calls per halving and bad record at most: 1 + k * 2 * log2(64).
    assert len(office.sent) <= 1 + len(bad) * 2 * 6
    assert result.minimal_calls == 1
    assert office.run(office.stream(refuse)).rejected == len(bad)
    assert office.sent == []


def test_trouble_while_halving_leaves_the_rest_for_the_next_run(office: PostOffice) -> None:
    keys = office.fill(8)

    def refuse_then_fall_over(session: Any, batch: Batch) -> list[Outcome]:
        if len(batch.keys) == 8:
            raise RejectedError("refused")
        if keys[4] in batch.keys:
            raise RetryableError("down")
        return deliver_all(session, batch)

    with pytest.raises(RetryableError):
        office.run(office.stream(refuse_then_fall_over))
    assert [office.states()[key] for key in keys] == ["delivered"] * 4 + ["pending"] * 4


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_connector_that_gives_too_few_or_too_many_outcomes_is_reported_and_its_records_are_in_doubt(
    office: PostOffice, count: int
) -> None:
    keys = office.fill(2)
    with pytest.raises(ContractError, match=rf"club/receipts: the connector gave {count} outcomes for 2 records"):
        office.run(office.stream(lambda session, batch: [Outcome("delivered")] * count, in_doubt=HOLD))
    assert office.states() == dict.fromkeys(keys, "in_doubt")
    (run,) = office.runs.since(NIGHT)
    assert (run["in_doubt_count"], run["ended_at"]) == (2, NIGHT)


# --- vendors in trouble ---------------------------------------------------------------------------


def run_into(office: PostOffice, error: EngageError, **changes: Any) -> None:
    with pytest.raises(type(error)):
        office.run(office.stream(failing(error), limits=BatchLimits(items=1), **changes))


def test_a_vendor_that_is_down_is_left_alone_after_three_batches_and_the_next_run_sends_all(office: PostOffice) -> None:
    keys = office.fill(10)
    run_into(office, RetryableError("club: status 503 after 5 tries"))
    assert len(office.sent) == 3
    assert office.states() == dict.fromkeys(keys[:3], "pending")
    assert office.reasons()[keys[0]] == "club: status 503 after 5 tries"
    (run,) = office.runs.since(NIGHT)
    assert (run["pending_count"], run["source_record_count"]) == (10, 10)
    result = office.run(office.stream())
    assert (result.delivered, office.sent_keys) == (10, keys)


def test_a_success_in_between_lets_a_run_go_on_and_the_first_error_is_told_at_the_end(office: PostOffice) -> None:
    keys = office.fill(10)

    def often(session: Any, batch: Batch) -> list[Outcome]:
        if batch.keys[0][-1] in "014578":
            raise RetryableError(f"down at {batch.keys[0]}")
        return deliver_all(session, batch)

    with pytest.raises(RetryableError, match="down at acme:O000"):
        office.run(office.stream(often, limits=BatchLimits(items=1)))
    assert len(office.sent) == 10
    assert [key[-1] for key in keys if office.states()[key] == "delivered"] == ["2", "3", "6", "9"]


@pytest.mark.parametrize("error", [CredentialsError("club: refused with 401"), ConfigError("no such contact type")])
def test_a_refused_key_or_a_wrong_setting_ends_the_run_at_once_and_leaves_the_rest(
    office: PostOffice, error: EngageError
) -> None:
    keys = office.fill(5)
    run_into(office, error)
    assert office.sent_keys == keys[:1]
    assert office.states() == {keys[0]: "pending"}


def test_a_spent_budget_ends_the_run_without_an_error_and_the_rest_waits(office: PostOffice) -> None:
    office.fill(5)
    spent = failing(BudgetSpentError("club: the day's budget is spent"), on="2")
    result = office.run(office.stream(spent, limits=BatchLimits(items=1)))
    assert (result.delivered, result.pending, result.is_balanced) == (2, 3, True)
    assert office.run(office.stream()).delivered == 3


def test_batches_that_were_under_way_when_the_run_stopped_are_counted_too(tmp_path: Path) -> None:
    office = PostOffice(tmp_path, in_flight=2)
    office.fill(6)
    second_has_left, first_is_counted = threading.Event(), threading.Event()

    def one_fails_while_others_are_under_way(session: Any, batch: Batch) -> list[Outcome]:
        if batch.keys[0].endswith("0"):
            assert second_has_left.wait(10)
            raise CredentialsError("club: refused with 401")
        second_has_left.set()
        assert first_is_counted.wait(10)
        return deliver_all(session, batch)

    stream = office.stream(one_fails_while_others_are_under_way, limits=BatchLimits(items=1))
    with pytest.raises(CredentialsError):
        office.run(stream, progress=lambda done, total: first_is_counted.set())
    (run,) = office.runs.since(NIGHT)
    assert (len(office.sent), run["delivered_count"], run["pending_count"]) == (4, 3, 3)
    office.close()


# --- side by side, one at a time ------------------------------------------------------------------


def test_as_many_calls_as_allowed_are_in_flight_while_two_more_batches_are_noted(tmp_path: Path) -> None:
    under_way, in_flight = threading.Barrier(5, timeout=10), threading.Barrier(3, timeout=10)

    def call(session: Any, batch: Batch) -> list[Outcome]:
        if batch.keys[0] < "acme:O005":
            under_way.wait()
        session.client.call("POST", "receipts", json={})
        return deliver_all(session, batch)

    with scripted_vendor((200, {})) as vendor:
        answer = vendor.answer
        # Nobody is answered before three have called.
        vendor.answer = lambda *asked: (in_flight.wait(), answer(*asked))[1]  # type: ignore[method-assign]
        office = PostOffice(tmp_path, in_flight=3, url=vendor.url)
        office.fill(12)
        assert office.run(office.stream(call, limits=BatchLimits(items=1))).delivered == 12
        office.close()
    assert (vendor.most_under_way, len(vendor.asked)) == (3, 12)


def test_where_one_call_is_allowed_one_batch_is_under_way(tmp_path: Path) -> None:
    office, noted = PostOffice(tmp_path, in_flight=1), []
    office.fill(4)

    def look(session: Any, batch: Batch) -> list[Outcome]:
        noted.append(list(office.states().values()).count("sending"))
        return deliver_all(session, batch)

    assert office.run(office.stream(look, limits=BatchLimits(items=1))).delivered == 4
    assert noted == [1, 1, 1, 1]
    office.close()


def test_two_runs_of_one_stream_at_once_do_not_overlap_and_the_second_finds_nothing_to_do(office: PostOffice) -> None:
    keys = office.fill(6)
    busy, most = 0, 0
    received: list[str] = []

    def one_at_a_time(session: Any, batch: Batch) -> list[Outcome]:
        nonlocal busy, most
        with office.lock:
            busy += 1
            most = max(most, busy)
            received.extend(batch.keys)
        outcomes = deliver_all(session, batch)
        with office.lock:
            busy -= 1
        return outcomes

    stream = office.stream(one_at_a_time, limits=BatchLimits(items=1))
    start = threading.Barrier(2, timeout=10)

    def run() -> Delivered:
        start.wait()
        return office.run(stream)

    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(run), pool.submit(run)]]
    assert sorted((result.delivered, result.unchanged) for result in results) == [(0, 6), (6, 0)]
    assert (received, most) == (keys, 1)


def test_progress_is_told_batch_by_batch(office: PostOffice) -> None:
    office.fill(25)
    heard: list[tuple[int, int]] = []
    office.run(office.stream(), progress=lambda done, total: heard.append((done, total)))
    assert heard == [(10, 25), (20, 25), (25, 25)]


# --- what a stream may be -------------------------------------------------------------------------


def test_a_change_that_the_platform_cannot_take_is_visible_and_never_sent(office: PostOffice) -> None:
    office.fill(2)
    stream = office.stream(immutable=True)
    office.run(stream)
    office.till.load(order("O001", version=2, total=11))
    for _ in range(2):
        result = office.run(stream)
        assert (result.diverged, result.unchanged, result.is_balanced, office.sent) == (1, 1, True, [])
    assert office.states()["acme:O001"] == "diverged"
    assert office.reasons()["acme:O001"] == "changed after delivery"
    # What the platform holds can still be told: the plan that brought it is kept.
    assert len(list(office.folder.glob("outbox/**/*.parquet"))) == 1


def test_a_preview_tells_what_a_run_would_do_and_does_nothing(office: PostOffice) -> None:
    office.fill(15)
    office.till.load(order("VOID", state="voided"), order("BIG", total=5000))
    preview = office.preview(office.stream())
    assert (preview.source_records, preview.new, preview.rejected, preview.calls) == (17, 15, {"too much money": 1}, 2)
    assert preview.skipped == {"voided": 1}
    assert (office.sent, office.states(), office.runs.since(NIGHT)) == ([], {}, [])
    assert [path for path in (office.folder / "outbox").rglob("*") if path.is_file()] == []
    result = office.run(office.stream())
    assert (result.delivered, result.minimal_calls) == (preview.new, preview.calls)


def test_fewer_records_per_call_may_be_asked_for(office: PostOffice) -> None:
    office.fill(5)
    office.run(office.stream(), batch_items={"receipts": 2, "others": 1})
    assert [len(batch.keys) for batch in office.sent] == [2, 2, 1]


def test_two_streams_that_share_a_ledger_do_not_send_the_same_record_twice(office: PostOffice) -> None:
    office.fill(3)
    office.run(office.stream(name="receipt_history", ledger="receipts"))
    assert (office.run(office.stream()).unchanged, office.sent) == (3, [])


def test_a_stream_that_does_not_exist_is_named_with_those_that_do(office: PostOffice) -> None:
    with pytest.raises(ConfigError, match="club has no stream 'sales'; there are: receipts"):
        office.delivery(office.stream()).stream("sales")


def test_files_keep_receipts_whole_and_stay_below_the_limit_of_lines(office: PostOffice) -> None:
    keys = office.fill(11)
    contents: list[list[str]] = []

    def take(session: Any, batch: Batch) -> list[Outcome]:
        assert batch.file is not None
        contents.append(batch.file.read_text().splitlines())
        assert batch.line_count == len(contents[-1]) - 1
        return [Outcome("accepted")] * len(batch.keys)

    stream = office.stream(take, rows="rows.sql", history=True, limits=BatchLimits(items=1000, lines=7))
    result = office.run(stream)
    assert (result.accepted, result.minimal_calls, len(contents)) == (11, 4, 4)
    for lines in contents:
        assert lines[0] == "receipt;name"
        assert len(lines) - 1 <= 7
        receipts = [line.split(";")[0] for line in lines[1:]]
        assert all(receipts.count(receipt) == 2 for receipt in receipts)
    assert sorted({line.split(";")[0] for lines in contents for line in lines[1:]}) == keys
    assert result.calls == 4
    assert (office.run(stream).unchanged, office.sent) == (11, [])


def test_the_next_file_is_written_ahead_and_is_gone_if_the_run_stops_before_it(office: PostOffice) -> None:
    office.fill(6)
    there: list[set[str]] = []

    def refuse(session: Any, batch: Batch) -> list[Outcome]:
        assert batch.file is not None
        there.append({file.suffix for file in batch.file.parent.iterdir()})
        raise CredentialsError("club: key refused")

    stream = office.stream(refuse, rows="rows.sql", history=True, limits=BatchLimits(items=2, lines=4))
    with pytest.raises(CredentialsError):
        office.run(stream)
    # One was on its way; of the others nothing is left, and the ledger does not know them.
    assert len(there) == 1
    left = [file.name for file in (office.folder / "outbox").rglob("*") if ".csv" in file.name]
    assert [name.endswith(".csv") for name in left] == [True]
    assert len(office.states()) == 2


def test_a_file_that_a_dead_run_wrote_ahead_is_swept_away_and_one_that_left_stays(office: PostOffice) -> None:
    office.fill(2)
    stream = office.stream(rows="rows.sql", history=True, limits=BatchLimits(items=2, lines=4))
    office.run(stream)
    (sent,) = (office.folder / "outbox").rglob("*.csv")
    ahead = sent.parent.with_name("deadrun") / "b1.csv.ready"
    ahead.parent.mkdir()
    ahead.write_text("receipt;name\nO1;Zebedee\n")
    office.run(stream)
    assert sent.exists()
    assert not ahead.exists()
