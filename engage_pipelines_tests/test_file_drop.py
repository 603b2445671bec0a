"""Handing files over: to a folder, and to a real SFTP server on this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from engage_pipelines.errors import ConfigError, CredentialsError, RetryableError
from engage_pipelines.file_drop import FolderDrop, SftpAccess, open_drop

PASSWORD = "open sesame"


@dataclass
class SftpServer:
    """A real SFTP server on loopback that serves `root`."""

    port: int
    root: Path
    host_key: str
    client_key: Path
    logins: list[str]
    loop: asyncio.AbstractEventLoop
    acceptor: asyncssh.SSHAcceptor
    connections: list[asyncssh.SSHServerConnection]

    def url(self, base: str = "/") -> str:
        return f"sftp://till@127.0.0.1:{self.port}{base}"

    def drop_connections(self) -> None:
        async def drop() -> None:
            for connection in self.connections:
                connection.abort()
                await connection.wait_closed()

        asyncio.run_coroutine_threadsafe(drop(), self.loop).result(10)

    def stop(self) -> None:
        async def stop() -> None:
            self.acceptor.close()
            await self.acceptor.wait_closed()

        asyncio.run_coroutine_threadsafe(stop(), self.loop).result(10)


class Door(asyncssh.SSHServer):
    """Lets `till` in with the password (or the authorized key) and keeps who came."""

    def __init__(self, logins: list[str], connections: list[asyncssh.SSHServerConnection]) -> None:
        self._logins = logins
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connections.append(conn)

    def auth_completed(self) -> None:
        self._logins.append("in")

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("till", PASSWORD)


class Files(asyncssh.SFTPServer):
    """Files below a root, one folder of which nobody may write to."""

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        if b"/forbidden/" in path:
            raise asyncssh.SFTPPermissionDenied("no")
        return super().open(path, pflags, attrs)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    root = tmp_path / "served"
    (root / "in").mkdir(parents=True)
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    key_file = tmp_path / "client_key"
    client_key.write_private_key(key_file)
    key_file.with_suffix(".pub").write_bytes(client_key.export_public_key())
    logins: list[str] = []
    connections: list[asyncssh.SSHServerConnection] = []

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=lambda: Door(logins, connections), server_host_keys=[host_key],
            sftp_factory=lambda channel: Files(channel, chroot=str(root).encode()),
            authorized_client_keys=str(key_file.with_suffix(".pub")),
        )  # fmt: skip

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    made = SftpServer(
        acceptor.get_port(), root, host_key.export_public_key().decode(), key_file, logins, loop, acceptor, connections
    )
    yield made
    made.drop_connections()
    made.stop()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    local = tmp_path / "batch.csv"
    local.write_bytes(b"a;b\n" * 200_000)
    return local


def test_a_folder_takes_a_file_whole_and_creates_its_place(tmp_path: Path, file: Path) -> None:
    with open_drop(f"folder:{tmp_path / 'out'}") as drop:
        place = drop.put(file, "integration/transactionImport", "x.csv")
    assert Path(place) == tmp_path / "out/integration/transactionImport/x.csv"
    assert Path(place).read_bytes() == file.read_bytes()
    assert [p.name for p in Path(place).parent.iterdir()] == ["x.csv"]


def test_the_same_name_again_replaces_the_file(tmp_path: Path, file: Path) -> None:
    drop = FolderDrop(tmp_path / "out")
    drop.put(file, "in", "x.csv")
    file.write_bytes(b"other")
    place = Path(drop.put(file, "in", "x.csv"))
    assert place.read_bytes() == b"other"
    assert len(list(place.parent.iterdir())) == 1


def test_a_folder_that_cannot_be_made_can_be_tried_again_later(tmp_path: Path, file: Path) -> None:
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(RetryableError):
        FolderDrop(tmp_path / "out").put(file, "in", "x.csv")


@pytest.mark.parametrize(("folder", "name"), [("/etc", "x"), ("../up", "x"), ("in", "../x"), ("in", "a/b")])
def test_a_name_never_leads_out_of_the_base(tmp_path: Path, file: Path, folder: str, name: str) -> None:
    with pytest.raises(ConfigError):
        FolderDrop(tmp_path).put(file, folder, name)


def test_sftp_takes_a_file_whole_under_its_final_name_only(server: SftpServer, file: Path) -> None:
    with open_drop(server.url(), SftpAccess(password=PASSWORD, host_key=server.host_key)) as drop:
        drop.put(file, "in", "x.csv")
    assert (server.root / "in/x.csv").read_bytes() == file.read_bytes()
    assert [p.name for p in (server.root / "in").iterdir()] == ["x.csv"]


def test_one_connection_serves_many_files_and_threads(server: SftpServer, file: Path) -> None:
    with (
        open_drop(server.url(), SftpAccess(password=PASSWORD, host_key=server.host_key)) as drop,
        ThreadPoolExecutor(3) as threads,
    ):
        list(threads.map(lambda n: drop.put(file, "in", f"{n}.csv"), range(6)))
    assert server.logins == ["in"]
    assert len(list((server.root / "in").iterdir())) == 6


def test_sftp_replaces_a_file_of_the_same_name(server: SftpServer, file: Path) -> None:
    with open_drop(server.url("/in"), SftpAccess(password=PASSWORD, host_key=server.host_key)) as drop:
        drop.put(file, "", "x.csv")
        file.write_bytes(b"other")
        drop.put(file, "", "x.csv")
    assert (server.root / "in/x.csv").read_bytes() == b"other"


def test_a_key_file_and_a_known_hosts_file_do_as_well(server: SftpServer, file: Path, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}")
    with open_drop(server.url(), SftpAccess(key_file=server.client_key, known_hosts=known)) as drop:
        drop.put(file, "in", "x.csv")
    assert (server.root / "in/x.csv").exists()


def test_a_wrong_password_is_for_a_person(server: SftpServer, file: Path) -> None:
    with (
        open_drop(server.url(), SftpAccess(password="guess", host_key=server.host_key)) as drop,
        pytest.raises(CredentialsError) as caught,
    ):
        drop.put(file, "in", "x.csv")
    assert "guess" not in str(caught.value)


def test_a_server_with_another_host_key_gets_no_password(server: SftpServer, file: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with (
        open_drop(server.url(), SftpAccess(password=PASSWORD, host_key=other)) as drop,
        pytest.raises(CredentialsError, match="HostKeyNotVerifiable"),
    ):
        drop.put(file, "in", "x.csv")
    assert server.logins == []


def test_a_folder_that_is_not_there_is_a_setting_to_fix_and_is_not_created(server: SftpServer, file: Path) -> None:
    with (
        open_drop(server.url(), SftpAccess(password=PASSWORD, host_key=server.host_key)) as drop,
        pytest.raises(ConfigError, match="there is no folder /inn"),
    ):
        drop.put(file, "inn", "x.csv")
    assert [p.name for p in server.root.iterdir()] == ["in"]


def test_a_folder_without_the_right_to_write_is_for_a_person(server: SftpServer, file: Path) -> None:
    (server.root / "forbidden").mkdir()
    with (
        open_drop(server.url(), SftpAccess(password=PASSWORD, host_key=server.host_key)) as drop,
        pytest.raises(CredentialsError, match="no right"),
    ):
        drop.put(file, "forbidden", "x.csv")


def test_after_a_broken_connection_the_next_file_opens_a_new_one(server: SftpServer, file: Path) -> None:
    with open_drop(server.url(), SftpAccess(password=PASSWORD, host_key=server.host_key)) as drop:
        drop.put(file, "in", "1.csv")
        server.drop_connections()
        with pytest.raises(RetryableError):
            drop.put(file, "in", "2.csv")
        drop.put(file, "in", "2.csv")
    assert (server.root / "in/2.csv").read_bytes() == file.read_bytes()


def test_a_server_that_is_away_can_be_tried_again_later(server: SftpServer, file: Path) -> None:
    server.stop()
    with (
        open_drop(server.url(), SftpAccess(password=PASSWORD, host_key=server.host_key)) as drop,
        pytest.raises(RetryableError, match="ConnectionRefusedError"),
    ):
        drop.put(file, "in", "x.csv")


@pytest.mark.parametrize(
    ("url", "access", "says"),
    [
        ("sftp://till@127.0.0.1/", SftpAccess(password="x"), "known_hosts"),
        ("sftp://till@127.0.0.1/", SftpAccess(host_key="no key"), "host_key"),
        ("sftp://till@127.0.0.1/", SftpAccess(known_hosts=Path("/nowhere/known_hosts")), "does not exist"),
        ("sftp://till@127.0.0.1/", SftpAccess(key_file=Path("/nowhere/key")), "does not exist"),
        ("sftp://till:pass@127.0.0.1/", SftpAccess(), "environment"),
        ("ftp://till@127.0.0.1/", SftpAccess(), "sftp://<user>"),
        ("sftp://127.0.0.1/", SftpAccess(), "sftp://<user>"),
        ("folder:", SftpAccess(), "folder:<path>"),
    ],
)
def test_a_drop_that_cannot_work_is_refused_before_anything_is_sent(url: str, access: SftpAccess, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_drop(url, access)
