"""One suite over all connectors: a new one inherits it by being in the list."""
