"""The SFTP door to the drop folder: a real server on loopback, for one user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

import asyncssh

USER = "sandbox"
PASSWORD = "sandbox-voyado-sftp"  # noqa: S105  a password of the sandbox, printed in its docs


@dataclass(frozen=True, slots=True)
class SftpDoor:
    """Where the server listens, and the public host key callers may pin (OpenSSH form)."""

    port: int
    host_key: str


class _Guard(asyncssh.SSHServer):
    """Lets the one user in and remembers who is connected."""

    def __init__(self, connected: set[asyncssh.SSHServerConnection]) -> None:
        self._connected = connected

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connected.add(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return compare_digest(username, USER) and compare_digest(password, PASSWORD)


def host_key_of(directory: Path) -> asyncssh.SSHKey:
    """The server's own key: made once, kept with the state, so that callers can pin it."""
    path = directory / "sftp_host_key"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
        path.chmod(0o600)
    return asyncssh.read_private_key(path)


@asynccontextmanager
async def open_door(directory: Path, drop: Path, *, port: int = 0) -> AsyncIterator[SftpDoor]:
    """Serve `drop` as `/` on loopback while the context is open; port 0 takes a free one."""
    key = host_key_of(directory)
    root = str(drop).encode()
    connected: set[asyncssh.SSHServerConnection] = set()
    server = await asyncssh.listen(
        "127.0.0.1", port, server_factory=lambda: _Guard(connected), server_host_keys=[key], allow_scp=False,
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=root),
    )  # fmt: skip
    try:
        public = key.export_public_key("openssh").decode().strip()
        yield SftpDoor(server.get_port(), public)
    finally:
        server.close()
        # Waiting for callers to hang up could take for ever.
        for connection in connected:
            connection.abort()
            await connection.wait_closed()
        await server.wait_closed()
