"""Tests of the Square source."""
