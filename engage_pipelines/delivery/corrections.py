"""Taking back what has diverged: a return per record, through the same three steps as everything else."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.delivery.archive import find_sent
from engage_pipelines.state import Ledger
from engage_pipelines.warehouse import ReturnRequest, return_key, write_returns

_OVER = frozenset({"rejected", "discarded"})


def plan_returns(
    destination: Destination, stream: Stream, ledger: Ledger, *,
    outbox: Path, variables: dict[str, Any], may_repeat: Collection[str] | None, file: Path,
) -> dict[str, str]:  # fmt: skip
    """Write the returns that take back the stream's diverged records; gives return key -> record.

    A record whose payload cannot be found any more stays diverged: nobody knows exactly what to undo. A return that
    is in doubt is written only if it is in `may_repeat` (None: every one may be).
    """
    rows = ledger.unsettled(destination.name, stream.ledger_name).to_pylist()
    diverged = {row["record_key"]: row for row in rows if row["state"] == "diverged" and row["delivered_hash"]}
    sent = find_sent(outbox / destination.name, {key: row["delivered_hash"] for key, row in diverged.items()})
    returns = {return_key(key, diverged[key]["correction_count"]): key for key in sent}
    doubtful = _not_over(ledger, destination.name, stream, returns)
    chosen = [returns[key] for key, is_in_doubt in doubtful.items() if not is_in_doubt or _may(key, may_repeat)]
    table = pa.table({
        "record_key": pa.array(chosen, pa.string()),
        "payload": pa.array([sent[key] for key in chosen], pa.string()),
        "correction_count": pa.array([diverged[key]["correction_count"] for key in chosen], pa.int64()),
        "is_in_doubt": pa.array([doubtful[return_key(k, diverged[k]["correction_count"])] for k in chosen], pa.bool_()),
    })  # fmt: skip
    write_returns(ReturnRequest(stream, destination.folder, table, variables, file))
    return returns


def taken_back(ledger: Ledger, destination: str, stream: Stream, returns: dict[str, str]) -> list[str]:
    """The records whose return the platform has."""
    known = ledger.known(destination, stream.ledger_name, list(returns)).to_pylist()
    return [returns[row["record_key"]] for row in known if row["delivered_hash"] is not None]


def _not_over(ledger: Ledger, destination: str, stream: Stream, returns: dict[str, str]) -> dict[str, bool]:
    """Returns that the platform neither has nor refused -> True if they may have arrived."""
    known = {row["record_key"]: row for row in ledger.known(destination, stream.ledger_name, list(returns)).to_pylist()}
    over = {key for key, row in known.items() if row["delivered_hash"] or row["state"] in _OVER}
    return {key: key in known and known[key]["state"] == "in_doubt" for key in returns if key not in over}


def _may(key: str, may_repeat: Collection[str] | None) -> bool:
    return may_repeat is None or key in may_repeat
