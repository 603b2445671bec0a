"""Finds the real data sets and vendor documents that lie beside the repository, where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str) -> Path:
    """Give the file or folder `path` of the shared material; skip the test where it is absent.

    With ENGAGE_REQUIRE_SHARED=1 (as in continuous integration) its absence is a failure.
    """
    found = SHARED / path
    if not found.exists():
        reason = f"needs {path} in a folder named shared beside the repository"
        if os.environ.get("ENGAGE_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason, allow_module_level=True)
    return found
