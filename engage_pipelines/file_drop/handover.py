"""What every drop keeps to: the temporary name, the size check, names that stay below the base."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from engage_pipelines.errors import ConfigError, RetryableError

PART = ".part"


class FileDrop(Protocol):
    """A place that takes files; a context manager that keeps at most one connection.

    `put` may be called from several threads. Putting the same name again replaces the file.
    """

    def __enter__(self) -> Self:
        """Start using the drop; nothing is connected before the first file."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection, if there is one."""

    def put(self, local: Path, folder: str, name: str) -> str:
        """Hand over `local` as `folder/name` and give the place where it now is.

        Raises:
            RetryableError: the other side could not be reached or broke off.
            CredentialsError: the login, the host key or a right is missing.
            ConfigError: the folder does not exist there.
        """


@dataclass(frozen=True, slots=True)
class SftpAccess:
    """How to log in at an SFTP server and how to know that it is the right one.

    Attributes:
        password: password of the account, or
        key_file: private key file (without passphrase).
        known_hosts: file in OpenSSH's known_hosts format that lists the server, or
        host_key: the server's public key as one OpenSSH line, e.g. `ssh-ed25519 AAAA...`.
    """

    password: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    known_hosts: Path | None = None
    host_key: str | None = None


def relative(folder: str, name: str) -> PurePosixPath:
    """Where a file goes below the base.

    Raises:
        ConfigError: it would lie elsewhere.
    """
    path = PurePosixPath(folder) / name
    if path.is_absolute() or ".." in path.parts or PurePosixPath(name).name != name:
        raise ConfigError(f"file drop: {path} must be a folder below the base and a plain file name")
    return path


def same_size(local: Path, there: int, place: str) -> None:
    """Compare what arrived with what was sent.

    Raises:
        RetryableError: bytes are missing.
    """
    here = local.stat().st_size
    if here != there:
        raise RetryableError(f"{place}: {there} bytes arrived of {here}")
