"""A warehouse of a wanted size, and editions of it that differ so that a torn copy would show.

Each edition gives the last 20,000 receipts an amount of their own and writes its number into the stores' names: whoever
reads the two and finds that they do not belong together has read a torn file.
"""

from __future__ import annotations

from pathlib import Path

from engage_pipelines.model import digest
from engage_pipelines.operations import Desk
from engage_pipelines.settings import parse_settings

_AT_ONCE = 250_000
_BYTES_OF_A_RECEIPT = 200
_OF_A_DAY = 20_000
_STORES = 12
# What readers ask: the edition, and the sum of the amounts that belongs to it.
QUESTION = (
    "select min(name), max(name), (select sum(total_amount) from core.transactions) "
    "from core.stores where source = 'square'"
)


def desk_of(folder: Path) -> Desk:
    """An installation without tills and platforms: it only publishes."""
    folder.mkdir(parents=True, exist_ok=True)
    return Desk(parse_settings({}, folder / "engage.toml"))


def fill(desk: Desk, size: int) -> int:
    """Fill the warehouse with receipts and lines until its file has that many bytes; gives the receipts."""
    receipts, step = 0, min(_AT_ONCE, size // (4 * _BYTES_OF_A_RECEIPT))
    _write(desk, _STORES_SQL)
    while desk.warehouse.path.stat().st_size < size:
        first, receipts = receipts, receipts + step
        of_these = {"first": first, "end": receipts, "digest": digest("'square:' || md5(i::varchar)")}
        _write(desk, _RECEIPTS_SQL.format(**of_these), _LINES_SQL.format(**of_these))
    return receipts


def new_edition(desk: Desk, number: int) -> None:
    """Change the receipts of the last day and say so in the stores' names; one transaction."""
    with desk.warehouse.transaction() as connection:
        connection.execute(f"update warehouse.core.stores set name = '{number}'")
        connection.execute(
            f"update warehouse.core.transactions set total_amount = {number} where transaction_id in (select "
            f"transaction_id from warehouse.core.transactions order by rowid desc limit {_OF_A_DAY})"
        )


def is_whole(receipts: int, first_name: str, last_name: str, amount: object) -> bool:
    """True if the answer to the question is that of one edition."""
    if first_name != last_name:
        return False
    of_a_day = min(_OF_A_DAY, receipts)
    return int(str(amount).partition(".")[0]) == 10 * (receipts - of_a_day) + int(first_name) * of_a_day


def _write(desk: Desk, *statements: str) -> None:
    with desk.warehouse.transaction() as connection:
        for statement in statements:
            connection.execute(statement)


_STORES_SQL = f"""
insert into warehouse.core.stores (store_id, source, source_store_id, name, time_zone, currency, is_active,
    modified_at, load_id)
select 'square:L' || i, 'square', 'L' || i, '10', 'Europe/London', 'GBP', true, timestamptz '2026-01-01 00:00:00+00',
    'bench'
from range({_STORES}) as t(i)
"""
# Ten for every receipt: the first edition is number 10.
_RECEIPTS_SQL = """
insert into warehouse.core.transactions (transaction_id, source, source_transaction_id, store_id, customer_id,
    transaction_type, status, is_countable, is_test, opened_at, closed_at, utc_offset_minutes, business_on, currency,
    gross_amount, discount_amount, tax_amount, tip_amount, service_charge_amount, rounding_amount, total_amount,
    line_count, version, modified_at, load_id, transaction_digest)
select 'square:' || md5(i::varchar), 'square', md5(i::varchar), 'square:L' || i % 12, 'square:C' || hash(i) % 100000,
    'sale', 'completed', true, false, opened_at, opened_at + interval 5 minute, 0, opened_at::date, 'GBP', 10, 0,
    (hash(i) % 200) / 100, 0, 0, 0, 10, 3, 1, opened_at, 'bench', {digest}
from (
    select i, timestamptz '2024-10-01 08:00:00+00' + to_seconds(i * 4) as opened_at
    from range({first}, {end}) as t(i)
)
"""
_LINES_SQL = """
insert into warehouse.core.transaction_lines (line_id, transaction_id, source, source_line_id, line_number, line_type,
    is_return, product_id, sku, name, quantity, currency, unit_price_amount, gross_amount, discount_amount, tax_amount,
    service_charge_amount, total_amount, load_id, transaction_digest)
select 'square:' || md5(i::varchar) || ':' || k, 'square:' || md5(i::varchar), 'square', md5((i * 3 + k)::varchar),
    k + 1, 'item', false, 'square:P' || hash(i, k) % 5000, 'SKU' || hash(i, k) % 5000,
    'Item ' || hash(i, k) % 5000, 1, 'GBP', (hash(i, k) % 5000) / 100, (hash(i, k) % 5000) / 100, 0,
    (hash(i, k) % 500) / 100, 0, (hash(i, k) % 5000) / 100, 'bench', {digest}
from range({first}, {end}) as t(i), range(3) as u(k)
"""
