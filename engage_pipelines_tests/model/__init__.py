"""Mirror of `engage_pipelines.model`."""
