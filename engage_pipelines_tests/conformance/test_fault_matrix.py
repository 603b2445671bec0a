"""Every fault at every stream of every platform: nothing is lost, nothing counts twice, nothing is refused wrongly.

The same course for all: a run that the fault lasts through, a run that it strikes once, and runs without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.errors import (
    ContractError,
    CredentialsError,
    EngageError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.operations import Desk
from engage_pipelines.operations.casework import replay
from engage_pipelines.sandbox.door_faults import KINDS_AT_THE_DOOR
from engage_pipelines.sandbox.faults import KINDS, OUTAGES
from engage_pipelines.sandbox.rows import ROWS
from engage_pipelines.sandbox.sense import senseless
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines.sandbox.voyado.sftp import PASSWORD, USER
from engage_pipelines_tests.conformance.conftest import Held, Witness, Worlds, deliver, held, ledger_of
from engage_pipelines_tests.conformance.vendors import CALLING, FILING, PLATFORMS, SHORT_TIMEOUT
from engage_pipelines_tests.installation import KEYS, desk_of, fast_destination
from engage_pipelines_tests.ledger_rows import mirrored

HOLDS = frozenset({"delivered", "accepted"})


class Then(NamedTuple):
    """What a run leaves that a fault lasts through.

    Attributes:
        state: of every record that was tried; `taken`: delivered, or accepted where nothing is ever confirmed.
        error: that ends the run.
        survives: whether a run that the fault strikes once needs no other after it.
    """

    state: str
    error: type[EngageError] | None = None
    survives: bool = False


LATER = Then("pending", RetryableError, survives=True)
# Nobody knows whether the last try did its work; doing it twice does no harm, so it was tried again at once.
UNHEARD = Then("in_doubt", RetryableError, survives=True)
NEXT_RUN = Then("pending", RetryableError)
KEY_REFUSED = Then("pending", CredentialsError)
# A new token, or a wait, helps: the key was good before.
KEY_WORKED = Then("pending", CredentialsError, survives=True)
MAYBE = Then("in_doubt", UnknownOutcomeError)
UNREADABLE = Then("in_doubt", ContractError)
TAKEN = Then("taken", survives=True)
REFUSED = Then("rejected")


@dataclass(frozen=True)
class Case:
    """One kind of fault.

    Attributes:
        rule: the rule without its route.
        then: what a run leaves.
        once: what differs in the rule that strikes once.
        creating: the same where doing it twice does harm, so that no lost answer is repeated blindly.
        unless: what it leaves at some platforms, streams, or questions (`<stream>?`).
    """

    rule: dict[str, Any]
    then: Then
    once: dict[str, Any] = field(default_factory=dict)
    creating: Then | None = None
    unless: Mapping[str, Then] = field(default_factory=dict)


CASES = {
    "429-with-and-without-retry-after": Case({"kind": "throttle"}, LATER, once={"retry_after": 0.01}),
    "403-with-retry-after": Case({"kind": "forbidden_throttle", "retry_after": 0.01}, LATER),
    "403-after-good-calls": Case({"kind": "forbidden_throttle", "after": 1}, KEY_WORKED),
    "403-from-the-first-call-on": Case(
        {"kind": "forbidden_throttle"}, KEY_REFUSED, unless={"crmcom/products": KEY_WORKED}
    ),
    "500-and-502": Case({"kind": "status", "status": 502}, UNHEARD, once={"status": 500}, creating=MAYBE),
    "503": Case({"kind": "status", "status": 503}, LATER),
    "500-after-the-work": Case({"kind": "status", "handled": True}, UNHEARD, creating=MAYBE),
    "time-out": Case({"kind": "slow", "seconds": 30}, UNHEARD, creating=MAYBE),
    "reset-before": Case({"kind": "reset_before"}, UNHEARD, creating=MAYBE),
    "reset-after": Case({"kind": "reset_after"}, UNHEARD, creating=MAYBE),
    "half-a-body": Case({"kind": "half_body"}, UNHEARD, creating=MAYBE),
    "broken-json": Case(
        {"kind": "broken_json"}, MAYBE,
        # Voyado's status says enough about stores and receipts, and about what is not there.
        unless={"crmcom/products?": NEXT_RUN, "voyado": TAKEN, "voyado/contacts": UNREADABLE},
    ),
    # CRM.COM documents no codes for whole calls: what is refused alone counts as refused, and a person replays it.
    "200-with-failure": Case(
        {"kind": "ok_with_failure"}, NEXT_RUN,
        unless={"crmcom/products": REFUSED, "crmcom/products?": KEY_REFUSED, "voyado": UNREADABLE},
    ),
    "row-errors": Case({"kind": "row_errors"}, REFUSED),
    "poison-without-a-reason": Case({"kind": "poison"}, REFUSED),
    "missing-rows": Case({"kind": "missing_rows"}, Then("pending")),
    "key-or-token-expires": Case(
        {"kind": "expired_token", "after": 1}, KEY_REFUSED, unless={"crmcom/products": KEY_WORKED}
    ),
    "accepted-and-forgotten": Case({"kind": "accept_and_forget"}, TAKEN),
}  # fmt: skip
# A question does no work that could be lost, and being throttled is the same whatever was called.
NOT_FOR_QUESTIONS = frozenset({
    "429-with-and-without-retry-after", "403-with-retry-after", "403-after-good-calls", "503", "500-after-the-work",
    "time-out", "reset-after",
})  # fmt: skip
AT_THE_DOOR = {
    "down": NEXT_RUN, "unreachable": NEXT_RUN, "reset_before": NEXT_RUN, "half_body": NEXT_RUN, "slow": TAKEN,
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Calls of a stream that a fault strikes: those that write, or the questions before them."""

    destination: Destination
    stream: Stream
    asks: str = ""

    @property
    def name(self) -> str:
        return f"{self.destination.name}/{self.stream.name}{'?' if self.asks else ''}"

    @cached_property
    def route(self) -> str:
        """As a regular expression over `METHOD /path`."""
        if self.asks:
            return f"{re.escape(self.asks.partition('{')[0])}{'' if '{' in self.asks else '$'}"
        return PLATFORMS[self.destination.name].routes[self.stream.name]

    def reason_against(self, name: str) -> str | None:
        """Why the fault makes no sense here, if it does not."""
        if self.asks and name in NOT_FOR_QUESTIONS:
            return "differs from others only in work that is lost, or strikes the account"
        if self.asks and name == "key-or-token-expires" and self.destination.name == "crmcom":
            return "the call that gives tokens needs none"
        vendor = self.destination.name
        writes = [route for route in ROWS[vendor] if re.search(self.route, route)]
        found = {route: ROWS[vendor].get(route) for route in writes or [self.asks]}
        reasons = [senseless(vendor, route, brought).get(CASES[name].rule["kind"]) for route, brought in found.items()]
        return None if None in reasons else reasons[0]

    def expected(self, name: str) -> Then:
        """What the fault leaves here."""
        case = CASES[name]
        for place in (self.name, self.destination.name):
            if place in case.unless:
                return case.unless[place]
        if self.asks and case.then is UNHEARD:
            return LATER
        creates = not self.asks and self.stream.name in PLATFORMS[self.destination.name].looks_first
        return case.creating if creates and case.creating else case.then

    def rule(self, name: str, *, once: bool = False) -> dict[str, Any]:
        """The fault's rule."""
        rule = {**CASES[name].rule, **({"times": 1, **CASES[name].once} if once else {})}
        if rule["kind"] in {"row_errors", "poison"}:
            rule["keys"] = [PLATFORMS[self.destination.name].bad_row[self.stream.name][0]]
        return {**rule, "route": self.route}


