"""Records that may or may not have arrived: each policy, each answer, and what is kept until it is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, BatchLimits, InDoubt, Outcome, Policy, Verdict, Window
from engage_pipelines.delivery import policy_of
from engage_pipelines.errors import (
    ConfigError,
    CredentialsError,
    EngageError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.warehouse import Selection
from engage_pipelines_tests.delivery.post_office import PostOffice, Session, deliver_all
from engage_pipelines_tests.plain_till import DAY, order
from engage_pipelines_tests.scripted_vendor import HANG_UP, Script, scripted_vendor

RESEND, HOLD = InDoubt("resend", "the vendor knows our key"), InDoubt("hold", "a person decides")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[PostOffice]:
    office = PostOffice(tmp_path)
    yield office
    office.close()


class LookUps:
    """A platform that can be asked; remembers each question."""

    def __init__(self, **verdicts: Verdict) -> None:
        self.verdicts = verdicts
        self.asked: list[Batch] = []

    def __call__(self, session: Any, batch: Batch) -> list[Verdict]:
        self.asked.append(batch)
        return [self.verdicts[key.removeprefix("acme:")] for key in batch.keys]

    @property
    def asked_for(self) -> dict[str, bytes]:
        """Record -> payload by which it was looked up."""
        return {key: p for batch in self.asked for key, p in zip(batch.keys, batch.payloads, strict=True)}


def verify(look: Callable[[Any, Batch], Sequence[Verdict]]) -> InDoubt:
    return InDoubt("verify", "the platform can be asked", look)


def ask_by_http(session: Session, batch: Batch) -> list[Verdict]:
    """One GET per record: 200 it is there, 404 it is not."""

    def ask(key: str) -> Verdict:
        answer = session.client.call("GET", f"receipts/{key}", expect={404})
        verdict: Verdict = "absent" if answer.status == 404 else answer.json(Verdict)
        return verdict

    return [ask(key) for key in batch.keys]


def failing(error: Exception) -> Callable[[Any, Batch], list[Any]]:
    def fail(session: Any, batch: Batch) -> list[Any]:
        raise error

    return fail


def _lose_in_one_call(office: PostOffice, count: int) -> None:
    office.fill(count)
    office.lose(office.stream(limits=BatchLimits(items=count)))


# --- looking up -----------------------------------------------------------------------------------


def test_what_is_found_is_delivered_without_a_call_and_what_is_not_found_is_sent(office: PostOffice) -> None:
    office.fill(3)
    look = LookUps(O000="there", O001="absent", O002="there")
    office.lose(office.stream())
    result = office.run(office.stream(in_doubt=verify(look)))
    assert look.asked_for == {f"acme:O00{n}": f'{{"id":"acme:O00{n}","total":10.0000}}'.encode() for n in range(3)}
    assert (office.sent_keys, result.delivered, result.unchanged, result.is_balanced) == (["acme:O001"], 1, 2, True)
    assert set(office.states().values()) == {"delivered"}
    assert office.reasons()["acme:O000"] == "was in doubt; found at the platform"
    office.run(office.stream(in_doubt=verify(look)))
    assert (len(look.asked), office.sent, office.plans()) == (1, [], [])


def test_what_is_not_found_is_sent_as_it_is_now_where_the_platform_takes_changes(office: PostOffice) -> None:
    office.fill(1)
    office.lose(office.stream())
    office.till.load(order("O000", version=2, total=11))
    result = office.run(office.stream(in_doubt=verify(LookUps(O000="absent"))))
    assert (office.sent[0].payloads, result.delivered) == ((b'{"id":"acme:O000","total":11.0000}',), 1)


def test_what_was_found_and_has_changed_since_is_sent_anew_or_diverges(office: PostOffice) -> None:
    office.fill(2)
    office.lose(office.stream())
    office.till.load(order("O000", version=2, total=11))
    look = LookUps(O000="there", O001="there")
    immutable = office.run(office.stream(in_doubt=verify(look), immutable=True))
    assert (immutable.diverged, immutable.unchanged, office.sent) == (1, 1, [])
    result = office.run(office.stream(in_doubt=verify(look)))
    assert (office.sent_keys, result.delivered) == (["acme:O000"], 1)


@pytest.mark.parametrize("policy", ["verify", "resend"])
def test_what_stays_at_a_platform_for_good_is_repeated_just_as_it_was_and_a_change_diverges(
    office: PostOffice, policy: Policy
) -> None:
    office.fill(2)
    office.lose(office.stream())
    office.till.load(order("O000", version=2, total=11))
    look = LookUps(O000="absent", O001="absent")
    office.policies = {"receipts": policy}
    stream = office.stream(immutable=True, in_doubt=InDoubt("resend", "known keys are ignored", look))
    result = office.run(stream)
    assert [json.loads(payload)["total"] for payload in office.sent[0].payloads] == [10, 10]
    assert (result.delivered, result.is_balanced) == (2, True)
    result = office.run(stream)
    assert (result.diverged, result.unchanged, office.sent) == (1, 1, [])
    assert office.states() == {"acme:O000": "diverged", "acme:O001": "delivered"}


def test_a_platform_that_does_not_know_leaves_a_record_in_doubt_until_it_does(office: PostOffice) -> None:
    office.fill(2)
    look = LookUps(O000="unknown", O001="there")
    office.lose(office.stream())
    stream = office.stream(in_doubt=verify(look))
    for _ in range(3):
        result = office.run(stream)
        assert (result.in_doubt, result.unchanged, office.sent, result.is_balanced) == (1, 1, [], True)
        assert office.states() == {"acme:O000": "in_doubt", "acme:O001": "delivered"}
    # What is known is not asked again.
    assert [batch.keys for batch in look.asked] == [("acme:O000", "acme:O001"), ("acme:O000",), ("acme:O000",)]
    look.verdicts["O000"] = "there"
    assert (office.run(stream).unchanged, office.plans()) == (2, [])


@pytest.mark.parametrize("answer", [(503, {}), (400, {"code": "E1"}), (200, "maybe"), HANG_UP])
def test_a_platform_that_cannot_be_asked_leaves_all_in_doubt_and_the_others_go_out(
    tmp_path: Path, answer: Script
) -> None:
    with scripted_vendor(answer) as vendor:
        office = PostOffice(tmp_path, url=vendor.url)
        office.fill(2)
        office.lose(office.stream())
        office.till.load(order("NEW"))
        stream = office.stream(in_doubt=verify(ask_by_http))
        result = office.run(stream)
        assert (office.sent_keys, result.in_doubt, result.delivered) == (["acme:NEW"], 2, 1)
        assert office.states() == {"acme:NEW": "delivered", "acme:O000": "in_doubt", "acme:O001": "in_doubt"}
        assert [asked.path for asked in vendor.asked] == ["/receipts/acme:O000"]
        vendor.answers[:] = [(200, "there"), (404, {})]
        result = office.run(stream)
        assert (office.sent_keys, result.in_doubt, result.unchanged) == (["acme:O001"], 0, 2)
        office.close()


def test_a_wrong_key_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with scripted_vendor((401, {})) as vendor:
        office = PostOffice(tmp_path, url=vendor.url)
        keys = office.fill(2)
        office.lose(office.stream())
        with pytest.raises(CredentialsError):
            office.run(office.stream(in_doubt=verify(ask_by_http)))
        assert (office.states(), office.sent, len(vendor.asked)) == (dict.fromkeys(keys, "in_doubt"), [], 1)
        assert len(office.plans()) == 1
        office.close()


def test_a_connector_that_gives_too_few_verdicts_leaves_all_in_doubt(office: PostOffice) -> None:
    office.fill(2)
    office.lose(office.stream())
    result = office.run(office.stream(in_doubt=verify(lambda session, batch: ["there"])))
    assert (result.in_doubt, office.sent) == (2, [])


def test_what_is_known_is_noted_before_more_is_asked(office: PostOffice) -> None:
    _lose_in_one_call(office, 250)
    questions: list[int] = []

    def tire(session: Any, batch: Batch) -> list[Verdict]:
        questions.append(list(office.states().values()).count("delivered"))
        if len(questions) == 3:
            raise RetryableError("club: status 503")
        return ["there"] * len(batch.keys)

    result = office.run(office.stream(in_doubt=verify(tire)))
    assert (questions, result.in_doubt, result.unchanged) == ([0, 100, 200], 50, 200)


def test_a_refused_question_does_not_keep_the_next_ones_from_being_asked(office: PostOffice) -> None:
    _lose_in_one_call(office, 150)
    questions: list[int] = []

    def refuse_the_first(session: Any, batch: Batch) -> list[Verdict]:
        questions.append(len(batch.keys))
        if len(questions) == 1:
            raise RejectedError("club: GET receipts: refused with 400")
        return ["there"] * len(batch.keys)

    result = office.run(office.stream(in_doubt=verify(refuse_the_first)))
    assert (questions, result.in_doubt, result.unchanged) == ([100, 50], 100, 50)


# --- repeating ------------------------------------------------------------------------------------


def test_a_repeat_carries_the_record_as_it_is_now_where_the_platform_takes_changes(office: PostOffice) -> None:
    office.fill(1)
    office.lose(office.stream())
    office.till.load(order("O000", version=2, total=11))
    result = office.run(office.stream(in_doubt=RESEND))
    assert (office.sent[0].payloads, result.delivered) == ((b'{"id":"acme:O000","total":11.0000}',), 1)


@pytest.mark.parametrize("error", [RetryableError("status 503"), CredentialsError("refused with 401")])
def test_a_repeat_that_did_nothing_leaves_the_record_in_doubt_and_a_new_one_waiting(
    office: PostOffice, error: EngageError
) -> None:
    office.fill(1)
    stream = office.stream(immutable=True, in_doubt=RESEND)
    office.lose(stream)
    office.till.load(order("O000", version=2, total=11), order("NEW"))
    for _ in range(2):
        with pytest.raises(type(error)):
            office.run(office.stream(failing(error), immutable=True, in_doubt=RESEND))
        assert office.states() == {"acme:NEW": "pending", "acme:O000": "in_doubt"}
    result = office.run(stream)
    assert [json.loads(payload) for payload in office.sent[0].payloads] == [
        {"id": "acme:NEW", "total": 10}, {"id": "acme:O000", "total": 10},
    ]  # fmt: skip
    assert (result.delivered, result.in_doubt) == (2, 0)


def test_a_repeat_that_is_refused_ends_the_doubt(office: PostOffice) -> None:
    keys = office.fill(3)
    office.lose(office.stream())

    def refuse_one(session: Any, batch: Batch) -> list[Outcome]:
        if keys[1] in batch.keys:
            raise RejectedError("club: refused with 400 E1", vendor_code="E1")
        return deliver_all(session, batch)

    result = office.run(office.stream(refuse_one, in_doubt=RESEND))
    assert (result.delivered, result.rejected, result.in_doubt) == (2, 1, 0)
    assert office.states()[keys[1]] == "rejected"
    (kept,) = office.queue.waiting("rejected")
    assert (kept.record_key, kept.vendor_code, kept.payload) == (keys[1], "E1", '{"id":"acme:O001","total":10.0000}')
    assert office.plans() == []


def test_a_repeat_without_an_answer_is_still_in_doubt(office: PostOffice) -> None:
    office.fill(1)
    office.lose(office.stream())
    with pytest.raises(UnknownOutcomeError):
        office.run(office.stream(failing(UnknownOutcomeError("no answer")), in_doubt=RESEND))
    assert office.states() == {"acme:O000": "in_doubt"}
    assert office.run(office.stream(in_doubt=RESEND)).delivered == 1


@pytest.mark.parametrize("policy", ["resend", "verify", "hold"])
def test_a_receipt_that_was_voided_while_it_was_in_doubt_is_held_and_visible(
    office: PostOffice, policy: Policy
) -> None:
    office.fill(1)
    office.lose(office.stream())
    office.till.load(order("O000", version=2, state="voided"))
    stream = office.stream(in_doubt=InDoubt(policy, "for a reason", LookUps(O000="unknown")))
    for _ in range(2):
        result = office.run(stream)
        assert (result.in_doubt, office.sent, office.states()) == (1, [], {"acme:O000": "in_doubt"})
        assert len(office.plans()) == 1


def test_a_receipt_that_arrived_and_was_voided_meanwhile_diverges(office: PostOffice) -> None:
    office.fill(1)
    office.lose(office.stream())
    office.till.load(order("O000", version=2, state="voided"))
    result = office.run(office.stream(in_doubt=verify(LookUps(O000="there"))))
    assert (result.diverged, office.reasons()) == (1, {"acme:O000": "delivered, now: voided"})


# --- plans of dead runs ---------------------------------------------------------------------------


def test_the_plan_of_a_dead_run_is_kept_while_one_of_its_records_is_in_doubt(office: PostOffice) -> None:
    office.fill(2)
    office.lose(office.stream())
    (plan,) = office.plans()
    look = LookUps(O000="unknown", O001="there")
    office.run(office.stream(in_doubt=verify(look)))
    assert office.plans() == [plan]
    office.run(office.stream(in_doubt=HOLD))
    assert office.plans() == [plan]
    office.lose(office.stream(in_doubt=RESEND))
    assert len(office.plans()) == 2
    with pytest.raises(RetryableError):
        office.run(office.stream(failing(RetryableError("status 503")), in_doubt=RESEND))
    # The latest attempt has one of its own, which is all that is needed now.
    (latest,) = office.plans()
    assert [latest.parent.name] == [row["run_id"] for row in office.noted() if row["state"] == "in_doubt"]
    office.run(office.stream(in_doubt=RESEND))
    assert office.plans() == []


def test_without_its_plan_a_record_cannot_be_looked_up_and_stays_in_doubt(office: PostOffice) -> None:
    office.fill(1)
    office.lose(office.stream())
    office.plans()[0].unlink()
    look = LookUps(O000="there")
    result = office.run(office.stream(in_doubt=verify(look)))
    assert (result.in_doubt, look.asked, office.sent) == (1, [], [])


@pytest.mark.parametrize("changed", [False, True])
def test_without_its_plan_only_an_unchanged_record_can_be_repeated_as_it_was(office: PostOffice, changed: bool) -> None:
    office.fill(1)
    office.lose(office.stream())
    office.plans()[0].unlink()
    if changed:
        office.till.load(order("O000", version=2, total=11))
    result = office.run(office.stream(immutable=True, in_doubt=RESEND))
    assert (result.in_doubt, result.delivered) == ((1, 0) if changed else (0, 1))


def test_a_change_that_a_repeat_could_not_carry_is_seen_though_its_day_is_over(office: PostOffice) -> None:
    def day(number: int) -> tuple[datetime, datetime]:
        return DAY.start + timedelta(days=number), DAY.end + timedelta(days=number)

    office.fill(1)
    stream = office.stream(immutable=True, windowed=True, in_doubt=RESEND)
    office.lose(stream, Selection(touched=day(0)))
    office.till.load(order("O000", version=2, total=11), window=Window(*day(1)))
    assert office.run(stream, Selection(touched=day(1))).delivered == 1
    # That night had seen the change but could only repeat the first form; nobody looks at its day again.
    office.run(stream, Selection(touched=day(2)))
    assert office.states() == {"acme:O000": "diverged"}


# --- choosing a policy ----------------------------------------------------------------------------


def test_holding_may_always_be_chosen_and_looking_up_where_it_is_declared(office: PostOffice) -> None:
    office.fill(1)
    office.lose(office.stream())
    look = LookUps(O000="there")
    stream = office.stream(in_doubt=InDoubt("resend", "the vendor knows our key", look))
    office.policies = {"receipts": "hold"}
    assert (office.run(stream).in_doubt, office.sent, look.asked) == (1, [], [])
    office.policies = {"receipts": "verify"}
    assert (office.run(stream).unchanged, office.sent, len(look.asked)) == (1, [], 1)


@pytest.mark.parametrize(
    ("declared", "wanted", "allowed"),
    [
        (RESEND, "verify", "hold, resend"),
        (HOLD, "resend", "hold"),
        (HOLD, "verify", "hold"),
        (InDoubt("hold", "a person decides", LookUps()), "resend", "hold, verify"),
    ],
)
def test_a_policy_that_the_platform_does_not_allow_is_refused_with_those_that_it_does(
    office: PostOffice, declared: InDoubt, wanted: Policy, allowed: str
) -> None:
    office.fill(1)
    office.policies = {"receipts": wanted}
    stream = office.stream(in_doubt=declared)
    message = rf"\[destinations.club\] in_doubt: receipts cannot be '{wanted}'; allowed: {allowed}$"
    with pytest.raises(ConfigError, match=message):
        policy_of("club", stream, office.policies)
    with pytest.raises(ConfigError, match=message):
        office.run(stream)
    assert (office.sent, office.states()) == ([], {})


def test_a_preview_asks_nobody_and_settles_nothing(office: PostOffice) -> None:
    office.fill(2)
    office.lose(office.stream())
    look = LookUps(O000="there", O001="there")
    stream = office.stream(in_doubt=verify(look))
    assert (office.preview(stream).in_doubt, look.asked) == (2, [])
    assert set(office.states().values()) == {"sending"}
