"""A folder at an SFTP server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import asyncssh

from engage_pipelines.errors import ConfigError, CredentialsError, RetryableError
from engage_pipelines.file_drop.handover import PART, SftpAccess, relative, same_size

_T = TypeVar("_T")
_LOGIN_SECONDS = 30
_KEEPALIVE_SECONDS = 15


class SftpDrop:
    """A folder at an SFTP server, over one connection that is opened with the first file.

    The connection lives in an event loop of its own that one thread at a time drives.
    """

    def __init__(self, url: str, access: SftpAccess) -> None:
        parts = urlsplit(url)
        if parts.scheme != "sftp" or not parts.hostname or not parts.username:
            raise ConfigError("file drop: write folder:<path> or sftp://<user>@<host>:<port>/<base>")
        if parts.password is not None:
            raise ConfigError("file drop: the password belongs into the environment, not into the address")
        self._host, self._port = parts.hostname, parts.port or 22
        self._user = unquote(parts.username)
        self._base = PurePosixPath(unquote(parts.path) or ".")
        self._label = f"sftp {self._host}:{self._port}"
        self._options = self._login_options(access)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: asyncssh.SSHClientConnection | None = None

    def __enter__(self) -> Self:
        """Connect lazily: the first `put` logs in."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection and its event loop."""
        self.close()

    def close(self) -> None:
        """Close the connection and its event loop; a later `put` opens both again."""
        with self._lock:
            if self._loop is None:
                return
            self._run(self._disconnect())
            self._loop.close()
            self._loop = None

    def put(self, local: Path, folder: str, name: str) -> str:
        """Upload `local` to `folder/name` below the base; see `FileDrop.put`."""
        target = self._base / relative(folder, name)
        with self._lock, self._errors(target):
            self._run(self._upload(local, target))
        return f"{self._label} {target}"

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)

    async def _upload(self, local: Path, target: PurePosixPath) -> None:
        connection = await self._connected()
        part = f"{target}{PART}"
        async with connection.start_sftp_client() as sftp:
            if not await sftp.isdir(str(target.parent)):
                # Not created: a folder with a slip of the pen in it would swallow files nobody reads.
                raise ConfigError(f"{self._label}: there is no folder {target.parent}")
            await sftp.put(str(local), part)
            await _flush(sftp, part)
            same_size(local, (await sftp.stat(part)).size or 0, f"{self._label} {part}")
            await _rename(sftp, part, str(target))

    async def _connected(self) -> asyncssh.SSHClientConnection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncssh.connect(self._host, self._port, **self._options)
        return self._connection

    async def _disconnect(self, *, politely: bool = True) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close() if politely else connection.abort()
            await connection.wait_closed()

    def _login_options(self, access: SftpAccess) -> dict[str, Any]:
        # Nothing is taken from the person who happens to run this: no ~/.ssh, no agent.
        return {
            "username": self._user,
            "password": access.password,
            "client_keys": [str(_readable(access.key_file, "key file"))] if access.key_file else None,
            "known_hosts": _trusted(access, self._label),
            "agent_path": None,
            "config": None,
            "login_timeout": _LOGIN_SECONDS,
            "connect_timeout": _LOGIN_SECONDS,
            "keepalive_interval": _KEEPALIVE_SECONDS,
        }

    @contextlib.contextmanager
    def _errors(self, target: PurePosixPath) -> Iterator[None]:
        what = f"{self._label}: upload of {target}"
        try:
            yield
        except (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable) as error:
            raise CredentialsError(f"{self._label}: login failed ({type(error).__name__})") from error
        except asyncssh.SFTPPermissionDenied as error:
            raise CredentialsError(f"{what}: no right to write there") from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise ConfigError(f"{self._label}: the key file is not a readable private key") from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            # The connection may be half dead; the next file gets a fresh one.
            self._run(self._disconnect(politely=False))
            raise RetryableError(f"{what}: {type(error).__name__}") from error


async def _flush(sftp: asyncssh.SFTPClient, part: str) -> None:
    # An OpenSSH extension; a server without it has its own idea of when bytes are safe.
    async with sftp.open(part, "rb+") as file:
        with contextlib.suppress(asyncssh.SFTPOpUnsupported):
            await file.fsync()


async def _rename(sftp: asyncssh.SFTPClient, part: str, target: str) -> None:
    # Plain SFTP renames never replace; the POSIX one is an extension that most servers have.
    try:
        await sftp.posix_rename(part, target)
    except asyncssh.SFTPOpUnsupported:
        if await sftp.exists(target):
            await sftp.remove(target)
        await sftp.rename(part, target)


def _readable(path: Path, noun: str) -> Path:
    if not path.is_file():
        raise ConfigError(f"file drop: {noun} {path} does not exist")
    return path


def _trusted(access: SftpAccess, label: str) -> Any:
    # asyncssh takes None for "trust anybody", so None must never come out of here.
    if access.known_hosts:
        return str(_readable(access.known_hosts, "known_hosts file"))
    if not access.host_key:
        raise ConfigError(f"{label}: give known_hosts (a file) or host_key (the server's public key line)")
    try:
        return [asyncssh.import_public_key(access.host_key)], [], []
    except asyncssh.KeyImportError as error:
        raise ConfigError(f"{label}: host_key is not an OpenSSH public key line") from error
