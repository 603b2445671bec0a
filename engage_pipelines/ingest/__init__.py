"""The inbound engine, blind to vendors: windows, spool, load, bookmarks, completeness.

Its two verbs are `pull` (till -> spool) and `load` (spool -> warehouse). Either may be killed anywhere and
run again: a spool is complete or not there, a load is one transaction and changes nothing the second time.
"""

from engage_pipelines.ingest.load import Loaded, load
from engage_pipelines.ingest.pull import Pulled, pull
from engage_pipelines.ingest.spool import Manifest, Spool
from engage_pipelines.ingest.windows import cut, pull_range

__all__ = ["Loaded", "Manifest", "Pulled", "Spool", "cut", "load", "pull", "pull_range"]
