"""Correcting what a platform cannot change: the stream's correction file gives a return and the record anew.

A record that was returned goes out again under another id, and its ledger row counts how often that has happened:
`correction_count`. So the record's own row tells, as ever, what the platform holds now.

A correction file is one SELECT over the view `corrected(record_key, sent_payload, payload, skipped_reason, sent_mark,
new_mark)` that gives `record_key, correction_key, payload, weight`: the return, whose key is
`<record_key>:return:<sent_mark>`, and the new form, whose key is `<record_key>:new:<new_mark>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from engage_pipelines.connector import Stream
from engage_pipelines.warehouse.database import Connection, bare, quoted, scratch_connection, set_variables


@dataclass(frozen=True, slots=True)
class ReturnRequest:
    """Which records to take back.

    Attributes:
        stream: its declaration, with a correction file.
        folder: where the destination's SQL files are.
        sent: `record_key, payload, correction_count`, with the payload as the platform holds it.
        again: `record_key, payload` of returns in doubt, as they were sent.
        variables: the destination's options.
        file: Parquet file to write, as a plan has it; record_key is the return's own key.
    """

    stream: Stream
    folder: Path
    sent: pa.Table
    again: pa.Table
    variables: Mapping[str, Any]
    file: Path


def write_returns(request: ReturnRequest) -> None:
    """Write the returns that take records back, as a plan."""
    connection = scratch_connection()
    try:
        set_variables(connection, request.variables)
        connection.register("sent", request.sent)
        connection.register("again", request.again)
        connection.execute(
            "create temp view corrected as select record_key, payload as sent_payload, null::varchar as payload, "
            "'taken back' as skipped_reason, (correction_count + 1)::varchar as sent_mark, "
            "null::varchar as new_mark from sent"
        )
        sql = bare((request.folder / str(request.stream.correction)).read_text())
        request.file.parent.mkdir(parents=True, exist_ok=True)
        connection.execute(
            # Typed: a payload that is made by to_json is a type of its own in the file, which no reader expects.
            "copy (select record_key, payload::varchar as payload, md5(payload::varchar) as payload_hash, "
            "weight::integer as weight, strlen(payload::varchar) as byte_count, is_in_doubt, "
            "null::varchar as changed_to from ("
            f"select correction_key as record_key, payload, weight, false as is_in_doubt from ({sql}) "
            f"union all select record_key, payload, 1, true from again) order by 1) to {quoted(request.file)} "
            "(format parquet, compression zstd, row_group_size 4096)"
        )
    finally:
        connection.close()


def rename_corrected(connection: Connection, stream: Stream, folder: Path) -> None:
    """Give records that were taken back before the id under which they are anew; reads and changes `shaped`."""
    if stream.correction is None:
        return
    connection.execute(
        "create temp table corrected as select s.record_key, s.payload as sent_payload, s.payload, "
        "null::varchar as skipped_reason, l.correction_count::varchar as sent_mark, "
        "l.correction_count::varchar as new_mark from shaped as s join special as l using (record_key) "
        "where l.correction_count > 0 and s.skipped_reason is null and s.rejected_reason is null"
    )
    sql = bare((folder / stream.correction).read_text())
    connection.execute(
        f"create temp table renamed as select record_key, payload from ({sql}) where contains(correction_key, ':new:')"
    )
    connection.execute(
        "update shaped set payload = renamed.payload from renamed where shaped.record_key = renamed.record_key"
    )
