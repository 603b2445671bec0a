"""The operational tables that analysts can read: loads, quarantine, completeness, the ledger's mirror."""

from __future__ import annotations

from engage_pipelines.model.table import Column, Table

LOADS = Table(
    "ops", "loads", "One row per load of a pulled window, latest run of each window.", ("load_id",),
    (
        Column("load_id", "text", "Our key: source, entity, window and locations.", required=True),
        Column("source", "text", "Till system.", required=True),
        Column("entity", "text", "What was pulled, e.g. `orders`.", required=True),
        Column("location_ids", "text", "The till's location ids, comma separated; empty if not per location.",
               required=True),
        Column("window_start_at", "timestamp", "Start of the window of modification times, inclusive.",
               required=True),
        Column("window_end_at", "timestamp", "End of the window, exclusive.", required=True),
        Column("spool_path", "text", "Folder of the raw records, relative to the lake.", required=True),
        Column("page_count", "integer", "Pages pulled.", required=True),
        Column("record_count", "integer", "Records pulled.", required=True),
        Column("changed_count", "integer", "Records new or changed against what core had.", required=True),
        Column("quarantined_count", "integer", "Records put into quarantine.", required=True),
        Column("unknown_field_count", "integer",
               "Distinct top-level fields of the first 1,000 records that no mapping reads.",
               required=True),
        Column("unknown_fields", "text", "Their names, comma separated."),
        Column("pulled_at", "timestamp", "When the pull ended (UTC).", required=True),
        Column("loaded_at", "timestamp", "When the load committed (UTC).", required=True),
    ),
)  # fmt: skip

QUARANTINE = Table(
    "ops", "quarantine",
    "One row per source record that could not become a row; the raw record is in the spool, at this line.",
    ("load_id", "record_id", "reason"),
    (
        Column("load_id", "text", "Load that met it.", required=True),
        Column("source", "text", "Till system.", required=True),
        Column("entity", "text", "What kind of record.", required=True),
        Column("record_id", "text", "The till's id, or `line <n>` if it has none.", required=True),
        Column("reason", "text", "Why, without personal data.", required=True),
        Column("spool_path", "text", "Folder of the raw record, relative to the lake.", required=True),
        Column("quarantined_at", "timestamp", "When (UTC).", required=True),
    ),
)  # fmt: skip

COMPLETENESS = Table(
    "ops", "completeness",
    "One row per window and location: what the till says it has against what landed.",
    ("load_id", "location_id"),
    (
        Column("load_id", "text", "Load that was checked.", required=True),
        Column("source", "text", "Till system.", required=True),
        Column("entity", "text", "What kind of record.", required=True),
        Column("location_id", "text", "The till's location id.", required=True),
        Column("window_start_at", "timestamp", "Start of the window, inclusive.", required=True),
        Column("window_end_at", "timestamp", "End of the window, exclusive.", required=True),
        Column("expected_count", "integer", "Records the till lists for the window.", required=True),
        Column("landed_count", "integer", "Records pulled, quarantined ones included.", required=True),
        Column("missing_count", "integer", "Listed but not pulled: must be 0.", required=True),
        Column("moved_count", "integer", "Pulled but no longer listed: changed again in the meantime.",
               required=True),
        Column("is_complete", "boolean", "True if nothing is missing.", required=True),
        Column("checked_at", "timestamp", "When (UTC).", required=True),
    ),
)  # fmt: skip

DELIVERIES = Table(
    "ops", "deliveries",
    "Mirror of the delivery ledger: one row per destination, stream and record.",
    ("destination", "stream", "record_key"),
    (
        Column("destination", "text", "Platform.", required=True),
        Column("stream", "text", "What kind of record.", required=True),
        Column("record_key", "text", "Our key of the record.", required=True),
        Column("state", "text", "`pending`, `sending`, `delivered`, `accepted`, `rejected`, `in_doubt`, `diverged`, "
               "`skipped` or `discarded`.", required=True),
        Column("payload_hash", "text", "Hash of the payload last sent or refused.", required=True),
        Column("delivered_hash", "text", "Hash of the payload the platform holds, if any."),
        Column("delivered_at", "timestamp", "When the platform took what it holds (UTC)."),
        Column("delivered_batch_id", "text", "Batch that brought what the platform holds."),
        Column("batch_id", "text", "Batch of the last attempt."),
        Column("run_id", "text", "Run of the last attempt."),
        Column("attempt_count", "integer", "Attempts so far.", required=True),
        Column("correction_count", "integer", "How often it was taken back by a return and sent anew.", required=True),
        Column("reason", "text", "Why it is rejected, pending or diverged."),
        Column("vendor_code", "text", "The platform's code for it."),
        Column("first_attempt_at", "timestamp", "First attempt (UTC)."),
        Column("last_attempt_at", "timestamp", "Last attempt (UTC)."),
        Column("settled_at", "timestamp", "When the present state was noted (UTC)."),
    ),
)  # fmt: skip

