"""Looking a finished file over before it leaves: what Voyado takes in from a file stays for ever.

Each rule names file, line, column and itself, never a value. Lines count from 1, the header is line 1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engage_pipelines.errors import ContractError
from engage_pipelines.on_use import arrow_csv, pc

MOST_LINES = 20_000

CONTACT_COLUMNS = (
    "contactType", "externalId", "memberNumber", "email", "mobilePhone", "firstName", "lastName", "street",
    "careOf", "zipCode", "city", "countryCode", "birthDay", "gender", "createdInStore", "store",
    "acceptsEmail", "acceptsSms", "acceptsPostal", "createdOn",
)  # fmt: skip
RECEIPT_COLUMNS = (
    "matchKey", "matchKeyType", "contactType", "uniqueReceiptId", "receiptNumber", "createdDate",
    "storeExternalId", "currency", "exchangeRateToGroupCurrency", "totalGrossPrice", "type", "sku",
    "articleNumber", "articleName", "articleGroup", "quantity", "grossPaidPrice", "taxAmount", "taxPercent",
    "marginPercent", "awardsBonus",
)  # fmt: skip

_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
_DAY = r"^\d{4}-\d\d-\d\d$"
_NUMBER = r"^-?\d{1,14}(\.\d{1,4})?$"
_RATE = r"^\d{1,10}(\.\d{1,8})?$"
_ANY = r"."
_MONEY = pa.decimal128(18, 4)
# The sum of a file's lines fits into 64 bits if none of them is larger.
_MOST_UNITS = 2**62 // MOST_LINES


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What a file is held against.

    Attributes:
        file: the finished local file.
        line_count: lines it must have, header excluded.
        match_key_type: the one key type of the file.
        keys: record keys that must be in it, and no others.
    """

    file: Path
    line_count: int
    match_key_type: str
    keys: Sequence[str]


def validate_receipts(check: FileCheck) -> pa.Table:
    """Check a transaction file and give its lines, all columns as text.

    Raises:
        ContractError: a rule is broken.
    """
    table = _read(check, RECEIPT_COLUMNS)
    _matches(check, table, "matchKeyType", f"^{check.match_key_type}$", "the one match key type of the file")
    _matches(check, table, "createdDate", _TIME, "ISO 8601 with offset")
    _matches(check, table, "currency", "^[A-Z]{3}$", "ISO 4217 code")
    _matches(check, table, "exchangeRateToGroupCurrency", _RATE, "a positive decimal")
    _matches(check, table, "type", "^(PURCHASE|RETURN|ADJUSTMENT)$", "PURCHASE, RETURN or ADJUSTMENT")
    for column in ("matchKey", "contactType", "uniqueReceiptId", "storeExternalId", "sku", "articleNumber",
                   "articleName", "quantity"):  # fmt: skip
        _matches(check, table, column, _ANY, "must not be empty")
    for column in ("totalGrossPrice", "grossPaidPrice", "taxAmount", "taxPercent"):
        _matches(check, table, column, _NUMBER, "a decimal number with a point")
    _prices_have_their_sign(check, table)
    _holds_the_keys(check, table, "uniqueReceiptId")
    _adds_up(check, table)
    return table


def validate_contacts(check: FileCheck) -> pa.Table:
    """Check a contact file and give its lines, all columns as text.

    Raises:
        ContractError: a rule is broken.
    """
    table = _read(check, CONTACT_COLUMNS)
    first_type = table["contactType"][0].as_py() if table.num_rows else ""
    for line, value in enumerate(pc.equal(table["contactType"], first_type).to_pylist(), 2):
        if not value:
            _fail(check.file, line, "contactType", "one contact type per file")
    _matches(check, table, check.match_key_type, _ANY, "must not be empty")
    _matches(check, table, "birthDay", f"^$|{_DAY}", "a day as YYYY-MM-DD")
    _matches(check, table, "createdOn", f"^$|{_TIME}", "ISO 8601 with offset")
    for column in ("acceptsEmail", "acceptsSms", "acceptsPostal"):
        _matches(check, table, column, "^(True|False|)$", "True, False or empty")
    _is_unique(check, table, check.match_key_type)
    _holds_the_keys(check, table, "externalId")
    return table


def _read(check: FileCheck, columns: tuple[str, ...]) -> pa.Table:
    content = check.file.read_bytes()
    _bytes_are_plain(check.file, content)
    header, _, body = content.partition(b"\n")
    if header.decode() != ";".join(columns):
        _fail(check.file, 1, "header", "is not the agreed list of columns")
    table = _parsed(check.file, body, columns)
    if table.num_rows > MOST_LINES:
        _fail(check.file, MOST_LINES + 2, "line", f"at most {MOST_LINES} lines per file")
    if table.num_rows != check.line_count or not table.num_rows:
        _fail(check.file, table.num_rows + 1, "line", f"{check.line_count} lines were rendered, not this many")
    return table


def _bytes_are_plain(file: Path, content: bytes) -> None:
    for byte, noun in ((b'"', "double quote"), (b"\r", "carriage return"), (b"\0", "null byte")):
        place = content.find(byte)
        if place >= 0:
            _fail(file, content.count(b"\n", 0, place) + 1, "any", f"{noun} in the file")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        _fail(file, content.count(b"\n", 0, error.start) + 1, "any", "not UTF-8")


