"""Three deliberate bugs, installed in a child: a campaign that does not fail with one of them proves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from engage_pipelines.connector import Outcome
from engage_pipelines.state import Attempt, Ledger, Settlement

MUTATION = "ENGAGE_CHAOS_MUTATION"


def _step_1_not_committed() -> None:
    """Step 1 reaches the disk together with step 3: a run that dies in between leaves no trace of what it sent."""
    begin, settle = Ledger.begin, Ledger.settle

    def note_later(ledger: Ledger, *given: Any) -> Attempt:
        destination, stream, batch_id, run_id, rows, now = given
        return Attempt(destination, stream, batch_id, run_id, list(rows), now)

    def note_both(ledger: Ledger, attempt: Attempt, *rest: Any) -> None:
        begin(ledger, *(getattr(attempt, name) for name in Attempt.__slots__))
        settle(ledger, attempt, *rest)

    Ledger.begin, Ledger.settle = note_later, note_both  # type: ignore[method-assign,assignment]


def _marked_before_the_answer() -> None:
    """Records count as accepted as soon as they are noted: a run that dies before the call loses them."""
    begin = Ledger.begin

    def mark(ledger: Ledger, *given: Any) -> Attempt:
        attempt = begin(ledger, *given)
        ledger.settle(attempt, [Settlement(key, "accepted") for key, _ in attempt.rows], attempt.started_at)
        return attempt

    Ledger.begin = mark  # type: ignore[method-assign,assignment]


def _body_not_read() -> None:
    """A 200 is a yes, whatever its body says."""
    aiq: Any = import_module("engage_pipelines.destinations.aiq")
    crmcom: Any = import_module("engage_pipelines.destinations.crmcom")
    aiq.raise_if_refused = lambda *_: None

    def all_delivered(codes: Iterable[str], *_: Any, **__: Any) -> list[Outcome]:
        return [Outcome("delivered") for _code in codes]

    def post(session: Any, method: str, body: Any, *, timeout: float) -> dict[str, Any]:
        # The token's own answer is still read: without a token there would be nothing to get wrong.
        session._post(method, {"token": session._valid_token(), **body}, timeout=timeout)
        return {}

    crmcom.product_outcomes = all_delivered
    crmcom.Session.call = post


MUTATIONS: dict[str, Callable[[], None]] = {
    "step-1-not-committed": _step_1_not_committed,
    "marked-before-the-answer": _marked_before_the_answer,
    "body-not-read": _body_not_read,
}


def install_as_told() -> None:
    """Install the bug that the environment of this child names, if it names one."""
    if name := os.environ.pop(MUTATION, ""):
        MUTATIONS[name]()
