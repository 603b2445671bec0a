"""An installation that has run for two years, filled in SQL, and the orders that its next night finds at the till.

Receipts are copies of a few thousand that the product itself has loaded, so each row is shaped as the product shapes
it; ids are spread as those of a real till are, moments follow the receipt's number. The last nights before the one
that is measured are the product's own, with their spools, loads and bookmark.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from benchmarks.orders import LOCATIONS
from engage_pipelines.connector import Window
from engage_pipelines.ingest.spool import Manifest, Spool
from engage_pipelines.model import digest
from engage_pipelines.warehouse import Warehouse
from engage_pipelines.warehouse.database import Connection, quoted

# The night that is measured is the one after this day.
DAY = datetime(2026, 8, 31, tzinfo=UTC)
# Orders that all others are copies of; as many of each kind in every thousand of them.
TEMPLATES = 8_000
# Days that a night reads again, as the product does unless told otherwise.
REREAD_DAYS = 4
_HISTORY_DAYS = 730
_CATALOGUE = 50_000
_AT_ONCE = 64 * TEMPLATES
_DAY_MILLISECONDS = 86_400_000
# A multiplier without a factor in common with the modulus: every number has an id of its own, far from its neighbour's.
_SPREAD, _IDS = 387_420_489, 10**12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Increment:
    """What the till has for one night: new orders, and older ones that were edited."""

    new: int
    edited: int


@dataclass(frozen=True, slots=True)
class History:
    """How many receipts a day there were; all else follows from it."""

    orders_a_day: int

    @property
    def count(self) -> int:
        """Receipts before the day that is measured."""
        return self.orders_a_day * _HISTORY_DAYS

    @property
    def filled(self) -> int:
        """Those that are filled in SQL; the product's own nights bring the others."""
        return self.orders_a_day * (_HISTORY_DAYS - REREAD_DAYS)

    @property
    def first_served(self) -> int:
        """The first one that a night still asks the till for."""
        return self.filled - REREAD_DAYS * self.orders_a_day

    @property
    def start(self) -> datetime:
        """First day."""
        return DAY - timedelta(days=_HISTORY_DAYS)

    def moment(self, number: int) -> int:
        """When a receipt was made, in milliseconds since 1970."""
        day, place = divmod(number, self.orders_a_day)
        return _milliseconds(self.start) + day * _DAY_MILLISECONDS + place * (_DAY_MILLISECONDS // self.orders_a_day)

    def edited(self, increment: Increment) -> list[int]:
        """The receipts that an increment edits: spread over the whole history, the worst case."""
        return [position * self.filled // increment.edited for position in range(increment.edited)]


def order_id(number: int) -> str:
    """The till's id of an order."""
    return f"bench{number * _SPREAD % _IDS:012d}Zq"


# --- what the till serves ------------------------------------------------------------------------------------------


def serve(folder: Path, templates: Path, history: History, increment: Increment) -> Path:
    """Write what the till has from the first served day to the end of the measured one, as `stand_in` reads it."""
    folder.mkdir(parents=True)
    starts, entry_starts, changed = array("Q"), array("Q"), array("q")
    at = entry_at = 0
    with (folder / "orders.bin").open("wb") as orders, (folder / "entries.bin").open("wb") as entries:
        for moment, body, entry in _served(read_texts(templates), history, increment):
            starts.append(at)
            entry_starts.append(entry_at)
            changed.append(moment)
            at, entry_at = at + orders.write(body), entry_at + entries.write(entry)
    starts.append(at)
    entry_starts.append(entry_at)
    with (folder / "places.bin").open("wb") as places:
        for column in (starts, entry_starts, changed):
            column.tofile(places)
    (folder / "truth.json").write_text(json.dumps({"orders": {"count": len(changed)}}))
    return folder


def read_texts(templates: Path) -> list[tuple[bytes, bytes, bytes]]:
    """Each order of a folder that `make_orders` made, a comma behind it, with its id and its moment."""
    count = json.loads((templates / "truth.json").read_text())["orders"]["count"]
    starts = array("Q")
    with (templates / "places.bin").open("rb") as places:
        starts.fromfile(places, count + 1)
    whole = (templates / "orders.bin").read_bytes()
    texts = [whole[starts[i] : starts[i + 1]] for i in range(count)]
    return [(text, text[7:26], text.partition(b'"updated_at":"')[2][:24]) for text in texts]


def _served(
    texts: list[tuple[bytes, bytes, bytes]], history: History, increment: Increment
) -> Iterator[tuple[int, bytes, bytes]]:
    for number in range(history.first_served, history.count):
        moment = history.moment(number)
        yield moment, _order(texts, number, moment), _entry(number, 3)
    day = _milliseconds(DAY)
    changes = [
        *((day + i * (_DAY_MILLISECONDS // increment.new), history.count + i, 3) for i in range(increment.new)),
        *((day + i * (_DAY_MILLISECONDS // increment.edited), number, 4)
          for i, number in enumerate(history.edited(increment))),
    ]  # fmt: skip
    for moment, number, version in sorted(changes):
        text = _order(texts, number, moment if version == 3 else history.moment(number))
        yield moment, text if version == 3 else _edit(text, moment), _entry(number, version)


def _order(texts: list[tuple[bytes, bytes, bytes]], number: int, moment: int) -> bytes:
    text, known_id, known_moment = texts[number % TEMPLATES]
    return text.replace(known_id, order_id(number).encode()).replace(known_moment, _text(moment))


def _edit(text: bytes, moment: int) -> bytes:
    before, mark, rest = text.partition(b'"updated_at":"')
    return before + mark + _text(moment) + rest[24:].replace(b'"version":3', b'"version":4')


def _entry(number: int, version: int) -> bytes:
    place = LOCATIONS[number % len(LOCATIONS)]
    return f'{{"order_id":"{order_id(number)}","version":{version},"location_id":"{place}"}},'.encode()


def _text(milliseconds: int) -> bytes:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


# --- what the warehouse has ----------------------------------------------------------------------------------------


def fill(folder: Path, template: Path, history: History, *, only: Iterable[int] | None = None) -> None:
    """Fill the warehouse of an installation: with the whole history, or with some of its receipts only.

    Args:
        folder: the installation.
        template: a warehouse file that holds the templates as the product loaded them.
        history: what there was.
        only: numbers of the receipts that are filled; the others were never there.
    """
    with Warehouse(folder / "data" / "warehouse", memory_limit="3GB").connection() as connection:
        connection.execute(f"attach {quoted(template)} as template (read_only)")
        connection.execute(_NIGHTS, [LOCATIONS, history.start])
        connection.execute("create temp table wanted as select unnest(?::bigint[]) as n", [list(only or ())])
        for start in range(0, history.filled, _AT_ONCE):
            _fill_some(connection, history, start, is_all=only is None)
        _fill_catalogue(connection)
        if only is None:
            _fill_loads(connection)
    if only is None:
        _write_manifests(folder, history)


_DIGEST = digest("'square:' || c.id") + " as transaction_digest"
_NIGHTS = f"""
create temp table nights as
select unnest($1::varchar[]) as location_id, start as night,
    'square:orders:' || strftime(start - interval {REREAD_DAYS} day, '%Y%m%dT%H%M%SZ') || '_'
        || strftime(start + interval 1 day, '%Y%m%dT%H%M%SZ') || '_' || sha256(array_to_string($1, ','))[:8] as load_id
from (select $2::timestamptz + to_days(i::integer) as start from range({_HISTORY_DAYS - REREAD_DAYS}) as t(i))
"""


def _fill_some(connection: Connection, history: History, start: int, *, is_all: bool) -> None:
    end = min(start + _AT_ONCE, history.filled)
    day, step = history.orders_a_day, _DAY_MILLISECONDS // history.orders_a_day
    connection.execute(
        f"""
        create or replace temp table copies as
        select n, 'bench' || lpad((n::hugeint * {_SPREAD} % {_IDS})::varchar, 12, '0') || 'Zq' as id,
            'bench' || lpad((n % {TEMPLATES})::varchar, 12, '0') || 'Zq' as known_id,
            timestamptz '{history.start.isoformat()}' + to_days((n // {day})::integer)
                + to_milliseconds(n % {day} * {step}) as moment, l.load_id
        from range({start}, {end}) as t(n)
        join (select distinct night, load_id from nights) as l
            on l.night = timestamptz '{history.start.isoformat()}' + to_days((n // {day})::integer)
        {"" if is_all else "where n in (from wanted)"}
        """
    )
    _fill_receipts(connection)
    connection.execute(
        """
        insert into warehouse.ops.versions by name
        select 'square:' || c.id as transaction_id, c.moment as modified_at, t.version, t.status, t.total_amount,
            c.load_id, c.moment + interval 1 day as loaded_at
        from copies as c join template.core.transactions as t on t.source_transaction_id = c.known_id order by n
        """
    )


def _fill_receipts(connection: Connection) -> None:
    connection.execute(
        f"""
        insert into warehouse.core.transactions by name
        select t.* replace ('square:' || c.id as transaction_id, {_DIGEST}, c.id as source_transaction_id,
            c.moment as opened_at, c.moment as closed_at, c.moment as modified_at,
            cast(c.moment as date) as business_on, c.load_id as load_id)
        from copies as c join template.core.transactions as t on t.source_transaction_id = c.known_id order by n
        """
    )
    connection.execute(
        f"""
        insert into warehouse.core.transaction_lines by name
        select l.* replace (replace(l.line_id, c.known_id, c.id) as line_id, 'square:' || c.id as transaction_id,
            {_DIGEST}, replace(l.source_line_id, c.known_id, c.id) as source_line_id, c.load_id as load_id)
        from copies as c join template.core.transaction_lines as l on l.transaction_id = 'square:' || c.known_id
        order by n, line_number
        """
    )
    connection.execute(
        f"""
        insert into warehouse.core.transaction_tenders by name
        select d.* replace (replace(d.tender_id, c.known_id, c.id) as tender_id, 'square:' || c.id as transaction_id,
            {_DIGEST}, replace(d.source_tender_id, c.known_id, c.id) as source_tender_id, c.moment as paid_at,
            c.load_id as load_id)
        from copies as c join template.core.transaction_tenders as d on d.transaction_id = 'square:' || c.known_id
        order by n
        """
    )


def _fill_catalogue(connection: Connection) -> None:
    connection.execute(
        f"""
        insert into warehouse.core.products by name
        select 'square:VARIATION' || lpad(i::varchar, 4, '0') || 'BENCH' as product_id, 'square' as source,
            'VARIATION' || lpad(i::varchar, 4, '0') || 'BENCH' as source_product_id, 'SKU-' || i as sku,
            'Article ' || i || ' in a colour and a size' as name, 'category ' || i % 500 as category,
            (i % 9000 + 99)::decimal(18, 4) / 100 as price_amount, 'GBP' as currency, true as is_active,
            timestamptz '2024-01-01 00:00:00+00' as modified_at, 'square:catalog' as load_id
        from range({_CATALOGUE}) as t(i)
        """
    )


def _fill_loads(connection: Connection) -> None:
    """A load each night, and what its proof of completeness found at each shop."""
    connection.execute(
        f"""
        insert into warehouse.ops.loads by name
        select load_id, 'square' as source, 'orders' as entity, string_agg(location_id, ',' order by location_id)
            as location_ids, night - interval {REREAD_DAYS} day as window_start_at, night + interval 1 day
            as window_end_at, substr(load_id, 8) as spool_path, 9 as page_count, 4000 as record_count,
            1000 as changed_count, 0 as quarantined_count, 0 as unknown_field_count,
            night + interval 26 hour as pulled_at, night + interval 26 hour as loaded_at
        from nights group by load_id, night order by night
        """
    )
    connection.execute(
        f"""
        insert into warehouse.ops.completeness by name
        select load_id, 'square' as source, 'orders' as entity, location_id,
            night - interval {REREAD_DAYS} day as window_start_at, night + interval 1 day as window_end_at,
            500 as expected_count, 500 as landed_count, 0 as missing_count, 0 as moved_count, true as is_complete,
            night + interval 26 hour as checked_at
        from nights order by night, location_id
        """
    )


def _write_manifests(folder: Path, history: History) -> None:
    """The lake of two years, without the records: a load looks at every manifest, at no record of nights long past."""
    spool = Spool(folder / "data" / "lake", "square", "orders")
    # Not of the nights that the product's own nights still reach back to: those have no records to be read.
    for day in range(_HISTORY_DAYS - 2 * REREAD_DAYS):
        night = history.start + timedelta(days=day)
        window = Window(night - timedelta(days=REREAD_DAYS), night + timedelta(days=1))
        manifest = Manifest(
            source="square", entity="orders", window_start=window.start, window_end=window.end, location_ids=LOCATIONS,
            pages=9, records=4000, bytes=9_000_000, proofs=4000, pulled_at=night + timedelta(hours=26),
        )  # fmt: skip
        home = spool.folder / spool.window_name(window, LOCATIONS)
        home.mkdir(parents=True)
        (home / "manifest.json").write_bytes(msgspec.json.encode(manifest))
