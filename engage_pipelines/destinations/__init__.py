"""Where records go: one folder per platform, and the list of them.

A destination is a frozen value made of functions and SQL files (see `connector.py`). A new one is a folder
here and an entry in the list; destinations do not know each other.
"""

from engage_pipelines.connector import Destination
from engage_pipelines.destinations import aiq, crmcom, voyado

DESTINATIONS: tuple[Destination, ...] = (aiq.AIQ, crmcom.CRMCOM, voyado.VOYADO)
"""Every destination that can be switched on in engage.toml."""

__all__ = ["DESTINATIONS"]
