"""What goes wrong at the door of the file drop: no connection, a slow one, one that is cut in the middle of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from engage_pipelines.sandbox.voyado.sftp import PASSWORD, USER
from engage_pipelines_tests.sandbox.voyado_world import RECEIPT_HEADER, Tenant, receipt_row, tenant

FOLDER = "integration/transactionImport"
LINES = "\n".join([RECEIPT_HEADER, *(receipt_row(f"r{number}") for number in range(500))]) + "\n"


@pytest.fixture
def voyado(tmp_path: Path) -> Iterator[Tenant]:
    with tenant(tmp_path) as running:
        running.add_contact()
        running.add_store()
        yield running


async def _upload(voyado: Tenant) -> None:
    options = {"username": USER, "password": PASSWORD, "known_hosts": None, "config": None}
    port = voyado.sandbox.sftp_port
    async with asyncssh.connect("127.0.0.1", port, **options) as connection, connection.start_sftp_client() as sftp:
        async with sftp.open(f"/{FOLDER}/a.csv.part", "w") as file:
            await file.write(LINES)
        await sftp.rename(f"/{FOLDER}/a.csv.part", f"/{FOLDER}/a.csv")


def upload(voyado: Tenant) -> None:
    asyncio.run(_upload(voyado))


@pytest.mark.parametrize("kind", ["down", "unreachable", "reset_before"])
def test_a_connection_is_reset_and_nothing_arrives(voyado: Tenant, kind: str) -> None:
    voyado.sandbox.add_fault("voyado", kind=kind, route="SFTP", times=1)
    with pytest.raises((OSError, asyncssh.Error)):
        upload(voyado)
    assert voyado.report()["receipts"] == 0
    upload(voyado)
    assert voyado.report()["receipts"] == 500


def test_a_connection_that_is_cut_leaves_a_part_of_the_file_that_is_not_imported(voyado: Tenant) -> None:
    voyado.sandbox.add_fault("voyado", kind="half_body", route="SFTP", times=1)
    with pytest.raises((OSError, asyncssh.Error)):
        upload(voyado)
    left = voyado.drop / FOLDER / "a.csv.part"
    assert left.stat().st_size < len(LINES)
    assert (voyado.report()["receipts"], voyado.report()["files_waiting"]) == (0, [])


def test_a_slow_door_lets_patient_senders_in(voyado: Tenant) -> None:
    voyado.sandbox.add_fault("voyado", kind="slow", route="SFTP", seconds=0.05, times=1)
    upload(voyado)
    assert voyado.report()["receipts"] == 500


def test_the_door_opens_again_after_an_hour(voyado: Tenant) -> None:
    voyado.sandbox.add_fault("voyado", kind="down", until_seconds=3600)
    with pytest.raises((OSError, asyncssh.Error)):
        upload(voyado)
    voyado.sandbox.clock.advance(3600)
    upload(voyado)
    assert voyado.report()["receipts"] == 500


def test_faults_of_calls_do_not_strike_the_door(voyado: Tenant) -> None:
    for kind in ("throttle", "status", "broken_json", "reset_after", "expired_token"):
        voyado.sandbox.add_fault("voyado", kind=kind)
    upload(voyado)
    assert voyado.api.get("/_sandbox/voyado/faults/summary").json()["total"] == 0


def test_a_file_that_is_accepted_is_not_imported_before_importing_is_switched_on(voyado: Tenant) -> None:
    voyado.api.put("/_sandbox/voyado/importing", content=b"false").raise_for_status()
    upload(voyado)
    assert (voyado.report()["receipts"], voyado.report()["files_waiting"]) == (0, [f"{FOLDER}/a.csv"])
    voyado.api.put("/_sandbox/voyado/importing", content=b"true").raise_for_status()
    assert voyado.report()["receipts"] == 500
