"""The vendor's own work, as the frame calls it: poison is refused before it, the journal notes what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from engage_pipelines.sandbox.acting import Captured, Exchange, handle, read_body, replay
from engage_pipelines.sandbox.faults import Fault, FaultBook, Struck
from engage_pipelines.sandbox.handling import FAULT_KEY, UnreadableError, answer, read_json
from engage_pipelines.sandbox.journal import Journal
from engage_pipelines.sandbox.rows import SentRows
from engage_pipelines.sandbox.stand_in import RefusesCalls, StandIn

# The rows of a call, put into its scope by the frame.
SENT_KEY = "engage.sent"
CALL_KEY = "engage.call"


@dataclass(slots=True)
class Work:
    """What every way to the stand-in's routes goes through, faults that strike after the work included."""

    stand_in: StandIn
    api: ASGIApp
    faults: FaultBook
    journal: Journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work of one call."""
        sent: SentRows = scope.get(SENT_KEY) or SentRows(None)
        if sent.rows is None:
            await self.api(scope, receive, send)
            return
        body = await read_body(receive)
        refusal = await run_in_threadpool(self._refusal, scope, sent)
        app: ASGIApp = refusal or self.api
        # Journalled before the answer leaves, so that whoever has the answer finds the entry.
        done = await handle(Exchange(app, scope, replay(body), send, body))
        await run_in_threadpool(self._note, sent, done, scope.get(FAULT_KEY))
        await done.leave(send)

    def _refusal(self, scope: Scope, sent: SentRows) -> Response | None:
        call: Struck = scope[CALL_KEY]
        poison = self.faults.poison_in(call)
        if poison and not poison.by_row:
            return self._refused(poison)
        if poison:
            scope[FAULT_KEY] = replace(poison, kind="row_errors")
        fault: Fault | None = scope.get(FAULT_KEY)
        acts_out = sent.rows is not None and sent.rows.acts_out
        if fault and fault.kind == "row_errors" and not acts_out and fault.struck_rows(sent.keys()):
            return self._refused(fault)
        return None

    def _refused(self, fault: Fault) -> Response:
        if isinstance(self.stand_in, RefusesCalls):
            return self.stand_in.refusal(fault.message)
        return answer({"message": fault.message}, fault.status or 400)

    def _note(self, sent: SentRows, done: Captured, fault: Fault | None) -> None:
        if sent.rows is None:
            return
        # Where the vendor does not say in its answer which rows it refused, the fault does.
        silent = fault and fault.kind == "row_errors" and not sent.rows.refused_at
        struck = fault.struck_rows(sent.keys()) if fault and silent else ()
        known = [row for row in sent.all if row.key]
        self.journal.note(sent.rows, known, done.status, _read(done.body), struck)


def _read(body: bytes) -> Any:
    try:
        return read_json(body) if body else None
    except UnreadableError:
        return None
