"""How CRM.COM answers: an envelope whose `status.code` is OK or not, and products in two sets.

No list of error codes is published: codes are kept as they come and compared with options only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from engage_pipelines.connector import Outcome, OutcomeState
from engage_pipelines.errors import (
    ConfigError,
    ContractError,
    EngageError,
    RejectedError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Answer, redact

# Refusals that may carry the envelope. 401 is here because it may mean an expired token.
READ_STATUSES = frozenset({400, 401, 404, 405, 409, 413, 422})
NO_SUCH_METHOD = frozenset({404, 405})
_LONGEST_REASON = 200


class Status(msgspec.Struct):
    """`status` of the envelope; only `code` tells success."""

    code: str | int | None = None
    message: str | None = None
    description: str | None = None

    @property
    def safe_code(self) -> str:
        """The code, fit for a message."""
        return redact(str(self.code))[:60]


class Envelope(msgspec.Struct):
    """The frame of every answer."""

    status: Status
    data: Any = None

    @property
    def values(self) -> dict[str, Any]:
        """`data` as an object; empty where the answer has none."""
        return self.data if isinstance(self.data, dict) else {}


class ResultRow(msgspec.Struct):
    """One product of either set of the answer."""

    request_code: str | int | None = None
    id: str | int | None = None
    error_code: str | int | None = None
    error_description: str | None = None
    message: str | None = None


class ProductSets(msgspec.Struct):
    """`data` of products/synchronise."""

    processed_products_set: list[ResultRow] | None = None
    unprocessed_products_set: list[ResultRow] | None = None


def read_envelope(answer: Answer) -> Envelope | None:
    """The envelope of an answer, or None if its body is something else."""
    try:
        envelope: Envelope = answer.json(Envelope)
    except ContractError:
        return None
    return envelope


def is_ok(answer: Answer, envelope: Envelope | None) -> bool:
    """True if the call as a whole was taken; `message` is no sign, it may be set on success too."""
    return 200 <= answer.status < 300 and envelope is not None and str(envelope.status.code).upper() == "OK"


def is_token_refused(answer: Answer, envelope: Envelope | None) -> bool:
    """True if the answer looks like an expired token. What it looks like is not documented."""
    if answer.status == 401:
        return True
    if envelope is None or is_ok(answer, envelope):
        return False
    status = envelope.status
    text = f"{status.code} {status.message} {status.description}".lower()
    return "token" in text or "session" in text


def refusal(what: str, answer: Answer, envelope: Envelope | None, *, secrets: Collection[str]) -> EngageError:
    """The error for a call that was refused as a whole."""
    if envelope is None:
        if answer.status in NO_SUCH_METHOD:
            return ConfigError(f"{what}: status {answer.status}, no such method; check base_url and api_path")
        return RejectedError(f"{what}: refused with status {answer.status}")
    code = envelope.status.safe_code
    words = envelope.status.message or envelope.status.description or ""
    text = f"{what}: refused with status {answer.status}, code {code}"
    text += f": {_reason(words, secrets)}" if words else ""
    if "definition" in f"{code} {words}".lower():
        # Not a product's fault: bisecting the batch would reject the whole catalogue row by row.
        return ConfigError(f"{text}; check synchronisation_definition")
    return RejectedError(text, vendor_code=code)


def product_outcomes(
    codes: Sequence[str], data: Mapping[str, Any], *, already_there: Collection[str], reads_message: bool
) -> list[Outcome]:
    """One outcome per sent code, in order.

    Args:
        codes: codes of the products that were sent.
        data: `data` of the answer.
        already_there: error codes that mean that CRM.COM has the product and leaves it as it is.
        reads_message: True if `message` of a processed product tells what was not updated (R17).

    Raises:
        UnknownOutcomeError: the sets are not what the documents say.
    """
    try:
        sets = msgspec.convert(data, ProductSets)
    except msgspec.ValidationError as error:
        raise UnknownOutcomeError(f"CRM.COM: products/synchronise: unreadable result: {error}") from error
    # Refused last, so that a product in both sets counts as refused: that is seen, the contrary is not.
    told = [
        *(_processed(row, reads_message=reads_message) for row in sets.processed_products_set or ()),
        *(_unprocessed(row, already_there) for row in sets.unprocessed_products_set or ()),
    ]
    exact = dict(told)
    folded = {code.casefold(): outcome for code, outcome in told}
    missing = Outcome("pending", "missing from the answer")
    return [exact.get(code) or folded.get(code.casefold()) or missing for code in codes]


def _processed(row: ResultRow, *, reads_message: bool) -> tuple[str, Outcome]:
    reason = _reason(row.message) if reads_message and row.message else None
    vendor_id = None if row.id is None else str(row.id)
    return str(row.request_code), Outcome("delivered", reason, vendor_id=vendor_id)


def _unprocessed(row: ResultRow, already_there: Collection[str]) -> tuple[str, Outcome]:
    code = None if row.error_code is None else redact(str(row.error_code))[:60]
    reason = _reason(row.error_description or "no reason given")
    state: OutcomeState = "delivered" if code in already_there else "rejected"
    return str(row.request_code), Outcome(state, reason, vendor_code=code)


def _reason(text: str, secrets: Collection[str] = ()) -> str:
    return redact(text, secrets)[:_LONGEST_REASON]
