"""A local folder, or a mounted share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from engage_pipelines.errors import CredentialsError, RetryableError
from engage_pipelines.file_drop.handover import PART, relative, same_size


class FolderDrop:
    """A folder of this machine (or a mounted share); it is created when missing."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def put(self, local: Path, folder: str, name: str) -> str:
        """Copy `local` to `folder/name` below the base; see `FileDrop.put`."""
        target = self._base / relative(folder, name)
        part = target.with_name(target.name + PART)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_to_disk(local, part)
            same_size(local, part.stat().st_size, str(part))
            part.replace(target)
        except PermissionError as error:
            raise CredentialsError(f"file drop {target}: no right to write there") from error
        except OSError as error:
            raise RetryableError(f"file drop {target}: {type(error).__name__} (errno {error.errno})") from error
        return str(target)


def _copy_to_disk(local: Path, part: Path) -> None:
    with local.open("rb") as source, part.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1024 * 1024)
        copy.flush()
        os.fsync(copy.fileno())
