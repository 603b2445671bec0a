"""Taking back what has diverged: a return per record, through the same three steps as everything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.delivery.archive import find_sent
from engage_pipelines.errors import GuardError
from engage_pipelines.state import Ledger, return_key, returned_by
from engage_pipelines.warehouse import ReturnRequest, write_returns


def diverged_keys(ledger: Ledger, destination: str, stream: Stream) -> list[str]:
    """The records of a ledger stream that have diverged, as far as the ledger knows."""
    rows = ledger.special(destination, stream.ledger_name).to_pylist()
    return [row["record_key"] for row in rows if row["state"] == "diverged" and row["delivered_hash"]]


def returns_among(sent: pa.Table) -> pa.Table:
    """The returns among what may be sent again exactly as it was."""
    return sent.filter(pa.array([returned_by(key) is not None for key in sent["record_key"].to_pylist()], pa.bool_()))


def plan_returns(
    destination: Destination, stream: Stream, ledger: Ledger, diverged: Sequence[str], *,
    again: pa.Table, outbox: Path, variables: dict[str, Any], file: Path,
) -> list[str]:  # fmt: skip
    """Write the returns that take back diverged records, and those that have to go again; gives the returns' keys.

    A record whose payload cannot be found any more stays diverged: nobody knows exactly what to undo. So does one
    whose return was refused, or is in doubt and may not go again.
    """
    here = (destination.name, stream.ledger_name)
    rows = {row["record_key"]: row for row in ledger.known(*here, diverged).to_pylist()}
    sent = find_sent(outbox / destination.name, {key: row["delivered_hash"] for key, row in rows.items()})
    returns = {return_key(key, rows[key]["correction_count"]): key for key in sent}
    begun = {row["record_key"] for row in ledger.known(*here, list(returns)).to_pylist() if row["state"] != "pending"}
    chosen = [record for key, record in returns.items() if key not in begun]
    table = pa.table({
        "record_key": pa.array(chosen, pa.string()),
        "payload": pa.array([sent[key] for key in chosen], pa.string()),
        "correction_count": pa.array([rows[key]["correction_count"] for key in chosen], pa.int64()),
    })  # fmt: skip
    write_returns(ReturnRequest(stream, destination.folder, table, again, variables, file))
    return [*(key for key in returns if key not in begun), *again["record_key"].to_pylist()]


def too_many(flow: str, returns: int, most: int) -> GuardError | None:
    """The refusal to take back more records at once than anybody corrects by hand; None if they are not so many."""
    if returns <= most:
        return None
    return GuardError(
        f"{flow}: {returns:,} delivered records have changed and would be taken back, more than [guard] floor = "
        f"{most:,}. Look at `engage diverged list`; if it is right, run it again with --yes-really (in Dagster: "
        "yes_really: true)"
    )


def taken_back(ledger: Ledger, destination: str, stream: Stream, returns: Sequence[str]) -> list[str]:
    """The records whose return the platform has."""
    known = ledger.known(destination, stream.ledger_name, returns).to_pylist()
    found = (returned_by(row["record_key"]) for row in known if row["delivered_hash"] is not None)
    return [record[0] for record in found if record]
