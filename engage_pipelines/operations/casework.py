"""What a person does with records that wait: look at them, put them right, send them again, put them aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import msgspec

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.delivery import Delivered, mask
from engage_pipelines.delivery.doubt import read_sent
from engage_pipelines.delivery.masking import MASK
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.errors import ConfigError
from engage_pipelines.http_client import redact
from engage_pipelines.operations.carriers import carriers, ledger_name, personal_fields
from engage_pipelines.operations.desk import Desk
from engage_pipelines.operations.payloads import change, check_key, compact
from engage_pipelines.state import Doubt, Waiting
from engage_pipelines.warehouse import Selection

# As it was sent: an amount must look the same.
_AS_SENT = msgspec.json.Decoder(float_hook=Decimal)
_REFUSED = ("rejected", "discarded")


@dataclass(frozen=True, slots=True)
class Case:
    """A record that waits; what identifies a person in its payload is masked unless it was asked for openly.

    Attributes:
        record: what the ledger knows.
        payload: as it was refused or sent; None where none is kept.
        text: the same as JSON text, only where it was asked for openly.
    """

    record: Waiting
    payload: Any
    text: str | None = None

    def values(self) -> dict[str, Any]:
        """The case as plain values."""
        return {**asdict(self.record), "payload": self.payload}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of records that were sent again.

    Attributes:
        records: how many there were.
        runs: what each stream did that carries some of them.
        refused: how many are refused again.
    """

    records: int
    runs: tuple[Delivered, ...] = ()
    refused: int = 0


def find_cases(
    desk: Desk,
    state: str,
    destination: str | None = None,
    stream: str | None = None,
    *,
    keys: Sequence[str] | None = None,
    vendor_code: str | None = None,
    reveal: bool = False,
) -> list[Case]:
    """The records in a state, oldest first.

    Raises:
        ConfigError: no such destination or stream.
    """
    name = ledger_name(desk, destination, stream)
    found = desk.queue.waiting(state, destination, name, keys=keys, vendor_code=vendor_code)
    sent = _as_sent(desk, found) if state == "in_doubt" else {}
    return [_case(record, sent.get(_name(record), record.payload), reveal=reveal) for record in found]


def find_case(desk: Desk, destination: Destination, stream: Stream, key: str, *, reveal: bool = False) -> Case:
    """One record that is refused, put aside or in doubt.

    Raises:
        ConfigError: it is none of these.
    """
    for state in (*_REFUSED, "in_doubt"):
        for case in find_cases(desk, state, destination.name, stream.name, keys=[key], reveal=reveal):
            return case
    raise ConfigError(
        f"{destination.name} {stream.name}: {key} is neither refused nor in doubt; what waits is listed by "
        "`engage rejected list` and `engage resolve`"
    )


def resolve(desk: Desk, destination: Destination, stream: Stream, keys: Sequence[str] | None, *, sent: bool) -> int:
    """Settle records in doubt because a person has looked: they are there (`sent`), or they are not.

    Those that are not there go out with the next run. Gives how many were settled.

    Raises:
        ConfigError: a named record is not in doubt.
    """
    state, reason = ("delivered", "a person found it there") if sent else ("pending", "a person did not find it there")
    chosen = _keys_in(desk, destination, stream, ("in_doubt",), keys)
    return _decide(desk, destination, stream, chosen, was=("in_doubt",), state=state, reason=reason)


def discard(
    desk: Desk,
    destination: Destination,
    stream: Stream,
    keys: Sequence[str] | None,
    because: str,
    *,
    vendor_code: str | None = None,
) -> int:
    """Put refused records aside, as they are now; a record that changes at its source is tried again.

    Raises:
        ConfigError: a named record is not refused, or no reason is given.
    """
    if not because.strip():
        raise ConfigError("--because: say why these records are put aside; it stays with them")
    # The reason is shown to everybody, and people write names and addresses.
    reason = f"discarded: {redact(because.strip())}"
    chosen = _keys_in(desk, destination, stream, ("rejected",), keys, vendor_code)
    return _decide(desk, destination, stream, chosen, was=("rejected",), state="discarded", reason=reason)


