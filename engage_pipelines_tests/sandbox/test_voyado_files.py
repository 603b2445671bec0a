"""The stand-in for Voyado Engage takes files by the rules of its import, over real SFTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from engage_pipelines.sandbox.voyado.sftp import PASSWORD, USER
from engage_pipelines_tests.sandbox.voyado_world import (
    CONTACT_HEADER,
    RECEIPT_HEADER,
    V3,
    Tenant,
    contact_row,
    receipt,
    receipt_row,
    tenant,
)

CONTACTS, RECEIPTS = "integration/contactImport", "integration/transactionImport"


@pytest.fixture
def voyado(tmp_path: Path) -> Iterator[Tenant]:
    with tenant(tmp_path) as served:
        yield served


@pytest.fixture
def known(voyado: Tenant) -> Tenant:
    voyado.add_store()
    voyado.add_contact()
    return voyado


def put_receipts(voyado: Tenant, *rows: str, name: str = "20251014_1_transactions.csv") -> None:
    voyado.put(RECEIPTS, name, RECEIPT_HEADER, *rows)


def put_contacts(voyado: Tenant, *rows: str, name: str = "20251014_1_contacts.csv") -> None:
    voyado.put(CONTACTS, name, CONTACT_HEADER, *rows)


def messages(voyado: Tenant, kind: str) -> list[str]:
    return [entry["message"] for entry in voyado.records("integration_log") if entry["kind"] == kind]


def test_a_tenant_that_does_not_import_leaves_its_files_where_they_are(known: Tenant) -> None:
    known.api.put("/_sandbox/voyado/importing", content="false")
    put_receipts(known, receipt_row())
    assert known.api.post("/_sandbox/voyado/import").json() == {"files": 0}
    report = known.report()
    assert (report["files_waiting"], report["receipts"]) == ([f"{RECEIPTS}/20251014_1_transactions.csv"], 0)
    known.api.put("/_sandbox/voyado/importing", content="true")
    assert (known.report()["files_waiting"], known.report()["receipts"]) == ([], 1)


def test_stores_contacts_and_transactions_are_imported_in_that_order_and_deleted(voyado: Tenant) -> None:
    put_receipts(voyado, receipt_row())
    put_contacts(voyado, contact_row(externalId="c1", createdInStore="s1", acceptsEmail="True"))
    voyado.put("stores", "stores.csv", "externalId;name;timeZone;type", "s1;Shop;Europe/London;RETAIL")
    assert voyado.api.post("/_sandbox/voyado/import").json() == {"files": 3}
    report = voyado.report()
    assert (report["stores"], report["contacts"], report["receipts"], report["totals"]) == (
        1, 1, 1, {"GBP": "10.10"},
    )  # fmt: skip
    assert (report["receipts_by_channel"], report["contacts_by_channel"]) == ({"file": 1}, {"file": 1})
    assert [path for path in voyado.drop.rglob("*") if path.is_file()] == []
    assert [kind for kind, _ in voyado.log()] == ["file_imported"] * 3


def test_reading_the_report_imports_what_waits(known: Tenant) -> None:
    put_receipts(known, receipt_row())
    assert known.report()["receipts"] == 1


@pytest.mark.parametrize("ending", [".tmp", ".part"])
def test_a_file_that_is_still_being_written_is_left_alone(known: Tenant, ending: str) -> None:
    path = known.put(RECEIPTS, f"a.csv{ending}", RECEIPT_HEADER, receipt_row())
    assert known.report()["receipts"] == 0
    assert path.exists()
    path.rename(path.with_suffix(""))
    assert known.report()["receipts"] == 1


def test_columns_may_stand_in_any_order(known: Tenant) -> None:
    order = sorted(RECEIPT_HEADER.split(";"))
    cells = dict(zip(RECEIPT_HEADER.split(";"), receipt_row().split(";"), strict=True))
    known.put(RECEIPTS, "a.csv", ";".join(order), ";".join(cells[name] for name in order))
    assert known.report()["receipts"] == 1


def test_the_twenty_thousand_and_first_line_refuses_the_file(known: Tenant) -> None:
    row = receipt_row(totalGrossPrice="202000.00")
    put_receipts(known, *[row] * 20_001)
    assert known.report()["receipts"] == 0
    assert messages(known, "file_failed") == ["20001 lines, at most 20000 are allowed"]
    put_receipts(known, *[row] * 20_000)
    report = known.report()
    assert (report["receipts"], report["lines"], report["totals"]) == (1, 20_000, {"GBP": "202000.00"})


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((RECEIPT_HEADER, receipt_row(articleName='5" nails')), "quote character"),
        ((RECEIPT_HEADER, receipt_row(), receipt_row(articleName="a;b")), "line 3 has a wrong number"),
        ((RECEIPT_HEADER.replace("currency", "curency"), receipt_row()), "columns missing: currency"),
        (("\ufeff" + RECEIPT_HEADER, receipt_row()), "byte order mark"),
        ((RECEIPT_HEADER, receipt_row(), receipt_row("r2", matchKeyType="email")), "more than one matchKeyType"),
        ((RECEIPT_HEADER, receipt_row(matchKeyType="card")), "matchKeyType is one of"),
    ],
)
def test_a_file_that_breaks_the_form_fails_as_a_whole(known: Tenant, lines: tuple[str, ...], reason: str) -> None:
    known.put(RECEIPTS, "a.csv", *lines)
    assert known.report()["receipts"] == 0
    assert reason in messages(known, "file_failed")[0]
    assert known.report()["files_waiting"] == []


def test_a_file_that_is_no_utf_8_or_no_csv_fails(known: Tenant) -> None:
    (known.drop / RECEIPTS / "a.csv").write_bytes(RECEIPT_HEADER.encode() + b"\n\xe9\n")
    (known.drop / RECEIPTS / "b.xml").write_text("<transactions/>")
    known.report()
    assert messages(known, "file_failed") == ["the file is not UTF-8", "only CSV files are taken here"]


def test_unknown_contact_and_unknown_store_lose_the_transaction(known: Tenant) -> None:
    put_receipts(known, receipt_row("r1", matchKey="c9"), receipt_row("r2", storeExternalId="s9"), receipt_row("r3"))
    report = known.report()
    assert (report["receipts"], report["receipts_dropped"], report["ghost_stores"]) == (1, 2, 0)
    assert known.log()[:2] == [("receipt_dropped", "r1"), ("receipt_dropped", "r2")]


def test_an_existing_receipt_is_left_untouched_whichever_way_it_came(known: Tenant) -> None:
    known.api.post(f"{V3}/receipts", json=receipt("r1"))
    put_receipts(known, receipt_row("r1"), receipt_row("r2"))
    put_receipts(known, receipt_row("r2"), name="b.csv")
    report = known.report()
    assert (report["receipts"], report["duplicates_ignored"]) == (2, 2)
    assert report["receipts_by_channel"] == {"api": 1, "file": 1}
    received = {
        one["key"]: (one["received_by_api"], one["received_by_file"]) for one in known.records("receipts_received")
    }
    assert received == {"r1": (1, 1), "r2": (0, 2)}


def split_receipt() -> tuple[str, str]:
    one = receipt_row(totalGrossPrice="15.10")
    return one, receipt_row(totalGrossPrice="15.10", sku="B", grossPaidPrice="5.00")


def test_lines_of_a_receipt_need_not_be_neighbours_in_a_file(known: Tenant) -> None:
    first, second = split_receipt()
    put_receipts(known, first, receipt_row("r2"), second)
    report = known.report()
    assert (report["receipts"], report["lines"], report["totals"]) == (2, 3, {"GBP": "25.20"})


def test_a_receipt_split_over_two_files_is_refused_twice_and_reported(known: Tenant) -> None:
    first, second = split_receipt()
    put_receipts(known, first, name="a.csv")
    put_receipts(known, second, name="b.csv")
    report = known.report()
    assert (report["receipts"], report["receipts_refused"], report["receipts_split_over_files"]) == (0, 2, 1)


def test_where_totals_are_not_checked_the_second_part_of_a_split_receipt_is_lost_and_reported(tmp_path: Path) -> None:
    with tenant(tmp_path, check_file_totals=False) as voyado:
        voyado.add_store()
        voyado.add_contact()
        first, second = split_receipt()
        put_receipts(voyado, first, name="a.csv")
        put_receipts(voyado, second, name="b.csv")
        report = voyado.report()
        assert (report["receipts"], report["lines"], report["receipts_split_over_files"]) == (1, 1, 1)
        assert ("receipt_part_lost", "r1") in voyado.log()


def test_returned_lines_count_against_the_total(known: Tenant) -> None:
    back = {"type": "RETURN", "quantity": "-1", "grossPaidPrice": "4.00"}
    put_receipts(
        known, receipt_row("r1", totalGrossPrice="6.10"), receipt_row("r1", totalGrossPrice="6.10", **back),
        receipt_row("r2", totalGrossPrice="-4.00", **back),
    )  # fmt: skip
    report = known.report()
    assert (report["receipts"], report["totals"]) == (2, {"GBP": "2.10"})


@pytest.mark.parametrize(
    "change",
    [
        {"totalGrossPrice": "10.11"}, {"totalGrossPrice": "ten"}, {"createdDate": "2025-10-14T09:00:00"},
        {"currency": "£"}, {"type": "SALE"}, {"quantity": "-2"}, {"grossPaidPrice": "-10.10"}, {"sku": ""},
        {"taxAmount": ""}, {"type": "RETURN", "totalGrossPrice": "-10.10"}, {"matchKey": ""},
        {"grossPaidPrice": "NaN"}, {"grossPaidPrice": "10,10"},
    ],
)  # fmt: skip
def test_a_receipt_that_breaks_the_rules_is_refused_and_logged_alone(known: Tenant, change: dict[str, str]) -> None:
    put_receipts(known, receipt_row("bad", **change), receipt_row("good"))
    report = known.report()
    assert (report["receipts"], report["receipts_refused"]) == (1, 1)
    assert ("receipt_refused", "bad") in known.log()


def test_receipt_fields_must_be_the_same_on_all_lines(known: Tenant) -> None:
    put_receipts(known, receipt_row(), receipt_row(currency="EUR"))
    assert messages(known, "receipt_refused") == ["the receipt fields differ between its lines"]


def test_contacts_are_created_updated_or_skipped_field_by_field(voyado: Tenant) -> None:
    voyado.add_contact("c1", firstName="Ann", city="Lund")
    put_contacts(
        voyado,
        contact_row(externalId="c1", firstName="Anna", createdOn="2024-01-01T10:00:00+01:00"),
        contact_row(externalId="c2", email="not an address", mobilePhone="070", birthDay="1990-02-01", store="s9"),
        contact_row(email="eve@example.org", acceptsEmail="No", acceptsSms="False"),
        contact_row(firstName="Nobody"),
        contact_row(email="not an address"),
    )
    report = voyado.report()
    assert (report["contacts"], report["contacts_by_channel"]) == (3, {"api": 1, "file": 2})
    assert messages(voyado, "file_imported") == ["2 created, 1 updated, 2 skipped"]
    assert report["integration_log"] == {"contact_field_skipped": 5, "contact_skipped": 2, "file_imported": 1}
    first, second, third = voyado.records("contacts")
    # An empty cell leaves what is there alone, unlike an empty value in the API.
    assert (first["attributes"]["firstName"], first["attributes"]["city"]) == ("Anna", "Lund")
    assert {"email", "mobilePhone", "store"}.isdisjoint(second["attributes"])
    assert second["attributes"]["birthDay"] == "1990-02-01"
    assert third["preferences"] == {"acceptsSms": False}


def test_further_columns_of_a_contact_file_are_consents(voyado: Tenant) -> None:
    voyado.put(CONTACTS, "a.csv", "externalId;newsletter;club", "c1;True;maybe")
    contact = voyado.records("contacts")[0]
    assert contact["consents"] == [{"id": "newsletter", "value": True, "source": "file"}]
    assert voyado.report()["integration_log"]["contact_field_skipped"] == 1


def test_a_contact_file_without_a_key_column_or_a_store_file_without_a_name_fails(voyado: Tenant) -> None:
    voyado.put(CONTACTS, "a.csv", "firstName;city", "Ann;Lund")
    voyado.put("stores", "b.csv", "externalId;timeZone", "s1;Europe/London")
    voyado.put("stores", "c.csv", "externalId;name;timeZone", "s1;;Europe/London")
    report = voyado.report()
    assert (report["contacts"], report["stores"]) == (0, 0)
    assert report["integration_log"] == {"file_failed": 2, "file_imported": 1, "store_skipped": 1}


def test_an_empty_file_does_no_harm(known: Tenant) -> None:
    put_receipts(known)
    assert known.report()["integration_log"] == {"file_imported": 1}


async def upload(voyado: Tenant, lines: list[str], **login: Any) -> list[str]:
    port, key = voyado.sandbox.sftp_port, voyado.sandbox.sftp_host_key
    trusted = asyncssh.import_known_hosts(f"[127.0.0.1]:{port} {key}\n")
    options = {"username": USER, "password": PASSWORD, "known_hosts": trusted, "config": None, **login}
    async with asyncssh.connect("127.0.0.1", port, **options) as connection, connection.start_sftp_client() as sftp:
        async with sftp.open(f"/{RECEIPTS}/a.csv.part", "w") as file:
            await file.write("\n".join(lines) + "\n")
        await sftp.rename(f"/{RECEIPTS}/a.csv.part", f"/{RECEIPTS}/a.csv")
        return sorted(str(name) for name in await sftp.listdir("/../.."))


def test_files_come_by_sftp_and_the_sender_sees_nothing_but_the_drop_folder(known: Tenant) -> None:
    seen = asyncio.run(upload(known, [RECEIPT_HEADER, receipt_row()]))
    assert [name for name in seen if not name.startswith(".")] == ["integration", "stores"]
    assert known.report()["receipts"] == 1


@pytest.mark.parametrize("login", [{"password": "wrong"}, {"username": "somebody"}])
def test_the_sftp_server_lets_only_its_user_in(known: Tenant, login: dict[str, str]) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(upload(known, [], **login, client_keys=None, agent_path=None))


def test_the_host_key_stays_the_same_over_a_restart(tmp_path: Path) -> None:
    with tenant(tmp_path) as voyado:
        first = voyado.sandbox.sftp_host_key
    with tenant(tmp_path) as voyado:
        assert voyado.sandbox.sftp_host_key == first