WRITES = [Target(destination, stream) for destination, stream in CALLING]
QUESTIONS = [Target(d, s, PLATFORMS[d.name].asks[s.name]) for d, s in CALLING if s.name in PLATFORMS[d.name].asks]
MATRIX = [(target, name) for target in [*WRITES, *QUESTIONS] for name in CASES if not target.reason_against(name)]


STRUCK = [
    pytest.param(target, name, id=f"{target.name}-{name}")
    for target, name in MATRIX if CASES[name].rule["kind"] != "accept_and_forget"
]  # fmt: skip


class Course:
    """Runs of one stream while its platform is struck."""

    def __init__(
        self, sandbox: Sandbox, desk: Desk, target: Target, witness: Witness, *, timeout: float | None
    ) -> None:
        self.sandbox = sandbox
        self.desk = desk
        self.target = target
        self.witness = witness
        self.timeout = timeout

    def run(self, *, attempts: int = 5) -> tuple[type[EngageError] | None, int]:
        """One run; gives what ended it, and the calls it made."""
        fast = fast_destination(self.target.destination, attempts=attempts, timeout=self.timeout)
        before = sum(self.sandbox.frames[fast.name].calls.values())
        ended = None
        try:
            assert deliver(self.desk, fast, self.target.stream).is_balanced
        except EngageError as error:
            ended = type(error)
            self.witness.note(error)
        return ended, sum(self.sandbox.frames[fast.name].calls.values()) - before

    def struck(self, rule: Mapping[str, Any], *, attempts: int = 5) -> type[EngageError] | None:
        """One run under a rule; gives what ended it."""
        name = self.target.destination.name
        self.sandbox.add_fault(name, **rule)
        ended, _ = self.run(attempts=attempts)
        self.sandbox.clear_faults(name)
        return ended

    def held(self) -> Held:
        return held(self.sandbox, self.desk, self.target.destination, self.target.stream)

    def states_of(self, keys: set[str]) -> set[str]:
        """States of the records that were tried."""
        rows = ledger_of(self.desk, self.target.destination, self.target.stream)
        found = {state for key, (state, *_) in rows.items() if key in keys}
        return {"taken" if state in HOLDS else state for state in found}

    def replay(self, wanted: Held) -> None:
        """What a person does with what the platform has refused, once its reason is gone."""
        rejected = [key for key in wanted.sent if self.held().ledger[key][0] == "rejected"]
        replay(self.desk, self.target.destination, self.target.stream, rejected)


