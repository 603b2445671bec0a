"""Mirror of `engage_pipelines.http_client`."""
