"""The ledger as a test reads it: whole."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from engage_pipelines.state import Ledger


def mirrored(ledger: Ledger) -> dict[str, pa.Table]:
    """The ledger's tables by their name in the published warehouse."""
    found = {}
    for table in ledger.mirror():
        with table.rows() as rows:
            found[table.name] = rows.read_all()
    return found


def known_all(ledger: Ledger, destination: str, stream: str) -> pa.Table:
    """Every row of a stream, with the columns of `ops.deliveries`."""
    rows = mirrored(ledger)["ops.deliveries"]
    return rows.filter(pc.and_(pc.equal(rows["destination"], destination), pc.equal(rows["stream"], stream)))