def _parsed(file: Path, body: bytes, columns: tuple[str, ...]) -> pa.Table:
    wrong: list[int] = []

    def note(row: Any) -> str:
        wrong.append(row.number + 1)
        return "skip"

    if not body:
        return pa.table({name: pa.array([], pa.string()) for name in columns})
    table = arrow_csv.read_csv(
        io.BytesIO(body),
        # One thread: only then does the reader know the line numbers.
        arrow_csv.ReadOptions(column_names=columns, use_threads=False, block_size=max(len(body), 1)),
        arrow_csv.ParseOptions(delimiter=";", quote_char=False, ignore_empty_lines=False, invalid_row_handler=note),
        arrow_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False),
    )
    if wrong:
        _fail(file, wrong[0], "all", f"has not {len(columns)} columns")
    return table


def _matches(check: FileCheck, table: pa.Table, column: str, pattern: str, rule: str) -> None:
    # Each value once: twenty thousand lines have few currencies, types and rates, and prices come again too.
    values = _distinct(table[column])
    fits = pc.match_substring_regex(values.dictionary, pattern)
    if not pc.all(fits).as_py():
        _fail(check.file, pc.index(fits.take(values.indices), False).as_py() + 2, column, rule)


def _is_unique(check: FileCheck, table: pa.Table, column: str) -> None:
    counts = pc.value_counts(table[column])
    if len(counts) != table.num_rows:
        repeated = next(entry["values"] for entry in counts if entry["counts"].as_py() > 1)
        first = pc.index(table[column], repeated).as_py()
        _fail(check.file, first + 2, column, "the same key stands on another line too")


def _distinct(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Each value once, and which of them stands on each line."""
    encoded = pc.dictionary_encode(column)
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def _holds_the_keys(check: FileCheck, table: pa.Table, column: str) -> None:
    expected = pa.array(list(check.keys), pa.string())
    found = _distinct(table[column])
    is_expected = pc.is_in(found.dictionary, value_set=expected)
    if not pc.all(is_expected).as_py():
        place = pc.index(is_expected.take(found.indices), False).as_py()
        _fail(check.file, place + 2, column, "is no record of this batch")
    missing = len(expected) - len(found.dictionary)
    if missing:
        _fail(check.file, table.num_rows + 1, column, f"{missing} records of the batch are not in the file")


def _prices_have_their_sign(check: FileCheck, table: pa.Table) -> None:
    is_negative = pc.starts_with(table["grossPaidPrice"], "-")
    fits = pc.or_(pc.equal(table["type"], "ADJUSTMENT"), pc.invert(is_negative))
    place = pc.index(fits, False).as_py()
    if place >= 0:
        _fail(check.file, place + 2, "grossPaidPrice", "is negative on a line that is no ADJUSTMENT")


def _adds_up(check: FileCheck, table: pa.Table) -> None:
    receipts = _distinct(table["uniqueReceiptId"])
    number = receipts.indices.to_numpy()
    total, price = _units(table["totalGrossPrice"]), _units(table["grossPaidPrice"])
    is_return = pc.equal(table["type"], "RETURN").to_numpy()
    # What the receipt's last line says; all others must say the same.
    totals, sums = np.zeros((2, len(receipts.dictionary)), np.result_type(total, price))
    totals[number] = total
    np.add.at(sums, number, np.where(is_return, -price, price))
    for wrong, rule in (
        (number[totals[number] != total], "the lines of a receipt must agree"),
        (np.flatnonzero(totals != sums), "is not the sum of its lines"),
    ):
        if len(wrong):
            _fail(check.file, int(np.argmax(number == wrong.min())) + 2, "totalGrossPrice", rule)


def _units(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Money as whole numbers of ten-thousandths; exact, so of any size where sums might not fit."""
    money = column.cast(_MONEY).combine_chunks()
    # A decimal is sixteen bytes, and one of eighteen digits fits into the lower half.
    units = np.frombuffer(money.buffers()[1], np.int64)[::2][money.offset : money.offset + len(money)]
    return units if np.abs(units).max(initial=0) < _MOST_UNITS else units.astype(object)


def _fail(file: Path, line: int, column: str, rule: str) -> NoReturn:
    raise ContractError(f"{file.name}: line {line}, column {column}: {rule}")


def totals_per_currency(table: pa.Table) -> dict[str, str]:
    """Sum of the receipts of a transaction file per currency, as exact decimal text."""
    receipts, currencies = _distinct(table["uniqueReceiptId"]), _distinct(table["currency"])
    _, first = np.unique(receipts.indices.to_numpy(), return_index=True)
    sums = np.zeros(len(currencies.dictionary), object)
    np.add.at(sums, currencies.indices.to_numpy()[first], _units(table["totalGrossPrice"])[first].astype(object))
    found = zip(currencies.dictionary.to_pylist(), sums.tolist(), strict=True)
    return {currency: str(Decimal(units).scaleb(-_MONEY.scale)) for currency, units in sorted(found)}
