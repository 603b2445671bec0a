"""The API of the tenant: headers, routes, answers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.handling import (
    Handler,
    UnreadableError,
    answer,
    fault_in,
    read_json,
    retry_after_header,
    threaded,
    write_json,
)
from engage_pipelines.sandbox.voyado import reporting
from engage_pipelines.sandbox.voyado.bulk import BulkBook
from engage_pipelines.sandbox.voyado.contacts import ContactBook, check_type
from engage_pipelines.sandbox.voyado.file_people import ContactReader, StoreReader
from engage_pipelines.sandbox.voyado.file_receipts import TransactionReader
from engage_pipelines.sandbox.voyado.files import CONTACTS, STORES, TRANSACTIONS, FileImporter, Reader
from engage_pipelines.sandbox.voyado.receipt_rules import check_receipt
from engage_pipelines.sandbox.voyado.receipts import ReceiptBook
from engage_pipelines.sandbox.voyado.stores import StoreBook
from engage_pipelines.sandbox.voyado.tables import RefusalError, Tenant

_LONGEST_PAGE = 100
_USER_AGENT = re.compile(r"[^\s/]+/[^\s/]+.*")


def _refused(error: RefusalError) -> Response:
    return answer({"errorCode": error.code, "message": str(error)}, error.status)


def _object(body: bytes) -> dict[str, Any]:
    value = read_json(body)
    if not isinstance(value, dict):
        raise UnreadableError("the body must be an object")
    return value


class VoyadoStandIn:
    """One Voyado Engage tenant as callers of its API and senders of its files see it.

    Args:
        directory: folder of the sandbox's state; files are dropped into `drop` below it.
        api_key: value of the header `apikey`.
        rates: declared limits; counted per key, and this tenant has one.
        in_flight: requests at once.
        import_interval: seconds between taking a receipt or a bulk call and importing it.
        line_limit: most lines of a file.
        contact_key: the attribute that tells contacts apart; empty: the first that is given, see `ContactBook`.
        check_file_totals: refuse a receipt in a file whose lines there do not make its total.
        importing: False: receipts, bulk calls and files are taken and then wait until importing is switched on.
        clock: epoch seconds.
    """

    name = "voyado"

    def __init__(
        self,
        directory: Path,
        *,
        api_key: str = "sandbox-voyado-key",
        rates: tuple[tuple[int, float], ...] = ((200, 1.0),),
        in_flight: int = 8,
        import_interval: float = 0.0,
        line_limit: int = 20_000,
        contact_key: str = "",
        check_file_totals: bool = True,
        importing: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rates = rates
        self.in_flight = in_flight
        self.drop = directory / "drop"
        self._api_key = api_key
        self._importing = importing
        self._tenant = Tenant(directory, clock)
        self._stores = StoreBook(self._tenant)
        self._contacts = ContactBook(self._tenant, key=contact_key)
        self._receipts = ReceiptBook(self._tenant, self._stores, import_interval=import_interval)
        self._bulk = BulkBook(self._tenant, self._contacts, import_interval=import_interval)
        transactions = TransactionReader(self._tenant, self._contacts, self._receipts, check_totals=check_file_totals)
        readers: dict[str, Reader] = {
            STORES: StoreReader(self._tenant, self._stores),
            CONTACTS: ContactReader(self._tenant, self._contacts, self._stores),
            TRANSACTIONS: transactions,
        }
        self._files = FileImporter(self._tenant, self.drop, readers, line_limit=line_limit)

    def routes(self) -> list[Route]:
        """The API."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/api/v2/contacts/id", self._find_contact),
            ("GET", "/api/v3/contacts/id", self._find_contact),
            ("POST", "/api/v3/contacts", self._create_contact),
            ("POST", "/api/v3/contacts/bulk", self._bulk_contacts),
            ("PATCH", "/api/v3/contacts/bulk", self._bulk_contacts),
            ("GET", "/api/v2/contacts/bulk/status", self._bulk_status),
            ("GET", "/api/v2/contactoverview", self._overview),
            ("GET", "/api/v2/contacts/{contact}/transactions", self._transactions),
            ("GET", "/api/v2/contacts/{contact}", self._contact),
            ("PATCH", "/api/v3/contacts/{contact}", self._change_contact),
            ("POST", "/api/v3/receipts", self._receipt),
        ]
        for version in ("v2", "v3"):
            stores = f"/api/{version}/stores"
            table += [
                ("GET", stores, self._list_stores), ("POST", stores, self._create_store),
                ("GET", f"{stores}/{{store}}", self._one_store), ("POST", f"{stores}/{{store}}", self._change_store),
            ]  # fmt: skip
        return [Route(path, threaded(self._guarded(do)), methods=[method]) for method, path, do in table]

    def switches(self) -> list[Route]:
        """`POST import`: import everything that waits, now. `PUT importing`: `true` or `false`, import at all."""
        return [
            Route("/import", threaded(self._import_now), methods=["POST"]),
            Route("/importing", threaded(self._switch_importing), methods=["PUT"]),
        ]

    def throttled(self, retry_after: float | None) -> Response:
        """429, by the documents without Retry-After."""
        refusal = {"errorCode": "TooManyRequests", "message": "rate limit exceeded"}
        return answer(refusal, 429, retry_after_header(retry_after))

    def fault_answer(self, fault: Fault) -> Response:
        """A 200 whose body names an error, or the refusal of the key."""
        if fault.kind == "expired_token":
            return _refused(RefusalError(401, "Unauthorized", "the api key is no longer valid"))
        return answer({"errorCode": "InternalError", "message": fault.message})

    def report(self) -> dict[str, Any]:
        """Counts of what the tenant holds; everything that waits is imported first, if it imports."""
        self.import_everything()
        standing = {"files_waiting": self._files.waiting(), "importing": self._importing}
        return {**reporting.report(self._tenant.holdings), **standing}

    def records(self, kind: str, offset: int, limit: int) -> dict[str, Any] | None:
        """Listings: `receipts`, `receipts_received`, `contacts`, `stores`, `integration_log`."""
        self.import_everything()
        return reporting.records(self._tenant.holdings, kind, offset, limit)

    def import_everything(self) -> int:
        """Import the files that wait and what is due, if it imports at all; gives the number of files."""
        self._import_due()
        return self._files.run() if self._importing else 0

    def close(self) -> None:
        """Close the state file."""
        self._tenant.holdings.close()

    def _import_due(self) -> None:
        if not self._importing:
            return
        self._bulk.import_due()
        self._receipts.import_due()

    def _import_now(self, _: Request, __: bytes) -> Response:
        return answer({"files": self.import_everything()})

    def _switch_importing(self, _: Request, body: bytes) -> Response:
        if body not in (b"true", b"false"):
            return answer({"message": "true or false"}, 400)
        self._importing = body == b"true"
        return answer({"importing": self._importing})

    def _guarded(self, handler: Handler) -> Handler:
        def guarded(request: Request, body: bytes) -> Response:
            headers = request.headers
            is_json = headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
            if not is_json or not _USER_AGENT.fullmatch(headers.get("user-agent", "")):
                return PlainTextResponse("An error has occurred", 500)
            if not compare_digest(headers.get("apikey", ""), self._api_key):
                return _refused(RefusalError(401, "Unauthorized", "api key missing or unknown"))
            self._import_due()
            try:
                return handler(request, body)
            except RefusalError as error:
                return _refused(error)
            except UnreadableError as error:
                return _refused(RefusalError(400, "InvalidBody", str(error)))

        return guarded

    def _find_contact(self, request: Request, _: bytes) -> Response:
        return answer(self._contacts.find(request.query_params))

    def _create_contact(self, request: Request, body: bytes) -> Response:
        query = request.query_params
        created = self._contacts.create(
            _object(body), source=query.get("source", ""), store=query.get("storeExternalId"),
            unapproved=query.get("createAsUnapproved", "false").lower() == "true",
        )  # fmt: skip
        return answer(created, 201)

    def _change_contact(self, request: Request, body: bytes) -> Response:
        return answer(self._contacts.change(request.path_params["contact"], _object(body)))

    def _contact(self, request: Request, _: bytes) -> Response:
        return answer(self._contacts.overview(request.path_params["contact"]))

    def _overview(self, request: Request, _: bytes) -> Response:
        query = request.query_params
        if "contactId" in query:
            return answer(self._contacts.overview(query["contactId"]))
        if "contactType" not in query:
            raise RefusalError(400, "InvalidSearchQuery", "contactType and a key, or contactId")
        return answer(self._contacts.overview(self._contacts.find(query)))

    def _transactions(self, request: Request, _: bytes) -> Response:
        contact = request.path_params["contact"]
        self._contacts.overview(contact)
        try:
            offset = int(request.query_params.get("offset", "0"))
            count = int(request.query_params.get("count", "100"))
        except ValueError as error:
            raise UnreadableError("offset and count are whole numbers") from error
        return answer(self._receipts.of_contact(contact, max(offset, 0), min(max(count, 0), _LONGEST_PAGE)))

    def _bulk_contacts(self, request: Request, body: bytes) -> Response:
        rows = read_json(body)
        if not isinstance(rows, list) or not rows or len(rows) > BulkBook.LIMIT:
            raise RefusalError(400, "ValidationError", f"an array of 1 to {BulkBook.LIMIT} contacts")
        contact_type = check_type(request.query_params.get("contactType", "Member"))
        fault = fault_in(request, "row_errors")
        good = [row for i, row in enumerate(rows) if not (fault and fault.strikes_row(i, _contact_key(row)))]
        kind = "create" if request.method == "POST" else "update"
        batch = str(uuid.uuid4())
        self._bulk.queue(batch, kind, contact_type, write_json(good), refused=len(rows) - len(good))
        return answer(batch, 202)

    def _bulk_status(self, request: Request, _: bytes) -> Response:
        return answer(self._bulk.status(request.query_params.get("batchId", "")))

    def _receipt(self, request: Request, body: bytes) -> Response:
        value = read_json(body)
        if problem := check_receipt(value):
            raise RefusalError(400, "ValidationError", problem)
        fault = fault_in(request, "row_errors")
        if fault and fault.strikes_row(0, value["uniqueReceiptId"]):
            raise RefusalError(400, "ValidationError", fault.message)
        self._receipts.queue(body)
        return Response(status_code=202)

    def _list_stores(self, request: Request, _: bytes) -> Response:
        include = request.query_params.get("includeInactive", "false").lower() == "true"
        return answer(self._stores.listing(include_inactive=include))

    def _one_store(self, request: Request, _: bytes) -> Response:
        return answer(self._stores.one(request.path_params["store"]))

    def _create_store(self, _: Request, body: bytes) -> Response:
        return answer(self._stores.create(_object(body)), 201)

    def _change_store(self, request: Request, body: bytes) -> Response:
        return answer(self._stores.update(request.path_params["store"], _object(body)))


def _contact_key(row: Any) -> str:
    names = ("externalId", "email", "mobilePhone")
    return str(next((row[name] for name in names if row.get(name)), "")) if isinstance(row, dict) else ""
