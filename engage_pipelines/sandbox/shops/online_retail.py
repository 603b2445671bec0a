"""A real seller's thirteen months: the public set "Online Retail" (UCI 352) put on the Square stand-in.

One order per invoice number, one line per source line, everything as dirty as the source has it. Lines whose quantity
or amount is below zero become returned lines with positive figures; an invoice may hold both kinds. The set knows no
tax, discount, payment or stock, so the shop has none.

Amounts: each line's quantity x price is rounded half up, away from zero, to whole pence. Only four lines have to be
rounded, those priced 0.001 (0.1 pence each become 0); the signed sum over all lines is 974,774,793 pence, 0.4 pence
below the sum of the exact products. Their unit price is 0 pence for the same reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from engage_pipelines.sandbox.shops.country_codes import COUNTRY_CODES
from engage_pipelines.sandbox.shops.order_shapes import (
    Line,
    Record,
    line_item,
    money,
    order,
    return_line_item,
    sums,
)
from engage_pipelines.sandbox.square import SquareStandIn, documents
from engage_pipelines.sandbox.square.store import Document
from engage_pipelines.sandbox.square.timestamps import from_datetime, to_text

LOCATION_ID = "ONLINE-RETAIL"
_CURRENCY = "GBP"
_ZONE = ZoneInfo("Europe/London")
_OPENED = datetime(2010, 12, 1, tzinfo=UTC)
_COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
_BATCH = 5_000


class _Row(NamedTuple):
    invoice: str
    code: str
    description: str
    quantity: str
    date: str
    price: str
    customer: str
    country: str


def fill_from_online_retail(
    stand_in: SquareStandIn, parquet: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Fill the till from the Parquet file; all of it or, if something fails, nothing.

    Args:
        stand_in: The till to fill.
        parquet: The data set, every column as text.
        progress: Told now and then how many of the source lines are done.
    """
    with pq.ParquetFile(parquet, pre_buffer=False) as source, stand_in.store.transaction():
        stand_in.store.put([documents.location_document(_location())])
        stand_in.store.put(_catalogue(source))
        customers: dict[str, Record] = {}
        total = source.metadata.num_rows
        done = 0
        for invoices in _invoices(source):
            stand_in.store.put([_order_document(invoice) for invoice in invoices])
            _meet_customers(customers, invoices)
            done += sum(map(len, invoices))
            if progress is not None:
                progress(done, total)
        stand_in.store.put([documents.customer_document(customer) for customer in customers.values()])


def _invoices(source: pq.ParquetFile) -> Iterator[list[list[_Row]]]:
    """Invoices, some at a time. Their lines do not always stand together, so an invoice waits for its last line."""
    invoice_numbers = source.read(columns=["InvoiceNo"], use_threads=False)["InvoiceNo"]
    expected = {entry["values"]: entry["counts"] for entry in invoice_numbers.value_counts().to_pylist()}
    waiting: dict[str, list[_Row]] = {}
    for batch in source.iter_batches(batch_size=_BATCH, columns=list(_COLUMNS), use_threads=False):
        complete: list[list[_Row]] = []
        for row in map(_Row._make, zip(*(batch[name].to_pylist() for name in _COLUMNS), strict=True)):
            lines = waiting.setdefault(row.invoice, [])
            lines.append(row)
            if len(lines) == expected[row.invoice]:
                complete.append(waiting.pop(row.invoice))
        yield complete


def _order_document(rows: list[_Row]) -> Document:
    sold: list[Line] = []
    returned: list[Line] = []
    for number, row in enumerate(rows, 1):
        quantity, mills = int(row.quantity), _mills(row.price)
        kind = returned if quantity < 0 or quantity * mills < 0 else sold
        kind.append(_line(number, row, abs(quantity), abs(mills)))
    moment = _micros(min(row.date for row in rows))
    customer = rows[0].customer.removesuffix(".0")
    return documents.order_document(
        order(
            order_id=f"INVOICE-{rows[0].invoice}",
            location_id=LOCATION_ID,
            currency=_CURRENCY,
            times=(moment, moment, moment),
            sold=sums(sold),
            returned=sums(returned) if returned else None,
            parts={
                "reference_id": rows[0].invoice,
                "source": {"name": "Online Retail"},
                "customer_id": customer,
                "line_items": [line_item(line, _CURRENCY) for line in sold],
                "returns": _returns(returned),
            },
        )
    )


