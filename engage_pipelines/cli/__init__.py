"""`engage`: the same functions as in the Dagster UI, from a terminal.

Exit codes: 0 done, 1 something needs a person (books, doubt, gaps), 2 wrong command line, 3 settings or
credentials, 4 try again later, 5 the vendor broke its contract or refused.
"""

from __future__ import annotations

import logging
import sys

from engage_pipelines.cli.application import app
from engage_pipelines.cli.output import console, exit_code
from engage_pipelines.errors import EngageError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; our errors become one line and an exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except EngageError as error:
        console.print(f"{type(error).__name__}: {error}", style="bold red", markup=False, highlight=False)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on", style="yellow")
        sys.exit(130)
