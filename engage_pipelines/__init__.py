"""Pipelines from tills to one DuckDB warehouse and to loyalty platforms.

The rooms are named after the journey: sources -> ingest -> warehouse -> delivery -> destinations.
Start reading at `definitions.py`, the map.
"""
