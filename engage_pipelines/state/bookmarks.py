"""How far each entity of each source and location has been pulled and loaded without a gap."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from engage_pipelines.state.database import BOOKMARKS

# An entity that is not pulled by location has one bookmark, under this name.
_EVERYWHERE = ""


class Bookmarks:
    """Reads and moves bookmarks; a bookmark only moves over a window that touches it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def through(self, source: str, entity: str) -> datetime | None:
        """The moment up to which every location is loaded, or None before the first load."""
        query = sa.select(sa.func.min(BOOKMARKS.c.through_at)).where(*_of(source, entity))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def advance(self, source: str, entity: str, locations: Sequence[str], start: datetime, end: datetime) -> None:
        """Note that `[start, end)` is loaded; a bookmark moves only if that leaves no gap behind it."""
        with self._engine.begin() as connection:
            for location in locations or (_EVERYWHERE,):
                here = [*_of(source, entity), BOOKMARKS.c.location_id == location]
                known = connection.execute(sa.select(BOOKMARKS.c.through_at).where(*here)).scalar()
                if known is None:
                    values = {"source": source, "entity": entity, "location_id": location, "through_at": end}
                    connection.execute(sa.insert(BOOKMARKS).values(values))
                elif start <= known < end:
                    connection.execute(sa.update(BOOKMARKS).where(*here).values(through_at=end))

    def all(self) -> list[tuple[str, str, datetime]]:
        """The bookmark of each entity: (source, entity, through)."""
        b = BOOKMARKS.c
        query = sa.select(b.source, b.entity, sa.func.min(b.through_at).label("through_at"))
        with self._engine.connect() as connection:
            rows = connection.execute(query.group_by(b.source, b.entity).order_by(b.source, b.entity))
            return [(row.source, row.entity, row.through_at) for row in rows]


def _of(source: str, entity: str) -> list[Any]:
    return [BOOKMARKS.c.source == source, BOOKMARKS.c.entity == entity]
