"""Where files are handed over: a local folder or an SFTP server.

What belongs here: putting one finished local file into a folder at the other side so that a reader
there never sees half of it (temporary name, size check, rename). What does not: what is in the file
and what it is called (that is the connector), and trying again later (that is the ledger).
"""

from __future__ import annotations

from pathlib import Path

from engage_pipelines.errors import ConfigError
from engage_pipelines.file_drop.folder import FolderDrop
from engage_pipelines.file_drop.handover import FileDrop, SftpAccess

__all__ = ["FileDrop", "FolderDrop", "SftpAccess", "open_drop"]


def open_drop(url: str, access: SftpAccess | None = None) -> FileDrop:
    """Give the drop that `url` names: `folder:<path>` or `sftp://user@host:22/base`.

    Raises:
        ConfigError: another form, a password in the URL, or an SFTP server whose host key nobody vouched for.
    """
    if url.startswith("folder:"):
        if not url.removeprefix("folder:"):
            raise ConfigError("file drop: write folder:<path>")
        return FolderDrop(Path(url.removeprefix("folder:")))
    # Its library is large, and most commands hand nothing over.
    from engage_pipelines.file_drop.sftp import SftpDrop

    return SftpDrop(url, access or SftpAccess())