def _line(number: int, row: _Row, quantity: int, mills: int) -> Line:
    gross = _pence(quantity * mills)
    # A blank description is one; only an absent one is left out.
    return Line(str(number), str(quantity), _pence(mills), gross, row.description or None, _variation_id(row.code))


def _returns(returned: list[Line]) -> list[Record]:
    """The source does not name the invoice that is taken back, so neither does the return."""
    if not returned:
        return []
    items = [return_line_item(line, _CURRENCY) for line in returned]
    return [{"uid": "return", "return_line_items": items, "return_amounts": sums(returned).record(_CURRENCY)}]


def _mills(price: str) -> int:
    """Thousandths of a pound; the source has at most three decimals."""
    whole, _, fraction = price.partition(".")
    if len(fraction.rstrip("0")) > 3:
        raise ValueError(f"a unit price has more than three decimals: {price}")
    return int(whole + fraction.ljust(3, "0")[:3])


def _pence(mills: int) -> int:
    """Whole pence of an amount that is not negative, half a penny up."""
    return (mills + 5) // 10


def _micros(local: str) -> int:
    return from_datetime(datetime.fromisoformat(local).replace(tzinfo=_ZONE))


def _meet_customers(customers: dict[str, Record], invoices: list[list[_Row]]) -> None:
    """Each customer as first seen; eight of them turn up again from another country."""
    for rows in invoices:
        key = rows[0].customer.removesuffix(".0")
        if key and key not in customers:
            customers[key] = _customer(key, rows[0])


def _customer(key: str, row: _Row) -> Record:
    code = COUNTRY_CODES.get(row.country)
    seen = to_text(_micros(row.date))
    return {
        "id": key,
        "created_at": seen,
        "updated_at": seen,
        "reference_id": key,
        "note": f"Country in the source: {row.country}",
        **({"address": {"country": code}} if code else {}),
        "preferences": {"email_unsubscribed": False},
        "creation_source": "IMPORT",
        "version": 0,
    }


def _catalogue(source: pq.ParquetFile) -> list[Document]:
    table = source.read(columns=["StockCode", "Description", "UnitPrice"], use_threads=False)
    names = _most_frequent(table, "Description", lambda text: text.strip() or None)
    prices = _most_frequent(table, "UnitPrice", lambda text: _pence(max(_mills(text), 0)) or None)
    codes: list[str] = table["StockCode"].unique().to_pylist()
    return [
        document
        for code in codes
        for document in documents.catalog_documents(_item(code, names.get(code, code), prices.get(code)))
    ]


def _most_frequent(table: pa.Table, column: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """Per stock code the value that most lines have; a tie goes to the first one seen. Unreadable ones do not count."""
    counted: dict[str, Counter[Any]] = {}
    pairs = table.group_by(["StockCode", column], use_threads=False).aggregate([([], "count_all")])
    for pair in pairs.to_pylist():
        value = read(pair[column])
        if value is not None:
            counted.setdefault(pair["StockCode"], Counter())[value] += pair["count_all"]
    return {code: values.most_common(1)[0][0] for code, values in counted.items()}


def _item(code: str, name: str, price: int | None) -> Record:
    stamp = {
        "updated_at": to_text(from_datetime(_OPENED)),
        "version": from_datetime(_OPENED) // 1000,
        "is_deleted": False,
    }
    pricing: Record = {"pricing_type": "VARIABLE_PRICING"}
    if price is not None:
        pricing = {"pricing_type": "FIXED_PRICING", "price_money": money(price, _CURRENCY)}
    variation = {
        "type": "ITEM_VARIATION",
        "id": _variation_id(code),
        **stamp,
        "present_at_all_locations": True,
        "item_variation_data": {"item_id": f"ITEM-{code}", "name": "Regular", "sku": code, **pricing},
    }
    item_data = {"name": name, "product_type": "REGULAR", "variations": [variation]}
    return {
        "type": "ITEM",
        "id": f"ITEM-{code}",
        **stamp,
        "present_at_all_locations": True,
        "item_data": item_data,
    }


def _variation_id(code: str) -> str:
    return f"VARIATION-{code}"


def _location() -> Record:
    return {
        "id": LOCATION_ID,
        "name": "Online Retail",
        "timezone": "Europe/London",
        "country": "GB",
        "currency": _CURRENCY,
        "language_code": "en-GB",
        "status": "ACTIVE",
        "created_at": _OPENED.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "business_name": "Online Retail",
    }
