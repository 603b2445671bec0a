"""Reading Voyado's refusals: the names it documents per endpoint, wherever in the body they stand."""

from __future__ import annotations

import re

from engage_pipelines.connector import Outcome
from engage_pipelines.errors import ContractError
from engage_pipelines.http_client import Answer, redact
from engage_pipelines.http_client.client import vendor_code

# An error name is one CamelCase word; anything longer is free text that may quote a person's data.
_NAME = re.compile(rb"\b(?:Invalid|Multiple|Contact|Store|Duplicate|Missing)[A-Z][A-Za-z]{3,50}\b")


def error_name(answer: Answer) -> str | None:
    """The documented error name in the answer, e.g. `ContactNotFound`; None if there is none."""
    found = _NAME.search(answer.content)
    return redact(found[0].decode()) if found else vendor_code(answer.content)


def raise_if_failed(what: str, answer: Answer) -> None:
    """Read a yes to its end: a body with an error code says that something failed after all.

    Raises:
        ContractError: it does; whether the work was done is not known.
    """
    code = vendor_code(answer.content)
    if 200 <= answer.status < 300 and code:
        raise ContractError(f"Voyado: {what}: status {answer.status}, yet its body says {code}")


def refused(what: str, answer: Answer) -> Outcome:
    """The outcome of a record that Voyado refused for good."""
    name = error_name(answer)
    reason = f"{what}: refused with {answer.status}" + (f" {name}" if name else "")
    return Outcome("rejected", reason, vendor_code=name or str(answer.status))
