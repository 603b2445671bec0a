"""What AIQ holds: sales with their lines, personas with their source ids, stock."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engage_pipelines.sandbox.aiq_rules import clean_phone
from engage_pipelines.sandbox.handling import listing
from engage_pipelines.sandbox.holdings import Holdings

_SCHEMA = """
create table if not exists sales (
    pos_id text primary key, pos_user text not null, location text not null, total text not null,
    line_count integer not null, body text not null, visible_at real not null, times_received integer not null,
    times_with_notification integer not null
) without rowid;
create index if not exists sales_by_user on sales (pos_user);
create table if not exists personas (
    contact_id text primary key, email text not null, phone text not null, body text not null,
    inserted real not null, visible_at real not null, times_received integer not null
);
create index if not exists personas_by_email on personas (email);
create index if not exists personas_by_phone on personas (phone);
create table if not exists source_ids (source_id text primary key, contact_id text not null) without rowid;
create index if not exists source_ids_by_contact on source_ids (contact_id);
create table if not exists inventory (
    sku text not null, location text not null, body text not null, times_received integer not null,
    primary key (sku, location)
) without rowid;
"""

_PUT_SALE = """
insert into sales values (?, ?, ?, ?, ?, ?, ?, 1, ?)
on conflict (pos_id) do update set
    pos_user = excluded.pos_user, location = excluded.location, total = excluded.total,
    line_count = excluded.line_count, body = excluded.body, times_received = times_received + 1,
    times_with_notification = times_with_notification + excluded.times_with_notification
