"""A child of the campaign: the `engage` command line in this process, with a place to die and maybe a bug.

    python -m engage_pipelines_tests.chaos.child deliver aiq --all

The environment says what to do, see `points` and `mutations`; without it this is just `engage`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engage_pipelines.cli import main
from engage_pipelines.http_client import VendorClient
from engage_pipelines_tests.chaos.mutations import install_as_told
from engage_pipelines_tests.chaos.points import watch_as_told

CRASHED = 70
# Seconds before the second try; also bounds how long a platform that fails is left alone, to three seconds at first.
_IMPATIENT = 0.05


def be_impatient() -> None:
    """Wait less between tries than the product does: a campaign has minutes for what is a month of nights."""
    make = VendorClient.__init__

    def make_impatient(client: VendorClient, *given: Any, **named: Any) -> None:
        make(client, *given, **named)
        client.retry = replace(client.retry, first_wait=_IMPATIENT)

    VendorClient.__init__ = make_impatient  # type: ignore[method-assign]


def run(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit code, or `CRASHED` after an error that the product did not expect."""
    be_impatient()
    install_as_told()
    sys.argv = ["engage", *arguments]
    watch_as_told()
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the campaign wants to hear of everything
        traceback.print_exc()
        return CRASHED
    finally:
        sys.setprofile(None)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
