"""Stand-in for CRM.COM's Web API v2 (R14 to R17): session tokens and product synchronisation.

Where the documents are silent, this stand-in does the following (every line is an assumption):

* failures come with HTTP 200 and a `status.code` other than `OK`, without `data`; only a wrong web API key is
  refused with HTTP 401;
* a missing, unknown, released or expired token gives `INVALID_TOKEN` with a message that names the token;
* a call with more than the allowed products, an unknown synchronisation definition or a malformed product list
  is refused as a whole with `ERROR`;
* failed rows do not fail the call; a row fails for a missing code, a value of the wrong type, or an identifier
  object without exactly one of its alternatives;
* an unknown family, brand, type, category or rate is created on the fly, unless the setting
  `strict_references` makes the row fail;
* fields that do not exist (there is no `name`) are left out and named in the row's `message`;
* of two rows with one code the last wins, both are answered;
* `enforce_update` is on in the sandbox (the vendor's default is off): off, a row of an existing product comes
  back as `ALREADY_EXISTS`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engage_pipelines.sandbox.crmcom_products import ProductSync
from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.handling import (
    Handler,
    UnreadableError,
    answer,
    fault_in,
    listing,
    read_json,
    retry_after_header,
    threaded,
)
from engage_pipelines.sandbox.holdings import Holdings

TOKEN_LIFE = 7200

_SCHEMA = """
create table if not exists tokens (
    token text primary key, expires_at real not null, released integer not null
) without rowid;
create table if not exists products (
    code text primary key, id text not null, family text not null, price text not null, body text not null,
    times_received integer not null, times_updated integer not null
) without rowid;
create table if not exists tally (name text primary key, count integer not null) without rowid;
"""


def _good(data: Mapping[str, Any] | None = None) -> Response:
    return answer({"status": {"code": "OK", "message": "", "description": ""}, "data": data or {}})


def _bad(code: str, message: str, http_status: int = 200) -> Response:
    return answer({"status": {"code": code, "message": message, "description": None}}, http_status)


def _part(value: Mapping[str, Any] | bytes) -> str:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class CrmComStandIn:
    """CRM.COM as callers of its web API see it.

    Args:
        directory: folder of the sandbox's state.
        web_api_key: user name of the HTTP Basic log-in; the password is empty.
        definitions: known synchronisation definitions, by alternative code.
        enforce_update: existing products are updated; False: their rows come back as failed.
        families: family codes that exist from the start.
        strict_references: unknown families, brands and so on make the row fail.
        products_per_call: most products of one call.
        rates: declared limits; CRM.COM publishes none.
        in_flight: requests at once.
        clock: epoch seconds.
    """

    name = "crmcom"

    def __init__(
        self,
        directory: Path,
        *,
        web_api_key: str = "SANDBOXCRMCOMWEBAPIKEY0000000001",
        definitions: Sequence[str] = ("Product_Sync",),
        enforce_update: bool = True,
        families: Sequence[str] = (),
        strict_references: bool = False,
        products_per_call: int = 1000,
        rates: tuple[tuple[int, float], ...] = ((50, 1.0),),
        in_flight: int = 2,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rates = rates
        self.in_flight = in_flight
        self._key = web_api_key
        self._definitions = tuple(definitions)
        self._limit = products_per_call
        self._clock = clock
        self._holdings = Holdings(directory, "crmcom", _SCHEMA)
        self._sync = ProductSync(
            self._holdings, enforce_update=enforce_update, families=families, strict=strict_references
        )

    def routes(self) -> list[Route]:
        """The API."""
        base = "/crmapi/rest/v2"
        posts = {
            "authentication/web_api_key/token": self._issue,
            "authentication/token/release": self._with_token(self._release),
            "products/synchronise": self._with_token(self._synchronise),
        }
        return [Route(f"{base}/{path}", threaded(handler), methods=["POST"]) for path, handler in posts.items()]

    def throttled(self, retry_after: float | None) -> Response:
        """429 as a gateway in front of the installation would send it."""
        refusal = {"status": {"code": "TOO_MANY_REQUESTS", "message": "too many requests", "description": None}}
        return answer(refusal, 429, retry_after_header(retry_after))

    def fault_answer(self, fault: Fault) -> Response:
        """A 200 whose envelope says no."""
        if fault.kind == "expired_token":
            return _bad("INVALID_TOKEN", "The token has expired")
        return _bad("ERROR", fault.message)

    def report(self) -> dict[str, Any]:
        """Counts of what CRM.COM holds and of the rows it was sent."""
        tally = self._holdings.counts("select name, count from tally")
        return {
            "products": self._holdings.number("select count(*) from products"),
            "products_by_family": self._holdings.counts("select family, count(*) from products group by 1"),
            "list_price_total": f"{self._holdings.exact_sum('select price from products'):f}",
            "rows_received": tally.get("rows_received", 0),
            "rows_processed": tally.get("rows_processed", 0),
            "rows_unprocessed": tally.get("rows_unprocessed", 0),
            "rows_with_message": tally.get("rows_with_message", 0),
            "duplicate_rows_in_a_call": tally.get("duplicate_rows_in_a_call", 0),
            "updates": self._holdings.number("select sum(times_updated) from products"),
            "tokens_issued": tally.get("tokens_issued", 0),
        }

    def records(self, kind: str, offset: int, limit: int) -> dict[str, Any] | None:
        """Listing of `products`."""
        if kind != "products":
            return None
        rows = self._holdings.rows("select * from products order by code limit ? offset ?", (limit, offset))
        return listing(kind, self._holdings.number("select count(*) from products"), [
            {
                "key": row["code"], "id": row["id"], "times_received": row["times_received"],
                "times_updated": row["times_updated"], "body": msgspec.Raw(row["body"].encode()),
            }
            for row in rows
        ])  # fmt: skip

    def close(self) -> None:
        """Close the state file."""
        self._holdings.close()

    def _issue(self, request: Request, _: bytes) -> Response:
        if not hmac.compare_digest(_basic_user(request.headers.get("authorization", "")), f"{self._key}:"):
            return _bad("AUTHENTICATION_FAILED", "the web api key is not valid", 401)
        now = self._clock()
        token = self._new_token(now)
        with self._holdings.change() as change:
            change.execute("delete from tokens where expires_at < ?", (now - TOKEN_LIFE,))
            change.execute("insert into tokens values (?, ?, 0)", (token, now + TOKEN_LIFE))
        self._sync.count({"tokens_issued": 1})
        return _good({"token": token})

    def _new_token(self, now: float) -> str:
        # The claims' names and the text form of their times are those of a recorded token.
        claims = {
            "jti": uuid.uuid4().hex.upper(), "usr": "SANDBOX", "org": "SANDBOX", "oun": "SANDBOX",
            "iat": str(int(now)), "exp": str(int(now) + TOKEN_LIFE),
        }  # fmt: skip
        signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        return f"{signed}.{_part(hmac.digest(secrets.token_bytes(32), signed.encode(), hashlib.sha256))}"

    def _with_token(self, handler: Callable[[Request, Mapping[str, Any]], Response]) -> Handler:
        def guarded(request: Request, body: bytes) -> Response:
            try:
                value = read_json(body)
            except UnreadableError as error:
                return _bad("ERROR", str(error))
            if not isinstance(value, dict):
                return _bad("ERROR", "the body is not a JSON object")
            if problem := self._token_problem(value.get("token")):
                return _bad("INVALID_TOKEN", problem)
            return handler(request, value)

        return guarded

    def _token_problem(self, token: Any) -> str | None:
        found = self._holdings.one("select expires_at, released from tokens where token = ?", (str(token or ""),))
        if not found or found["released"]:
            return "The token is missing or not valid"
        return "The token has expired" if found["expires_at"] <= self._clock() else None

    def _release(self, _: Request, value: Mapping[str, Any]) -> Response:
        with self._holdings.change() as change:
            change.execute("update tokens set released = 1 where token = ?", (value["token"],))
        return _good()

    def _synchronise(self, request: Request, value: Mapping[str, Any]) -> Response:
        definition = value.get("synchronisation_definition_identifier")
        if not isinstance(definition, dict) or definition.get("alternative_code") not in self._definitions:
            return _bad("ERROR", "unknown synchronisation definition")
        products = value.get("products_set")
        if not isinstance(products, list) or not products:
            return _bad("ERROR", "products_set must be a list with at least one product")
        if len(products) > self._limit:
            return _bad("ERROR", f"at most {self._limit} products are allowed in one call")
        data = self._sync.run(products, refuse=fault_in(request, "row_errors"))
        return _good(_only(data, value.get("fields_set")))


def _basic_user(header: str) -> str:
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _only(data: dict[str, Any], fields_set: Any) -> dict[str, Any]:
    # Names are taken as they stand between the commas: a blank makes another, unknown name.
    wanted = fields_set.split(",") if isinstance(fields_set, str) and fields_set else list(data)
    return {name: part for name, part in data.items() if name in wanted}
