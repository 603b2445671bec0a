"""Each rule a file must keep, with a file that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engage_pipelines.destinations.voyado.validation import (
    CONTACT_COLUMNS,
    MOST_LINES,
    RECEIPT_COLUMNS,
    FileCheck,
    totals_per_currency,
    validate_contacts,
    validate_receipts,
)
from engage_pipelines.errors import ContractError

HEADER = ";".join(RECEIPT_COLUMNS)
_SOUND = (
    "C1;externalId;Member;T1;A-1;2026-10-12T10:14:00+01:00;L1;GBP;1.0;7.00;PURCHASE;TEA;TEA;Tea;;1;7.00;1.17;20.07;;"
)
RECEIPT = dict(zip(RECEIPT_COLUMNS, _SOUND.split(";"), strict=True))
CONTACT = dict.fromkeys(CONTACT_COLUMNS, "") | {"contactType": "Member", "externalId": "C1", "birthDay": "1990-01-02"}


def receipt(**change: str) -> str:
    return ";".join((RECEIPT | change).values())


def contact(**change: str) -> str:
    return ";".join((CONTACT | change).values())


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    file = folder / "batch.csv"
    file.write_bytes("".join(f"{line}\n" for line in (header, *lines)).encode())
    return file


def message(validate: Callable[[FileCheck], object], check: FileCheck) -> str:
    with pytest.raises(ContractError) as caught:
        validate(check)
    return str(caught.value)


def test_a_sound_transaction_file_passes_and_its_totals_are_exact(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        receipt(totalGrossPrice="6.98"),
        receipt(totalGrossPrice="6.98", type="ADJUSTMENT", grossPaidPrice="-0.02", taxAmount="0.00"),
        receipt(uniqueReceiptId="T2", totalGrossPrice="-0.10", type="RETURN", quantity="-1", grossPaidPrice="0.10"),
        receipt(uniqueReceiptId="T3", currency="EUR"),
    )
    table = validate_receipts(FileCheck(file, 4, "externalId", ("T1", "T2", "T3")))
    assert totals_per_currency(table) == {"EUR": "7.0000", "GBP": "6.8800"}


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        ({"matchKeyType": "email"}, "matchKeyType", "the one match key type of the file"),
        ({"matchKey": ""}, "matchKey", "must not be empty"),
        ({"storeExternalId": ""}, "storeExternalId", "must not be empty"),
        ({"sku": ""}, "sku", "must not be empty"),
        ({"createdDate": "2026-10-12T10:14:00"}, "createdDate", "ISO 8601 with offset"),
        ({"createdDate": "2026-10-12 10:14:00+01:00"}, "createdDate", "ISO 8601 with offset"),
        ({"currency": "gbp"}, "currency", "ISO 4217 code"),
        ({"exchangeRateToGroupCurrency": "6e-5"}, "exchangeRateToGroupCurrency", "a positive decimal"),
        ({"type": "SALE"}, "type", "PURCHASE, RETURN or ADJUSTMENT"),
        ({"grossPaidPrice": "7,00"}, "grossPaidPrice", "a decimal number with a point"),
        ({"grossPaidPrice": "-0.01"}, "grossPaidPrice", "is negative on a line that is no ADJUSTMENT"),
        ({"taxAmount": ""}, "taxAmount", "a decimal number with a point"),
        ({"uniqueReceiptId": "T9"}, "uniqueReceiptId", "is no record of this batch"),
        ({"totalGrossPrice": "7.01"}, "totalGrossPrice", "the lines of a receipt must agree"),
    ],
)
def test_a_broken_line_is_named_with_its_column_and_rule_but_not_its_value(
    tmp_path: Path, change: dict[str, str], column: str, rule: str
) -> None:
    second = {"type": "RETURN", "grossPaidPrice": "0.00", "taxAmount": "0.00", **change}
    file = written(tmp_path, receipt(), receipt(**second))
    line = 2 if "agree" in rule else 3
    found = message(validate_receipts, FileCheck(file, 2, "externalId", ("T1",)))
    assert found == f"batch.csv: line {line}, column {column}: {rule}"


def test_a_total_that_is_not_the_sum_of_the_lines_is_found(tmp_path: Path) -> None:
    file = written(tmp_path, receipt(uniqueReceiptId="T0"), receipt(grossPaidPrice="6.99"))
    found = message(validate_receipts, FileCheck(file, 2, "externalId", ("T0", "T1")))
    assert found == "batch.csv: line 3, column totalGrossPrice: is not the sum of its lines"


def test_amounts_whose_sum_is_beyond_64_bits_are_still_exact(tmp_path: Path) -> None:
    most = "99999999999999.9999"
    lines = [receipt(totalGrossPrice=most, grossPaidPrice=most)]
    for _ in range(6):
        lines += [receipt(totalGrossPrice=most, grossPaidPrice=most, type=kind) for kind in ("RETURN", "PURCHASE")]
    table = validate_receipts(FileCheck(written(tmp_path, *lines), 13, "externalId", ("T1",)))
    assert totals_per_currency(table) == {"GBP": most}
    lines[-1] = receipt(totalGrossPrice=most, grossPaidPrice="99999999999999.9998")
    found = message(validate_receipts, FileCheck(written(tmp_path, *lines), 13, "externalId", ("T1",)))
    assert found == "batch.csv: line 2, column totalGrossPrice: is not the sum of its lines"


def test_a_header_in_other_words_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, receipt(), header=HEADER.replace("sku", "SKU"))
    found = message(validate_receipts, FileCheck(file, 1, "externalId", ("T1",)))
    assert found == "batch.csv: line 1, column header: is not the agreed list of columns"


@pytest.mark.parametrize("line", [receipt() + ";", "C1;externalId;Member"])
def test_a_line_with_another_number_of_columns_is_refused_without_quoting_it(tmp_path: Path, line: str) -> None:
    file = written(tmp_path, receipt(), line)
    found = message(validate_receipts, FileCheck(file, 2, "externalId", ("T1",)))
    assert found == "batch.csv: line 3, column all: has not 21 columns"


def test_quotes_carriage_returns_and_other_encodings_are_refused(tmp_path: Path) -> None:
    check = FileCheck(tmp_path / "batch.csv", 1, "externalId", ("T1",))
    for bad, rule in ((b'"Tea"', "double quote in the file"), (b"T\rea", "carriage return in the file"),
                      (b"T\xe9", "not UTF-8")):  # fmt: skip
        check.file.write_bytes(f"{HEADER}\n{receipt()}\n".encode().replace(b";Tea;", b";" + bad + b";"))
        assert message(validate_receipts, check) == f"batch.csv: line 2, column any: {rule}"


def test_one_line_more_than_the_vendor_takes_is_refused(tmp_path: Path) -> None:
    lines = [receipt(uniqueReceiptId=f"T{number}") for number in range(MOST_LINES + 1)]
    keys = [f"T{number}" for number in range(MOST_LINES + 1)]
    file = written(tmp_path, *lines)
    found = message(validate_receipts, FileCheck(file, len(lines), "externalId", keys))
    assert found == "batch.csv: line 20002, column line: at most 20000 lines per file"
    file = written(tmp_path, *lines[:-1])
    assert validate_receipts(FileCheck(file, MOST_LINES, "externalId", keys[:-1])).num_rows == MOST_LINES


def test_a_file_that_lost_lines_or_records_on_the_way_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, receipt())
    assert "line 2, column line: 2 lines" in message(validate_receipts, FileCheck(file, 2, "externalId", ("T1",)))
    found = message(validate_receipts, FileCheck(file, 1, "externalId", ("T1", "T2")))
    assert found == "batch.csv: line 2, column uniqueReceiptId: 1 records of the batch are not in the file"
    empty = written(tmp_path)
    assert "column line" in message(validate_receipts, FileCheck(empty, 0, "externalId", ()))


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        ({"contactType": "Contact"}, "contactType", "one contact type per file"),
        ({"externalId": ""}, "externalId", "must not be empty"),
        ({"birthDay": "07/12/1995"}, "birthDay", "a day as YYYY-MM-DD"),
        ({"createdOn": "2026-10-12T10:14:00"}, "createdOn", "ISO 8601 with offset"),
        ({"acceptsEmail": "No"}, "acceptsEmail", "True, False or empty"),
        ({"externalId": "C9"}, "externalId", "is no record of this batch"),
    ],
)
def test_a_broken_contact_is_named_with_its_column_and_rule(
    tmp_path: Path, change: dict[str, str], column: str, rule: str
) -> None:
    file = written(tmp_path, contact(), contact(**{"externalId": "C2", **change}), header=";".join(CONTACT_COLUMNS))
    found = message(validate_contacts, FileCheck(file, 2, "externalId", ("C1", "C2")))
    assert found == f"batch.csv: line 3, column {column}: {rule}"


def test_a_contact_that_stands_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, contact(), contact(), header=";".join(CONTACT_COLUMNS))
    found = message(validate_contacts, FileCheck(file, 2, "externalId", ("C1",)))
    assert found == "batch.csv: line 2, column externalId: the same key stands on another line too"
