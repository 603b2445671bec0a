"""Tests of the destinations, one file per module."""
