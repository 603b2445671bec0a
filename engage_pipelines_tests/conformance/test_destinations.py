"""What every platform's connector must do, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engage_pipelines.connector import Batch, Destination, Outcome, Stream
from engage_pipelines.errors import CredentialsError, RetryableError
from engage_pipelines.http_client import Limits, Rate
from engage_pipelines.operations import Desk
from engage_pipelines.sandbox.server import Sandbox
from engage_pipelines_tests import small_shop
from engage_pipelines_tests.conformance.conftest import Witness, deliver, streams_before
from engage_pipelines_tests.conformance.vendors import CALLING, FILING, PLATFORMS, STREAMS, name_of
from engage_pipelines_tests.installation import (
    KEYS,
    WRONG_KEYS,
    calls_of,
    desk_of,
    fast_destination,
    listed,
    selection_of,
)
from engage_pipelines_tests.ledger_rows import mirrored

Start = Callable[[str], Sandbox]

# Tight limits, so that a few records meet them: both must hold at once. What the stand-in enforces is far above them:
# on a busy machine it may see a call much later than that was sent.
TIGHT = Limits(rates=(Rate(4, 0.5), Rate(9, 1.5)), in_flight=3)
ENFORCED = [(4, 0.1), (9, 0.3)]


def _prepared(start: Start, tmp_path: Path, destination: Destination, stream: Stream, **changes: Any) -> tuple[
    Sandbox, Desk
]:  # fmt: skip
    """A desk that has delivered what must have gone before the stream."""
    sandbox = start(destination.name)
    desk = desk_of(sandbox.url, tmp_path, **changes)
    for before in streams_before(destination, stream):
        desk.deliver(destination, before, selection_of(desk, destination, before))
    return sandbox, desk


def _states(desk: Desk, destination: Destination, stream: Stream) -> dict[str, int]:
    states = desk.ledger.states(destination.name, stream.ledger_name)
    return {state: count for (_, _, state), count in states.items()}


def _times_received(sandbox: Sandbox, destination: Destination, stream: Stream) -> dict[str, int]:
    sandbox.stand_ins[destination.name].report()
    kind = PLATFORMS[destination.name].kinds[stream.name]
    return {record["key"]: record["times_received"] for record in listed(sandbox, destination.name, kind)}


def _reasons(desk: Desk) -> list[str]:
    table = mirrored(desk.ledger)["ops.deliveries"]
    return [str(value) for value in table["reason"].to_pylist() if value]


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_everything_arrives_once_and_a_second_run_sends_nothing(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    expected = desk.preview(destination, stream, selection_of(desk, destination, stream))
    first = deliver(desk, destination, stream)
    assert first.is_balanced
    assert first.delivered + first.accepted == expected.new
    assert first.source_records == expected.source_records
    received = _times_received(sandbox, destination, stream)
    assert set(received.values()) == {1}
    calls = calls_of(sandbox, destination.name)

    second = deliver(desk, destination, stream)
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
    changes = {destination.name: {"batch_items": {stream.name: 3}}}
    sandbox, desk = _prepared(platform, tmp_path, destination, stream, **changes)
    sandbox.frames[destination.name].windows.change(ENFORCED)
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
    # Receipts wait for their contacts, of which nobody has sent any.
    assert preview.new + preview.waiting > 0
    assert calls_of(sandbox, destination.name) == 0
    assert _states(desk, destination, stream) == {}


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
        deliver(desk, fast_destination(destination, attempts=2), stream)
    witness.texts += _reasons(desk)


@pytest.mark.parametrize(("destination", "stream"), STREAMS, ids=name_of)
def test_a_missing_key_is_named_before_anything_is_sent(
    platform: Start, tmp_path: Path, destination: Destination, stream: Stream
) -> None:
    sandbox = platform(destination.name)
    desk = desk_of(sandbox.url, tmp_path, keys={})
    with pytest.raises(CredentialsError, match=destination.secrets[0]):
        deliver(desk, destination, stream)
    assert calls_of(sandbox, destination.name) == 0
    assert _states(desk, destination, stream) == {}


@pytest.mark.parametrize(("destination", "stream"), CALLING, ids=name_of)
def test_a_wrong_key_stops_the_run_rejects_nothing_and_is_not_shown(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox, _ = _prepared(platform, tmp_path, destination, stream)
    calls = calls_of(sandbox, destination.name)
    desk = desk_of(sandbox.url, tmp_path, keys=WRONG_KEYS)
    with pytest.raises(CredentialsError) as caught:
        deliver(desk, destination, stream)
    witness.note(caught.value)
    witness.texts += _reasons(desk)
    assert calls_of(sandbox, destination.name) - calls <= 2 * destination.limits.in_flight
    assert not {"delivered", "accepted", "in_doubt"} & set(_states(desk, destination, stream))

    desk = desk_of(sandbox.url, tmp_path, keys=KEYS)
    result = deliver(desk, destination, stream)
    assert result.delivered + result.accepted > 0
    assert result.pending == 0


@pytest.mark.parametrize(("destination", "stream"), FILING, ids=name_of)
def test_a_file_that_cannot_be_handed_over_goes_with_the_next_run(
    platform: Start, tmp_path: Path, witness: Witness, destination: Destination, stream: Stream
) -> None:
    sandbox, desk = _prepared(platform, tmp_path, destination, stream)
    drop = tmp_path / "stand-ins" / destination.name / "drop"
    elsewhere = drop.rename(drop.with_name("elsewhere"))
    drop.write_text("in the way")
    with pytest.raises(RetryableError) as caught:
        deliver(desk, destination, stream)
    witness.note(caught.value)
    assert not {"delivered", "accepted"} & set(_states(desk, destination, stream))

    drop.unlink()
    elsewhere.rename(drop)
    result = deliver(desk, destination, stream)
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

    after = deliver(desk_of(sandbox.url, tmp_path), destination, stream)
    assert after.is_balanced
    held = 0 if stream.in_doubt.policy == "resend" else died_with
    assert after.in_doubt == held
    assert after.delivered + after.accepted == expected - held
    assert len(_times_received(sandbox, destination, stream)) >= expected
    if stream.name in PLATFORMS[destination.name].looks_first:
        assert set(_times_received(sandbox, destination, stream).values()) == {1}