def reasons_in(desk: Desk) -> list[str]:
    return [reason for reason in mirrored(desk.ledger)["ops.deliveries"]["reason"].to_pylist() if reason]


@pytest.mark.parametrize(("target", "name"), STRUCK)
def test_whatever_happens_everything_arrives_and_counts_once(
    worlds: Worlds, tmp_path: Path, witness: Witness, target: Target, name: str
) -> None:
    destination, stream, then = target.destination, target.stream, target.expected(name)
    platform, is_slow = PLATFORMS[destination.name], name == "time-out"
    # Where every call costs a time-out, one is enough.
    slow_options: dict[str, Any] = {**platform.short_timeout, "in_flight": 1, "batch_items": {}}
    changes: dict[str, Any] = {destination.name: slow_options if is_slow else platform.several_calls}
    wanted = worlds.wanted(destination, stream)
    with worlds.open(destination, stream, tmp_path) as sandbox:
        desk = desk_of(sandbox.url, tmp_path, **changes)
        course = Course(sandbox, desk, target, witness, timeout=SHORT_TIMEOUT if is_slow else None)

        error = course.struck(target.rule(name), attempts=1)
        assert error == then.error
        is_partly = bool({"after", "keys"} & set(target.rule(name))) or name == "missing-rows"
        assert course.states_of(wanted.sent) - ({"taken"} if is_partly else set()) == {then.state}
        witness.texts += reasons_in(desk)

        if then.state == "rejected":
            course.replay(wanted)
        error = course.struck(target.rule(name, once=True))
        assert not then.survives or (error is None and course.held() == wanted)

        course.timeout = None
        error, calls = course.run()
        assert error is None
        assert course.held() == wanted
        assert set(wanted.applied.values()) == {1}
        assert calls == 0 or course.run() == (None, 0)


def test_every_kind_of_fault_is_in_the_table_and_what_is_left_out_has_a_reason() -> None:
    # Those lie behind no route: test_outages.py has them for an hour, at every stream.
    assert {case.rule["kind"] for case in CASES.values()} == KINDS - OUTAGES
    targets = [*WRITES, *QUESTIONS]
    left_out = {(target.name, name): target.reason_against(name) for target in targets for name in CASES}
    assert all(reason is None or len(reason.split()) >= 5 for reason in left_out.values())
    assert len(MATRIX) == sum(reason is None for reason in left_out.values())
    # A file drop gives no answer that could be wrong: only its door can fail.
    assert set(AT_THE_DOOR) == KINDS_AT_THE_DOOR


