"""Which kinds of fault mean nothing for which route, and why; there such a rule does not strike."""

from __future__ import annotations

from collections.abc import Mapping

from engage_pipelines.sandbox.faults import KINDS
from engage_pipelines.sandbox.rows import Rows

_ONE = "the answer is no list of records"
_STORE = "/api/{}/stores/{{store}}"

# Vendor -> route -> kind -> reason. What follows from the rows of a call is not repeated here.
_SENSELESS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "square": {"GET /v2/orders/{order_id}": {"missing_rows": _ONE}},
    "aiq": {"GET /api/v1.1/piis/{uid}/{contact}": {"missing_rows": _ONE}},
    "crmcom": {
        "POST /crmapi/rest/v2/authentication/web_api_key/token": {
            "missing_rows": _ONE, "expired_token": "the call that gives tokens needs none",
        },
        "POST /crmapi/rest/v2/authentication/token/release": {"missing_rows": _ONE},
    },
    "voyado": {
        route: {"missing_rows": _ONE}
        for route in (
            "GET /api/v2/contacts/id", "GET /api/v3/contacts/id", "GET /api/v2/contacts/bulk/status",
            "GET /api/v2/contactoverview", "GET /api/v2/contacts/{contact}",
            *(f"GET {_STORE.format(version)}" for version in ("v2", "v3")),
        )
    },
}  # fmt: skip


def senseless(vendor: str, route: str, rows: Rows | None) -> dict[str, str]:
    """The kinds that mean nothing for a route, each with its reason."""
    found = dict(_SENSELESS.get(vendor, {}).get(route, {}))
    if rows is None:
        found.update(dict.fromkeys(("row_errors", "poison"), "the call brings no records"))
    elif rows.refused_at is None:
        found["missing_rows"] = "the answer does not list the records of the call"
    if rows is None or rows.accepted is None:
        found["accept_and_forget"] = "the vendor answers when the work is done"
    return found


def kinds_for(vendor: str, route: str, rows: Rows | None) -> frozenset[str]:
    """The kinds that may strike a route."""
    return KINDS - senseless(vendor, route, rows).keys()
