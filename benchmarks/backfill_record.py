"""What the instance has of a backfill: runs, and the days that are noted for each asset of a day.

python -m benchmarks.backfill_record

The instance is the one that DAGSTER_HOME names.
"""

from __future__ import annotations

import json
import sys

import dagster as dg

from engage_pipelines.definitions import defs


def main() -> None:
    """Count and tell."""
    daily = [
        node.key
        for node in defs.resolve_asset_graph().asset_nodes
        if isinstance(node.partitions_def, dg.DailyPartitionsDefinition)
    ]
    with dg.DagsterInstance.get() as instance:
        days = {key.to_user_string(): len(instance.get_materialized_partitions(key)) for key in daily}
        runs = {run.run_id: run.status.value for run in instance.get_runs()}
    sys.stdout.write(json.dumps({"days": days, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