@pytest.mark.parametrize("kind", AT_THE_DOOR)
@pytest.mark.parametrize("target", [Target(d, s) for d, s in FILING], ids=lambda target: target.name)
def test_a_file_arrives_whole_and_once_whatever_happens_at_the_door(
    worlds: Worlds, tmp_path: Path, witness: Witness, target: Target, kind: str
) -> None:
    destination, stream, then = target.destination, target.stream, AT_THE_DOOR[kind]
    wanted = worlds.wanted(destination, stream)
    with worlds.open(destination, stream, tmp_path) as sandbox:
        desk = desk_of(
            sandbox.url, tmp_path, keys={**KEYS, "VOYADO_SFTP_PASSWORD": PASSWORD},
            voyado={
                "drop": f"sftp://{USER}@127.0.0.1:{sandbox.sftp_port}/", "sftp_host_key": sandbox.sftp_host_key,
            },
        )  # fmt: skip
        course = Course(sandbox, desk, target, witness, timeout=None)
        # After the greetings, in the middle of the file.
        assert course.struck({"kind": kind, "route": "SFTP", "seconds": 0.02, "after_bytes": 4000}) == then.error
        assert course.states_of(wanted.sent) == {then.state}
        assert course.run()[0] is None
        assert course.held() == wanted
        assert deliver(desk, destination, stream).calls == 0


FORGETFUL = [target for target, name in MATRIX if name == "accepted-and-forgotten"]


@pytest.mark.parametrize("target", FORGETFUL, ids=lambda target: target.name)
def test_what_a_platform_accepts_and_forgets_is_never_called_delivered(
    worlds: Worlds, tmp_path: Path, witness: Witness, target: Target
) -> None:
    with worlds.open(target.destination, target.stream, tmp_path) as sandbox:
        course = Course(sandbox, desk_of(sandbox.url, tmp_path), target, witness, timeout=None)
        assert course.struck(target.rule("accepted-and-forgotten")) is None
        wanted = worlds.wanted(target.destination, target.stream)
        assert {course.held().ledger[key][0] for key in wanted.sent} == {"accepted"}
        assert course.run() == (None, 0)
        # Only the platform knows.
        kind = PLATFORMS[target.destination.name].kinds[target.stream.name]
        journal = sandbox.frames[target.destination.name].journal
        assert journal.missing(kind, wanted.applied) == list(wanted.applied)


@pytest.mark.parametrize("target", FORGETFUL, ids=lambda target: target.name)
def test_a_platform_that_imports_nothing_for_a_while_is_not_sent_anything_twice(
    worlds: Worlds, tmp_path: Path, witness: Witness, target: Target
) -> None:
    with worlds.open(target.destination, target.stream, tmp_path) as sandbox:
        switch = f"{sandbox.url}/_sandbox/{target.destination.name}/importing"
        httpx.put(switch, content=b"false").raise_for_status()
        desk = desk_of(sandbox.url, tmp_path, voyado={"in_doubt": {target.stream.name: "verify"}})
        course = Course(sandbox, desk, target, witness, timeout=None)
        # One is in doubt, and looking for it finds nothing for as long.
        course.struck({"kind": "reset_after", "route": target.route, "times": 1})
        assert course.run()[0] is None
        assert sandbox.stand_ins[target.destination.name].report()["receipts"] == 0
        assert course.run() == (None, 0)
        httpx.put(switch, content=b"true").raise_for_status()
        assert course.held() == worlds.wanted(target.destination, target.stream)
        assert course.run() == (None, 0)


WHOLE_CALLS = [target for target in WRITES if target.stream.limits.items > 1]


@pytest.mark.parametrize("target", WHOLE_CALLS, ids=lambda target: target.name)
@pytest.mark.parametrize("status", [400, 422])
def test_a_call_that_is_refused_once_as_a_whole_costs_no_record(
    worlds: Worlds, tmp_path: Path, witness: Witness, target: Target, status: int
) -> None:
    with worlds.open(target.destination, target.stream, tmp_path) as sandbox:
        course = Course(sandbox, desk_of(sandbox.url, tmp_path), target, witness, timeout=None)
        assert course.struck({"kind": "status", "status": status, "route": target.route, "times": 1}) is None
        assert course.held() == worlds.wanted(target.destination, target.stream)
        assert course.run() == (None, 0)