def replay(
    desk: Desk,
    destination: Destination,
    stream: Stream,
    keys: Sequence[str] | None,
    *,
    vendor_code: str | None = None,
) -> Replayed:
    """Send refused records again, on the same path as ever.

    Named ones are taken also if a person has put them aside, or if they are pending.

    Raises:
        ConfigError: a named record is not refused.
        EngageError: the platform could not take them; they are pending then, and go with the next run.
    """
    states = (*_REFUSED, "pending") if keys else ("rejected",)
    chosen = _keys_in(desk, destination, stream, states, keys, vendor_code)
    # Found missing later, a key would leave them pending, and the list of what is refused would be empty.
    desk.settings.secrets(destination.secrets if chosen else ())
    _decide(desk, destination, stream, chosen, was=states, state="pending", reason="to be sent again")
    runs = [
        # A person has chosen these records: no guard rail has to ask again.
        desk.deliver(destination, carrier, Selection(keys=part), yes_really=True)
        for carrier, part in carriers(desk, destination, stream, chosen)
        if part
    ]
    refused = desk.queue.keys_in(("rejected",), destination.name, stream.ledger_name, keys=chosen)
    return Replayed(len(chosen), tuple(runs), len(refused))


def fix(
    desk: Desk, destination: Destination, stream: Stream, key: str, changes: Collection[str], whole: str | None
) -> Any:
    """Put a corrected payload in the place of a refused one; gives it, masked. It goes out with the next run.

    Args:
        desk: the installation.
        destination: the platform.
        stream: the stream.
        key: the refused record.
        changes: `path=value`, e.g. `visit.location=Store1`; the value is JSON, or else text.
        whole: the whole payload as JSON text, instead of changes.

    Raises:
        ConfigError: the record is not refused or is a return, a path leads nowhere, the payload is no JSON object,
            still has masked values or lost the key by which the platform knows the record.
    """
    name = stream.ledger_name
    if stream.correction and ":return:" in key:
        raise ConfigError(f"{key} undoes exactly what was sent and cannot be changed; `replay` or `discard` it")
    (key,) = _keys_in(desk, destination, stream, _REFUSED, [key])
    (found,) = (w for s in _REFUSED for w in desk.queue.waiting(s, destination.name, name, keys=[key]))
    payload = compact(whole) if whole is not None else _changed(found, changes)
    if MASK in payload:
        raise ConfigError(f"{key}: the payload has masked values ({MASK}); start from `show --reveal`")
    check_key(found.payload, payload, key)
    desk.queue.fix(destination.name, name, key, instead_of=found.payload_hash, payload=payload, now=desk.now())
    _decide(desk, destination, stream, [key], was=_REFUSED, state="pending", reason="put right by a person")
    return mask(payload, stream.personal)


def _decide(
    desk: Desk,
    destination: Destination,
    stream: Stream,
    keys: Sequence[str],
    *,
    was: Sequence[str],
    state: str,
    reason: str,
) -> int:
    return desk.queue.decide(
        destination.name, stream.ledger_name, keys, was=was, state=state, reason=reason, now=desk.now()
    )


def _keys_in(
    desk: Desk,
    destination: Destination,
    stream: Stream,
    states: Sequence[str],
    keys: Sequence[str] | None,
    vendor_code: str | None = None,
) -> list[str]:
    """The records in some states, all or those named.

    Raises:
        ConfigError: a named record is not in one of them.
    """
    found = desk.queue.keys_in(
        states, destination.name, stream.ledger_name, keys=sorted(set(keys)) if keys else None, vendor_code=vendor_code
    )
    missing = sorted(set(keys or ()) - set(found))
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        what, listed = ("in doubt", "resolve") if "in_doubt" in states else ("refused", "rejected list")
        raise ConfigError(
            f"{destination.name} {stream.name}: not {what}: {names}; "
            f"see `engage {listed} {destination.name} {stream.name}`"
        )
    return found


def _name(record: Waiting) -> tuple[str, str, str]:
    return record.destination, record.stream, record.record_key


def _as_sent(desk: Desk, records: Sequence[Waiting]) -> dict[tuple[str, str, str], str]:
    """What was sent of records in doubt, from the plans that their runs left."""
    found = {}
    for destination, stream in sorted({(r.destination, r.stream) for r in records}):
        here = [r for r in records if (r.destination, r.stream) == (destination, stream)]
        doubts = [Doubt(r.record_key, r.payload_hash, r.run_id) for r in here]
        for row in read_sent(desk.settings.data / "outbox" / destination, doubts).to_pylist():
            found[destination, stream, row["record_key"]] = row["payload"]
    return found


def _case(record: Waiting, payload: str | None, *, reveal: bool) -> Case:
    if payload is None:
        return Case(record, None)
    if reveal:
        return Case(record, _AS_SENT.decode(payload), payload)
    personal = personal_fields(record.destination, record.stream, DESTINATIONS)
    return Case(record, MASK if personal is None else mask(payload, personal))


def _changed(record: Waiting, changes: Collection[str]) -> str:
    if record.payload is None:
        raise ConfigError(f"{record.record_key}: its payload is not kept; give the whole one with --payload")
    if not changes:
        raise ConfigError("say what to change with --set path=value, or give the whole payload with --payload")
    return change(record.payload, changes)
