"""A run of a job as Dagster's own command starts it, in this process, with the network listened to.

python -m benchmarks.nightly_dagster <first day> <last day> [--reread] [--job nightly]

The installation is the one that ENGAGE_CONFIG and DAGSTER_HOME name.
"""

from __future__ import annotations

import argparse
import json
import sys
import time


def main() -> None:
    """Run `dagster job execute` and tell the seconds and the network's share of them."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first")
    parser.add_argument("last")
    parser.add_argument("--reread", action="store_true")
    parser.add_argument("--job", default="nightly")
    given = parser.parse_args()
    # Imports count: a run in a process of its own pays for them every night.
    from benchmarks import nightly_network

    nightly_network.listen()
    from dagster._cli import create_dagster_cli

    command = ["job", "execute", "-m", "engage_pipelines.definitions", "-j", given.job, "--tags", _tags(given)]
    create_dagster_cli().main(command, standalone_mode=False)
    network = nightly_network.busy_seconds()
    sys.stdout.write("\n" + json.dumps({"seconds": time.monotonic() - began, "network": network}) + "\n")


def _tags(given: argparse.Namespace) -> str:
    tags = {"dagster/asset_partition_range_start": given.first, "dagster/asset_partition_range_end": given.last}
    if given.first == given.last:
        tags = {"dagster/partition": given.first}
    return json.dumps(tags | ({"engage/reread": "true"} if given.reread else {}))


if __name__ == "__main__":
    main()
