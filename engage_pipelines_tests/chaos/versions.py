"""What the source says of every record, now and before: payloads by hash, shaped by the streams' own SQL.

The ledger keeps hashes only; with this archive a record that a platform holds can be compared with the very version
that the ledger says was delivered.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from engage_pipelines.connector import Destination, Stream
from engage_pipelines.operations import Desk
from engage_pipelines.warehouse.database import set_variables
from engage_pipelines_tests.chaos.shop import GO_LIVE_ON


class Shaped(NamedTuple):
    """A record as a stream shapes it now."""

    payload: str
    hash: str
    skipped: str | None
    rejected: str | None

    @property
    def goes(self) -> bool:
        """True if it is to be at the platform."""
        return self.skipped is None and self.rejected is None


@dataclass(slots=True)
class Versions:
    """Present and earlier payloads per flow (`<destination>/<ledger stream>`) and record; who bought before go-live."""

    present: dict[str, dict[str, Shaped]] = field(default_factory=dict)
    payloads: dict[str, dict[str, dict[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    early_customers: set[str] = field(default_factory=set)

    def learn(self, desk: Desk) -> None:
        """Look at everything as it is now; nothing may be loading meanwhile."""
        self.early_customers |= _early_customers(desk)
        for destination in desk.destinations:
            for name in dict.fromkeys(stream.ledger_name for stream in destination.streams):
                flow = f"{destination.name}/{name}"
                streams = [stream for stream in destination.streams if stream.ledger_name == name]
                self.present[flow] = _shape_all(desk, destination, streams)
                for key, shaped in self.present[flow].items():
                    if shaped.goes:
                        self.payloads[flow].setdefault(key, {})[shaped.hash] = shaped.payload

    def payload(self, flow: str, key: str, version: str | None) -> Any:
        """The payload of a version, decoded exactly; None if there never was such a version."""
        text = self.payloads[flow].get(key, {}).get(version or "")
        return None if text is None else exactly(text)

    def count(self, flow: str, key: str) -> int:
        """How many versions of a record there were."""
        return len(self.payloads[flow].get(key, {}))


def exactly(text: str | bytes) -> Any:
    """Decoded JSON whose fractions are exact."""
    return json.loads(text, parse_float=Decimal)


def _early_customers(desk: Desk) -> set[str]:
    sql = "select distinct customer_id from core.transactions where business_on < ? and customer_id is not null"
    with desk.warehouse.connection() as connection:
        return {row[0] for row in connection.execute(sql, [GO_LIVE_ON]).fetchall()}


def _shape_all(desk: Desk, destination: Destination, streams: list[Stream]) -> dict[str, Shaped]:
    """All channels of one ledger stream together: what one leaves to another is what the other says."""
    shaped: dict[str, Shaped] = {}
    for stream in streams:
        for key, found in _shape(desk, destination, stream).items():
            known = shaped.get(key)
            if known is None or not known.goes:
                shaped[key] = found if found.goes or known is None else known
    return shaped


def _shape(desk: Desk, destination: Destination, stream: Stream) -> dict[str, Shaped]:
    sql = (destination.folder / stream.sql).read_text().strip().rstrip(";")
    names = desk.settings.store_names(destination.name)
    options = desk.destination_options(destination).model_dump()
    with desk.warehouse.connection() as connection:
        set_variables(connection, {**options, "channel": "history" if stream.history else "api"})
        connection.execute(
            "create temp table store_names as select unnest(?::varchar[]) as store_id, unnest(?::varchar[]) "
            "as store_name",
            [list(names), list(names.values())],
        )
        connection.execute(f"create temp view selected as select * from core.{stream.selects}")
        rows = connection.execute(
            f"select record_key, coalesce(payload, ''), md5(coalesce(payload, '')), skipped_reason, rejected_reason "
            f"from ({sql})"
        ).fetchall()
    return {key: Shaped(*rest) for key, *rest in rows}