DELIVERY_RUNS = Table(
    "ops", "delivery_runs", "Mirror of the delivery runs: one row per run of a stream.", ("run_id",),
    (
        Column("run_id", "text", "Our key.", required=True),
        Column("destination", "text", "Platform.", required=True),
        Column("stream", "text", "What kind of record.", required=True),
        Column("started_at", "timestamp", "When (UTC).", required=True),
        Column("ended_at", "timestamp", "When; null while running or after a crash."),
        Column("planned_count", "integer", "Records to send."),
        Column("planned_amounts", "json", "Currency -> amount to send, for receipts."),
        Column("day_count", "integer", "Days that the run looked at."),
        Column("reach", "text", "How far it looked: `everything`, `owed` (all the stream owes), `days` or `keys`."),
        Column("source_record_count", "integer", "Records considered."),
        Column("delivered_count", "integer", "Confirmed one by one."),
        Column("accepted_count", "integer", "Taken by the platform, which confirms no single record."),
        Column("rejected_count", "integer", "Refused for good."),
        Column("pending_count", "integer", "To be tried again."),
        Column("in_doubt_count", "integer", "May or may not have arrived."),
        Column("diverged_count", "integer", "Changed after an immutable delivery."),
        Column("unchanged_count", "integer", "Already there as they are."),
        Column("skipped_count", "integer", "Do not go there, with reasons in `skipped`."),
        Column("skipped", "json", "Reason -> count."),
        Column("call_count", "integer", "Calls made."),
        Column("minimal_call_count", "integer", "Calls that the platform's limits make necessary."),
    ),
)  # fmt: skip

DELIVERY_BATCHES = Table(
    "ops", "delivery_batches", "Mirror of the batches: one row per batch and run that sent it.",
    ("batch_id", "run_id"),
    (
        Column("batch_id", "text", "Our key: what the batch carries, and in which form.", required=True),
        Column("run_id", "text", "Run that sent it.", required=True),
        Column("destination", "text", "Platform.", required=True),
        Column("stream", "text", "What kind of record.", required=True),
        Column("record_count", "integer", "Records in it.", required=True),
        Column("started_at", "timestamp", "When it was noted as being sent (UTC).", required=True),
        Column("ended_at", "timestamp", "When its outcomes were noted; null while under way or after a crash."),
        Column("call_count", "integer", "Calls made for it, repeats and searches for refused records included."),
        Column("route", "text", "Method and path of the last call."),
        Column("status", "integer", "HTTP status of the last call; null if no answer came."),
        Column("request_id", "text", "The platform's id of the last call, where it tells."),
        Column("outcomes", "json", "State -> records."),
        Column("answer", "text", "What went wrong, if anything; no body, no personal data."),
    ),
)  # fmt: skip

VERSIONS = Table(
    "ops", "versions", "One row per version of a receipt that was loaded: its history, which core does not keep.",
    ("transaction_id", "modified_at", "version"),
    (
        Column("transaction_id", "text", "Receipt.", required=True),
        Column("modified_at", "timestamp", "When the till changed it (UTC).", required=True),
        Column("version", "integer", "The till's version number, 0 if it has none.", required=True),
        Column("status", "text", "Status in this version.", required=True),
        Column("total_amount", "money", "Total in this version, in the receipt's currency.", required=True),
        Column("load_id", "text", "Load that brought it first.", required=True),
        Column("loaded_at", "timestamp", "When (UTC).", required=True),
    ),
)  # fmt: skip

OPS_TABLES = (LOADS, QUARANTINE, COMPLETENESS, VERSIONS, DELIVERIES, DELIVERY_RUNS, DELIVERY_BATCHES)
