"""Bulk calls for contacts: taken at once, worked off after the import interval, asked about by batch id."""

from __future__ import annotations

from typing import Any, ClassVar

from engage_pipelines.sandbox.handling import read_json
from engage_pipelines.sandbox.voyado.contacts import ContactBook
from engage_pipelines.sandbox.voyado.tables import RefusalError, Tenant


class BulkBook:
    """Batches in the tenant's file.

    Args:
        tenant: file, clock and log.
        contacts: where the rows go.
        import_interval: seconds until a batch is worked off.
    """

    LIMIT: ClassVar[int] = 4000

    def __init__(self, tenant: Tenant, contacts: ContactBook, *, import_interval: float) -> None:
        self._tenant = tenant
        self._contacts = contacts
        self._interval = import_interval

    def queue(self, batch: str, kind: str, contact_type: str, body: bytes, *, refused: int) -> None:
        """Keep a batch until it is due; `refused` rows have failed already."""
        with self._tenant.holdings.change() as change:
            change.execute(
                "insert into bulk_batches values (?, ?, ?, ?, 'Pending', ?, 0, ?)",
                (batch, kind, contact_type, self._tenant.clock() + self._interval, body.decode(), refused),
            )
            if refused:
                self._tenant.log(change, "contact_skipped", "bulk", batch, f"{refused} rows refused")

    def import_due(self) -> None:
        """Work off what has waited long enough."""
        query = "select * from bulk_batches where status = 'Pending' and due_at <= ? order by due_at"
        now = self._tenant.clock()
        if not self._tenant.holdings.one(query, (now,)):
            return
        with self._tenant.holdings.change() as change:
            for batch in change.execute(query, (now,)).fetchall():
                taken, failed = self._contacts.take_bulk(
                    change, batch["kind"], batch["contact_type"], read_json(batch["body"]), batch["id"]
                )
                change.execute(
                    "update bulk_batches set status = 'Completed', body = '', taken = ?, failed = failed + ?"
                    " where id = ?",
                    (taken, failed, batch["id"]),
                )

    def status(self, batch: str) -> dict[str, Any]:
        """How far a batch is."""
        row = self._tenant.holdings.one("select * from bulk_batches where id = ?", (batch,))
        if row is None:
            raise RefusalError(404, "BatchNotFound")
        return {
            "batchId": batch, "status": row["status"], "succeeded": row["taken"], "failed": row["failed"],
        }  # fmt: skip
