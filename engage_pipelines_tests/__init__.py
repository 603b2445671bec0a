"""Tests: one file per module, one conformance suite over all connectors, `end_to_end/`."""
