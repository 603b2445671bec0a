"""Records that may or may not have arrived: how they were sent, and looking them up where that is the policy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from engage_pipelines.connector import Batch, Policy, Stream, Verdict
from engage_pipelines.errors import ConfigError, ContractError, RejectedError, RetryableError, UnknownOutcomeError
from engage_pipelines.on_use import pq
from engage_pipelines.state import Doubt, Settlement

_LOG = logging.getLogger(__name__)
# What is known after a question is noted before the next one.
_ASKED_AT_ONCE = 100
_SENT = pa.schema([("record_key", pa.string()), ("payload_hash", pa.string()), ("payload", pa.string())])


def policy_of(destination: str, stream: Stream, wanted: Mapping[str, Policy]) -> Policy:
    """What happens to a stream's records in doubt: as declared, or as engage.toml wants it.

    Raises:
        ConfigError: engage.toml wants what the platform's documents do not allow.
    """
    policy = wanted.get(stream.name, stream.in_doubt.policy)
    allowed = {stream.in_doubt.policy, "hold", *(["verify"] if stream.in_doubt.verify else [])}
    if policy not in allowed:
        raise ConfigError(
            f"[destinations.{destination}] in_doubt: {stream.name} cannot be {policy!r}; "
            f"allowed: {', '.join(sorted(allowed))}"
        )
    return policy


def read_sent(outbox: Path, doubts: Sequence[Doubt]) -> pa.Table:
    """Read what was sent of some records, from the plans that their runs left: `record_key, payload_hash, payload`.

    A record whose plan is gone is missing in the result.
    """
    keys: dict[str, list[str]] = {}
    for doubt in doubts:
        if doubt.run_id:
            keys.setdefault(doubt.run_id, []).append(doubt.record_key)
    found = [
        pq.read_table(plan, columns=_SENT.names, filters=[("record_key", "in", wanted)]).cast(_SENT)
        for run_id, wanted in keys.items()
        for plan in outbox.glob(f"*/{run_id}/plan.parquet")
    ]
    return pa.concat_tables([_SENT.empty_table(), *found])


def look_up(stream: Stream, session: Any, sent: pa.Table) -> Iterator[Mapping[str, Verdict]]:
    """Ask the platform for records in doubt; yields record_key -> verdict after each question.

    A platform that cannot be asked leaves the rest in doubt for the next run; one that refuses a question leaves only
    the records of that question so.

    Raises:
        CredentialsError, ConfigError: a person must act.
    """
    for start in range(0, sent.num_rows, _ASKED_AT_ONCE):
        rows = sent.slice(start, _ASKED_AT_ONCE)
        keys = tuple(rows["record_key"].to_pylist())
        batch = Batch("look-up", keys, tuple(text.encode() for text in rows["payload"].to_pylist()))
        try:
            yield dict(zip(keys, _ask(stream, session, batch), strict=True))
        except RejectedError as error:
            _LOG.warning("%s: %d records in doubt stay so, the look-up was refused: %s", stream.name, len(keys), error)
        except (RetryableError, UnknownOutcomeError, ContractError) as error:
            _LOG.warning("%s: records in doubt stay so, the platform cannot be asked: %s", stream.name, error)
            return


def settlements_of(stream: Stream, verdicts: Mapping[str, Verdict]) -> list[Settlement]:
    """What is certain after a look.

    What is absent goes out anew, except where the platform keeps the first version it gets: the attempt may yet
    turn up there, so the record stays in doubt until exactly the same has been sent again.
    """
    there = [
        Settlement(key, "delivered", "was in doubt; found at the platform")
        for key, verdict in verdicts.items() if verdict == "there"
    ]  # fmt: skip
    absent = [
        Settlement(key, "pending", "was in doubt; not found at the platform")
        for key, verdict in verdicts.items() if verdict == "absent" and not stream.immutable
    ]  # fmt: skip
    return there + absent


def _ask(stream: Stream, session: Any, batch: Batch) -> Sequence[Verdict]:
    if stream.in_doubt.verify is None:
        raise ConfigError(f"{stream.name} declares no way to look a record up")
    verdicts = stream.in_doubt.verify(session, batch)
    if len(verdicts) != len(batch.keys):
        raise ContractError(f"{stream.name}: {len(verdicts)} verdicts for {len(batch.keys)} records")
    return verdicts
