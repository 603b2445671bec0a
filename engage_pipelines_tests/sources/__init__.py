"""Tests of the sources: what is asked of each till, and what becomes of its records."""
