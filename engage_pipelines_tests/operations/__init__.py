"""Mirror of `engage_pipelines.operations`."""
