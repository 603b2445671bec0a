"""Mirror of `engage_pipelines.warehouse`."""
