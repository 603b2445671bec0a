"""The inbound engine, blind to vendors: windows, spool, load, bookmarks, completeness.

Its two verbs are `pull` (till -> spool) and `load` (spool -> warehouse), one after the other or the second beside the
first. Either may be killed anywhere and run again: a spool is complete or not there, a load is one transaction and
changes nothing the second time.
"""

from engage_pipelines.ingest.in_turn import PullsInTurn
from engage_pipelines.ingest.load import Loaded, Loading
from engage_pipelines.ingest.pull import Pulled, Pulling
from engage_pipelines.ingest.spool import Manifest, Spool
from engage_pipelines.ingest.windows import cut, pull_range

__all__ = ["Loaded", "Loading", "Manifest", "Pulled", "Pulling", "PullsInTurn", "Spool", "cut", "pull_range"]
