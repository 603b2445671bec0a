"""What every platform's connector must do, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, Destination, Outcome, Stream
from engage_pipelines.delivery import Delivered
from engage_pipelines.errors import CredentialsError, EngageError, RetryableError
from engage_pipelines.http_client import Limits, Rate
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.conformance.conftest import Witness
from engage_pipelines_tests.conformance.vendors import CALLING, FILING, PLATFORMS, SHORT_TIMEOUT, STREAMS, name_of
from engage_pipelines_tests.installation import (
    KEYS,
    WRONG_KEYS,
    calls_of,
    desk_of,
    fast_destination,
    listed,
    selection_of,
)

Start = Callable[[str], Sandbox]

# Faults that a run may not survive on its own, but that the run after it must set right.
FAULTS: dict[str, dict[str, Any]] = {
    "429-with-retry-after": {"kind": "throttle", "retry_after": 0.01},
    "429-without-retry-after": {"kind": "throttle"},
    "500": {"kind": "status", "status": 500},
    "502-after-the-work": {"kind": "status", "status": 502, "handled": True},
    "503": {"kind": "status", "status": 503},
    "reset-before": {"kind": "reset_before"},
    "reset-after": {"kind": "reset_after"},
    "half-a-body": {"kind": "half_body"},
    "broken-json": {"kind": "broken_json"},
    "time-out": {"kind": "slow", "seconds": 3},
}
# A little below what the stand-in enforces: on a busy machine a call may leave later than it was paced.
TIGHT = Limits(rates=(Rate(4, 0.3), Rate(9, 0.9)), in_flight=3)
NOT_DONE = {"429-with-retry-after", "429-without-retry-after", "503"}
ROWS = [(d, s) for d, s in CALLING if s.name in PLATFORMS[d.name].bad_row]
MISSING = [(d, s) for d, s in CALLING if s.name in PLATFORMS[d.name].missing_row]


def _prepared(start: Start, tmp_path: Path, destination: Destination, stream: Stream, **changes: Any) -> tuple[
    Sandbox, Desk
]:  # fmt: skip
    """A desk that has delivered what must have gone before the stream."""
    sandbox = start(destination.name)
    desk = desk_of(sandbox.url, tmp_path, **changes)
    for before in _before(destination, stream):
        desk.deliver(destination, before, selection_of(desk, destination, before))
    return sandbox, desk


def _before(destination: Destination, stream: Stream) -> list[Stream]:
    """The streams that go before, in the order of the declaration."""
    wanted, found = list(stream.after), set[str]()
    while wanted:
        name = wanted.pop()
        found.add(name)
        wanted += next(each for each in destination.streams if each.name == name).after
    return [each for each in destination.streams if each.name in found]


def _deliver(desk: Desk, destination: Destination, stream: Stream) -> Delivered:
    return desk.deliver(destination, stream, selection_of(desk, destination, stream))


def _states(desk: Desk, destination: Destination, stream: Stream) -> dict[str, int]:
    states = desk.ledger.states(destination.name, stream.ledger_name)
    return {state: count for (_, _, state), count in states.items()}


def _times_received(sandbox: Sandbox, destination: Destination, stream: Stream) -> dict[str, int]:
    sandbox.stand_ins[destination.name].report()
    kind = PLATFORMS[destination.name].kinds[stream.name]
    return {record["key"]: record["times_received"] for record in listed(sandbox, destination.name, kind)}


def _reasons(desk: Desk) -> list[str]:
    table = desk.ledger.mirror()["ops.deliveries"]
    return [str(value) for value in table["reason"].to_pylist() if value]


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_everything_arrives_once_and_a_second_run_sends_nothing(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    expected = desk.preview(destination, stream, selection_of(desk, destination, stream))
    first = _deliver(desk, destination, stream)
    assert first.is_balanced
    assert first.delivered + first.accepted == expected.new
    assert first.source_records == expected.source_records
    received = _times_received(sandbox, destination, stream)
    assert set(received.values()) == {1}
    calls = calls_of(sandbox, destination.name)

    second = _deliver(desk, destination, stream)
    assert second.is_balanced
    assert (second.calls, second.delivered, second.accepted) == (0, 0, 0)
    assert second.unchanged == expected.new + expected.unchanged
    assert calls_of(sandbox, destination.name) == calls
    assert _times_received(sandbox, destination, stream) == received
    witness.texts += _reasons(desk)


@pytest.mark.parametrize(("destination", "stream"), CALLING, ids=name_of)
def test_within_the_vendors_limits_nothing_is_throttled(
    platform: Start, tmp_path: Path, destination: Destination, stream: Stream
) -> None:
    sandbox = platform(destination.name)
    # Tight limits, so that a few records meet them: both must hold at once.
    sandbox.frames[destination.name].windows.change([(4, 0.2), (9, 0.6)])
    desk = desk_of(sandbox.url, tmp_path, **{destination.name: {"batch_items": {stream.name: 3}}})
    paced = replace(destination, connect=lambda o, s, _: destination.connect(o, s, TIGHT))
    result = desk.deliver(paced, stream, selection_of(desk, destination, stream))
    assert result.calls >= 3
    assert sandbox.frames[destination.name].windows.exceeded == 0
    assert sandbox.frames[destination.name].most_in_flight <= TIGHT.in_flight


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_a_preview_sends_nothing_and_needs_no_key(
    platform: Start, tmp_path: Path, destination: Destination, stream: Stream
) -> None:
    sandbox = platform(destination.name)
    desk = desk_of(sandbox.url, tmp_path, keys={})
    preview = desk.preview(destination, stream, selection_of(desk, destination, stream))
    assert preview.new > 0
    assert calls_of(sandbox, destination.name) == 0
    assert _states(desk, destination, stream) == {}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize(("destination", "stream"), CALLING, ids=name_of)
def test_a_fault_loses_nothing_and_doubles_nothing(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream, name: str
) -> None:
    options = PLATFORMS[destination.name].short_timeout if name == "time-out" else {}
    sandbox, desk = _prepared(platform, tmp_path, destination, stream, **{destination.name: options})
    expected = desk.preview(destination, stream, selection_of(desk, destination, stream)).new
    route = PLATFORMS[destination.name].routes[stream.name]
    sandbox.add_fault(destination.name, route=route, times=1, **FAULTS[name])
    fast = fast_destination(destination, timeout=SHORT_TIMEOUT if name == "time-out" else None)
    with witness.watching():
        assert _deliver(desk, fast, stream).is_balanced
    witness.texts += _reasons(desk)
    sandbox.clear_faults(destination.name)
    second = _deliver(desk, destination, stream)
    assert second.is_balanced

    states = _states(desk, destination, stream)
    assert states.get("delivered", 0) + states.get("accepted", 0) >= expected
    assert not {"pending", "sending", "in_doubt"} & set(states)
    received = _times_received(sandbox, destination, stream)
    assert len(received) >= expected
    if name in NOT_DONE:
        assert set(received.values()) == {1}
    assert _deliver(desk, destination, stream).calls == 0


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 400}, {"kind": "status", "status": 500}, {"kind": "throttle"}],
    ids=["400", "500", "429"],
)
@pytest.mark.parametrize(("destination", "stream"), CALLING, ids=name_of)
def test_whatever_goes_wrong_nobody_is_named(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream, fault: dict[str, Any]
) -> None:
    sandbox = platform(destination.name)
    options = dict(PLATFORMS[destination.name].personal_lookups)
    desk = desk_of(sandbox.url, tmp_path, **{destination.name: options})
    message = " ".join(small_shop.personal_values())
    sandbox.add_fault(destination.name, message=message, after=1, **fault)
    with witness.watching():
        _deliver(desk, fast_destination(destination, attempts=2), stream)
    witness.texts += _reasons(desk)


@pytest.mark.parametrize(("destination", "stream"), CALLING, ids=name_of)
def test_a_vendor_that_is_down_leaves_everything_for_the_next_run(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    expected = desk.preview(destination, stream, selection_of(desk, destination, stream)).new
    sandbox.add_fault(destination.name, kind="status", status=503)
    with pytest.raises(EngageError) as caught:
        _deliver(desk, fast_destination(destination, attempts=2), stream)
    witness.note(caught.value)
    witness.texts += _reasons(desk)
    sandbox.clear_faults(destination.name)
    result = _deliver(desk, destination, stream)
    assert result.delivered + result.accepted == expected
    assert set(_times_received(sandbox, destination, stream).values()) == {1}


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_a_missing_key_is_named_before_anything_is_sent(
    platform: Start, tmp_path: Path, destination: Destination, stream: Stream
) -> None:
    sandbox = platform(destination.name)
    desk = desk_of(sandbox.url, tmp_path, keys={})
    with pytest.raises(CredentialsError, match=destination.secrets[0]):
        _deliver(desk, destination, stream)
    assert calls_of(sandbox, destination.name) == 0
    assert _states(desk, destination, stream) == {}


@pytest.mark.parametrize(("destination", "stream"), CALLING, ids=name_of)
def test_a_wrong_key_stops_the_run_rejects_nothing_and_is_not_shown(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox = platform(destination.name)
    desk = desk_of(sandbox.url, tmp_path, keys=WRONG_KEYS)
    with pytest.raises(CredentialsError) as caught:
        _deliver(desk, destination, stream)
    witness.note(caught.value)
    witness.texts += _reasons(desk)
    assert calls_of(sandbox, destination.name) <= 2 * destination.limits.in_flight
    assert not {"delivered", "accepted", "in_doubt"} & set(_states(desk, destination, stream))

    desk = desk_of(sandbox.url, tmp_path, keys=KEYS)
    result = _deliver(desk, destination, stream)
    assert result.delivered + result.accepted > 0
    assert result.pending == 0


@pytest.mark.parametrize(("destination", "stream"), ROWS, ids=name_of)
def test_a_record_that_the_vendor_refuses_is_rejected_alone(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    expected = desk.preview(destination, stream, selection_of(desk, destination, stream))
    key, count = PLATFORMS[destination.name].bad_row[stream.name]
    sandbox.add_fault(
        destination.name, kind="row_errors", keys=[key], route=PLATFORMS[destination.name].routes[stream.name]
    )
    result = _deliver(desk, destination, stream)
    assert result.is_balanced
    assert result.rejected == count + sum(expected.rejected.values())
    assert result.delivered + result.accepted == expected.new - count
    assert set(_times_received(sandbox, destination, stream).values()) == {1}
    witness.texts += _reasons(desk)
    assert _deliver(desk, destination, stream).calls == 0


@pytest.mark.parametrize(("destination", "stream"), MISSING, ids=name_of)
def test_a_record_that_the_answer_leaves_out_is_sent_again(
    platform: Start, tmp_path: Path, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    expected = desk.preview(destination, stream, selection_of(desk, destination, stream)).new
    route = PLATFORMS[destination.name].routes[stream.name]
    sandbox.add_fault(destination.name, kind="missing_rows", route=route, times=1)
    first = _deliver(desk, destination, stream)
    assert first.is_balanced
    assert (first.pending, first.delivered + first.accepted) == (1, expected - 1)
    second = _deliver(desk, destination, stream)
    assert (second.pending, second.delivered + second.accepted) == (0, 1)


@pytest.mark.parametrize(("destination", "stream"), FILING, ids=name_of)
def test_a_file_that_cannot_be_handed_over_goes_with_the_next_run(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    drop = tmp_path / "stand-ins" / destination.name / "drop"
    elsewhere = drop.rename(drop.with_name("elsewhere"))
    drop.write_text("in the way")
    with pytest.raises(RetryableError) as caught:
        _deliver(desk, destination, stream)
    witness.note(caught.value)
    assert not {"delivered", "accepted"} & set(_states(desk, destination, stream))

    drop.unlink()
    elsewhere.rename(drop)
    result = _deliver(desk, destination, stream)
    assert result.is_balanced
    assert result.accepted > 0
    assert set(_times_received(sandbox, destination, stream).values()) == {1}


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_what_a_dead_run_left_in_doubt_is_settled_as_declared(
    platform: Start, tmp_path: Path, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    selection = selection_of(desk, destination, stream)
    expected = desk.preview(destination, stream, selection).new

    def send_and_die(session: Any, batch: Batch) -> Sequence[Outcome]:
        stream.send(session, batch)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.deliver(destination, replace(stream, send=send_and_die), selection)
    died_with = _states(desk, destination, stream)["sending"]
    assert died_with > 0

    after = _deliver(desk_of(sandbox.url, tmp_path), destination, stream)
    assert after.is_balanced
    held = 0 if stream.in_doubt.policy == "resend" else died_with
    assert after.in_doubt == held
    assert after.delivered + after.accepted == expected - held
    assert len(_times_received(sandbox, destination, stream)) >= expected
    if stream.name in PLATFORMS[destination.name].looks_first:
        assert set(_times_received(sandbox, destination, stream).values()) == {1}
