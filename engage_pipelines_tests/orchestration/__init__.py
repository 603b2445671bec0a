"""Assets, checks, schedule, partitions and storage of the Dagster instance."""