"""

_PUT_ITEM = """
insert into inventory values (?, ?, ?, 1)
on conflict (sku, location) do update set body = excluded.body, times_received = times_received + 1
"""

# Fields that a search may name.
_SEARCHED = {
    "email": "email = ?", "mobilePhone": "phone = ?",
    "srcID": "contact_id in (select contact_id from source_ids where source_id = ?)",
}  # fmt: skip


class AiqWorld:
    """AIQ's memory.

    Args:
        directory: folder of the sandbox's state.
        stores: names of the stores; empty: every location that ever sold.
        delay: seconds until queued records can be read through the API.
    """

    def __init__(self, directory: Path, *, stores: Sequence[str], delay: float) -> None:
        self._holdings = Holdings(directory, "aiq", _SCHEMA)
        self._stores = tuple(stores)
        self._delay = delay

    def close(self) -> None:
        """Close the file."""
        self._holdings.close()

    def put_sales(self, pairs: Sequence[tuple[bytes, Any]], now: float) -> None:
        """Store sales, each as (text as sent, value); a known `pos_id` is replaced."""
        with self._holdings.change() as change:
            change.executemany(_PUT_SALE, [self._sale_row(text, value, now) for text, value in pairs])
            for _, value in pairs:
                if person := value.get("member"):
                    self._put_persona(change, {"srcID": value["visit"]["pos_user"], **person}, now, delayed=True)

    def _sale_row(self, text: bytes, value: Any, now: float) -> tuple[Any, ...]:
        visit = value["visit"]
        return (
            visit["pos_id"], visit["pos_user"], visit["location"], str(visit["transaction_total"]),
            len(visit["visit_details_attributes"]), text.decode(), now + self._delay,
            int(visit.get("sendNotification", 0) != 0),
        )  # fmt: skip

    def put_inventory(self, pairs: Sequence[tuple[bytes, Any]]) -> None:
        """Store stock rows, each as (text as sent, value)."""
        rows = [
            (value.get("sku") or value.get("productID"), value.get("location", ""), text.decode())
            for text, value in pairs
        ]
        with self._holdings.change() as change:
            change.executemany(_PUT_ITEM, rows)

    def put_personas(self, people: Sequence[Mapping[str, Any]], now: float, *, delayed: bool) -> list[str]:
        """Create or merge personas; gives their contact ids."""
        with self._holdings.change() as change:
            return [self._put_persona(change, person, now, delayed=delayed) for person in people]

    def _put_persona(self, change: sqlite3.Connection, person: Mapping[str, Any], now: float, *, delayed: bool) -> str:
        source_id = person.get("srcID") or person.get("id")
        phone, email = clean_phone(person.get("mobilePhone")), str(person.get("email", "")).lower()
        contact = self._match(change, source_id, phone, email)
        if contact is None:
            contact = uuid.uuid4().hex[:24]
            visible = now + (self._delay if delayed else 0.0)
            change.execute(
                "insert into personas values (?, ?, ?, '{}', ?, ?, 0)", (contact, email, phone, now, visible)
            )
        # What is not given stays as it is; what is given badly is blank.
        cleaned = {"mobilePhone": phone, "email": email}
        self._merge(change, contact, {**person, **{name: cleaned[name] for name in cleaned if name in person}})
        if source_id:
            change.execute("insert or replace into source_ids values (?, ?)", (source_id, contact))
        return contact

    def _match(self, change: sqlite3.Connection, source_id: str | None, phone: str, email: str) -> str | None:
        ways = (
            ("select contact_id from source_ids where source_id = ?", source_id),
            ("select contact_id from personas where phone = ?", phone),
            ("select contact_id from personas where email = ?", email),
        )
        for query, value in ways:
            if value and (found := change.execute(query, (value,)).fetchone()):
                return str(found[0])
        return None

    def _merge(self, change: sqlite3.Connection, contact: str, person: Mapping[str, Any]) -> None:
        held = change.execute("select body from personas where contact_id = ?", (contact,)).fetchone()[0]
        known = {"mobilePhone": "", "email": "", **msgspec.json.decode(held), **person}
        change.execute(
            "update personas set body = ?, phone = ?, email = ?, times_received = times_received + 1"
            " where contact_id = ?",
            (msgspec.json.encode(known).decode(), known["mobilePhone"], known["email"], contact),
        )

    def contact_of(self, source_id: str) -> str | None:
        """The contact id behind a till's customer id."""
        found = self._holdings.one("select contact_id from source_ids where source_id = ?", (source_id,))
        return str(found[0]) if found else None

    def persona(self, contact: str, now: float) -> dict[str, Any] | None:
        """One persona, if it is visible by now."""
        found = self._holdings.one("select * from personas where contact_id = ? and visible_at <= ?", (contact, now))
        return self._persona(found) if found else None

    def personas(self, search: str, now: float) -> list[dict[str, Any]]:
        """All personas visible by now; `search` is empty, `<field>:<value>` or a value of any of the fields."""
        field, _, value = search.partition(":")
        wanted = [field] if field in _SEARCHED else list(_SEARCHED) if search else []
        where = " or ".join(_SEARCHED[name] for name in wanted) or "true"
        value = value if field in _SEARCHED else search
        values = [value.lower() if name == "email" else value for name in wanted]
        found = self._holdings.rows(
            f"select * from personas where visible_at <= ? and ({where}) order by inserted, contact_id",
            (now, *values),
        )
        return [self._persona(row) for row in found]

    def _persona(self, row: sqlite3.Row) -> dict[str, Any]:
        sources = self._holdings.rows(
            "select source_id from source_ids where contact_id = ? order by 1", (row["contact_id"],)
        )
        known = msgspec.json.decode(row["body"])
        return {
            **known, "contactID": row["contact_id"], "srcID": sources[0][0] if sources else row["contact_id"],
            "inserted": int(row["inserted"]),
        }  # fmt: skip

    def orders_of(self, contact: str, now: float) -> list[bytes]:
        """The sales of a persona that are visible by now, as they were sent."""
        found = self._holdings.rows(
            "select body from sales join source_ids on source_id = pos_user"
            " where contact_id = ? and visible_at <= ? order by pos_id",
            (contact, now),
        )
        return [row[0].encode() for row in found]

    def stores(self) -> list[dict[str, Any]]:
        """The stores of the account with the name each has at the till."""
        names = self._stores or [
            row[0] for row in self._holdings.rows("select distinct location from sales order by 1")
        ]
        return [
            {"id": number, "name": name, "nickname": name, "sourceMapping": {"pos": name}}
            for number, name in enumerate(names, 1)
        ]

    def report(self) -> dict[str, Any]:
        """Counts, and the exact sum of `transaction_total`."""
        number = self._holdings.number
        received = number("select sum(times_received) from sales")
        sales = number("select count(*) from sales")
        return {
            "sales": sales,
            "lines": number("select sum(line_count) from sales"),
            "transaction_total": f"{self._holdings.exact_sum('select total from sales'):f}",
            "sales_received": received,
            "duplicate_sales_received": received - sales,
            "sales_received_with_notification": number("select sum(times_with_notification) from sales"),
            "anonymous_sales": number(
                "select count(*) from sales where pos_user not in (select source_id from source_ids)"
            ),
            "personas": number("select count(*) from personas"),
            "personas_received": number("select sum(times_received) from personas"),
            "inventory_rows": number("select count(*) from inventory"),
            "inventory_rows_received": number("select sum(times_received) from inventory"),
        }

    def records(self, kind: str, offset: int, limit: int) -> dict[str, Any] | None:
        """One page of `sales`, `personas` or `inventory`."""
        queries = {
            "sales": "select pos_id as key, body, times_received from sales order by pos_id",
            "personas": "select contact_id as key, body, times_received from personas order by contact_id",
            "inventory": "select sku || '@' || location as key, body, times_received from inventory"
                         " order by sku, location",
        }  # fmt: skip
        if kind not in queries:
            return None
        total = self._holdings.number(f"select count(*) from {kind}")
        page = self._holdings.rows(f"{queries[kind]} limit ? offset ?", (limit, offset))
        return listing(kind, total, [
            {"key": row["key"], "times_received": row["times_received"], "body": msgspec.Raw(row["body"].encode())}
            for row in page
        ])  # fmt: skip
