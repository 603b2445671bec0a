"""Mirror of `engage_pipelines.state`."""
