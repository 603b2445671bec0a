"""The inbound half of a night: what depends on the number of stores, pulled and loaded twice.

python -m benchmarks.stores_ours <first day> <last day>

The installation is the one that ENGAGE_CONFIG names. Tells the seconds of the second night, which finds everything
as it was, those of the first, and what is there then.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date

from engage_pipelines.operations import Desk
from engage_pipelines.settings import load_settings

_ENTITIES = ("locations", "orders", "payments", "refunds")
_HELD = (
    "select (select count(*) from core.transactions), (select count(*) from core.payments), "
    "(select count(distinct store_id) from core.transactions), "
    "(select sum(total_amount)::varchar from core.transactions)"
)


def night(desk: Desk, days: tuple[date, date]) -> dict[str, float]:
    """Pull and load, kind after kind; seconds in all and of the loads, windows and calls."""
    source = desk.source("square")
    told = dict.fromkeys(("seconds", "load", "windows", "calls"), 0.0)
    began = time.monotonic()
    for name in _ENTITIES:
        entity = desk.entity(source, name)
        pulled = desk.pull(source, entity, days, reread=True)
        at_load = time.monotonic()
        desk.load(source, entity, days, reread=entity.windowed)
        told["load"] += time.monotonic() - at_load
        told["windows"] += pulled.windows
        told["calls"] += pulled.calls
    return told | {"seconds": time.monotonic() - began}


def main() -> None:
    """Run two nights and tell."""
    days = (date.fromisoformat(sys.argv[1]), date.fromisoformat(sys.argv[2]))
    desk = Desk(load_settings())
    first, second = night(desk, days), night(desk, days)
    with desk.warehouse.connection() as connection:
        held = connection.execute(_HELD).fetchall()[0]
    names = ("receipts", "payments", "stores", "amount")
    sys.stdout.write(json.dumps({**second, "first": first, "held": dict(zip(names, held, strict=True))}) + "\n")


if __name__ == "__main__":
    main()
