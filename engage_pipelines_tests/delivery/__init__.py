"""Mirror of `engage_pipelines.delivery`."""
