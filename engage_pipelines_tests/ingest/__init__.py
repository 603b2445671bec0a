"""Mirror of `engage_pipelines.ingest`."""
