"""The tills that can be read: one folder each, one line in the list.

What belongs here: how a vendor is asked, and the SQL that turns its records into canonical rows. What
does not: windows, files, loading and proof of completeness, which are the same for all (`ingest`).
"""

from engage_pipelines.connector import Source
from engage_pipelines.sources import square

SOURCES: tuple[Source, ...] = (square.SQUARE,)

__all__ = ["SOURCES"]
