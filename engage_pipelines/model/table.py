"""How a table is declared, and what is derived from the declaration: DDL, comments, Arrow, Markdown.

A column suffix means one thing everywhere: `_id`, `_code`, `_at` (UTC timestamp), `_on` (date),
`_amount` (money in the row's `currency`), `_count`, `is_`/`has_`, `_digest` (a number by which loads find rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Type = Literal["text", "integer", "money", "quantity", "share", "timestamp", "date", "boolean", "json"]

_DUCKDB: dict[Type, str] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "money": "DECIMAL(18, 4)",
    "quantity": "DECIMAL(18, 5)",
    "share": "DECIMAL(9, 4)",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
    "boolean": "BOOLEAN",
    "json": "JSON",
}
_ARROW: dict[Type, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "money": pa.decimal128(18, 4),
    "quantity": pa.decimal128(18, 5),
    "share": pa.decimal128(9, 4),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "json": pa.string(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, type, description; `required` columns are never null.

    `personal` columns identify a person: they are kept in the private database file and never published.
    A column that is the digest of another one is filled by the load, from that.
    """

    name: str
    type: Type
    description: str
    required: bool = False
    personal: bool = False
    digest_of: str | None = None

    @property
    def duckdb_type(self) -> str:
        """The column's type in DuckDB."""
        return _DUCKDB[self.type]


@dataclass(frozen=True, slots=True)
class Table:
    """One table: schema, name, grain, key and columns.

    Attributes:
        schema: `core`, `ops` or `mart`.
        name: plural noun, the same in Python, SQL, the UI and the docs.
        description: what one row is.
        key: columns that identify a row.
        columns: all columns, in order.
        parent: column by which a load replaces rows (all rows of a parent at once); default the key.
    """

    schema: str
    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    parent: str | None = None

    @property
    def full_name(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def public_column_names(self) -> tuple[str, ...]:
        """The names of the columns that may be published, in order."""
        return tuple(column.name for column in self.columns if not column.personal)

    @property
    def is_personal(self) -> bool:
        """True if any column identifies a person: the whole rows are kept in the private file too."""
        return any(column.personal for column in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the columns that a record has to give: never null, and not made of another one."""
        return tuple(column.name for column in self.columns if column.required and not column.digest_of)

    def digest_of(self, name: str) -> str | None:
        """The name of the column that is the digest of another one, if there is one."""
        return next((column.name for column in self.columns if column.digest_of == name), None)

    def ddl(self, database: str = "", *, with_personal: bool = True) -> str:
        """`create table if not exists`; no primary key: loads replace by key, a check proves uniqueness."""
        columns = ",\n".join(
            f'    "{c.name}" {c.duckdb_type}{" not null" if c.required else ""}'
            for c in self.columns
            if with_personal or not c.personal
        )
        return f"create table if not exists {_in(database)}{self.full_name} (\n{columns}\n)"

    def comments(self, database: str = "", *, with_personal: bool = True) -> list[str]:
        """The statements that put the descriptions into DuckDB."""
        name = f"{_in(database)}{self.full_name}"
        return [
            f"comment on table {name} is {_quoted(self.description)}",
            *(
                f'comment on column {name}."{c.name}" is {_quoted(c.description)}'
                for c in self.columns
                if with_personal or not c.personal
            ),
        ]

    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the table, descriptions included."""
        return pa.schema(
            [
                pa.field(c.name, _ARROW[c.type], nullable=not c.required, metadata={"description": c.description})
                for c in self.columns
            ]
        )

    def markdown(self) -> str:
        """The table's section of `docs/tables.md`."""
        rows = "\n".join(
            f"| `{c.name}` | {c.duckdb_type} | {'yes' if c.required else ''} "
            f"| {c.description}{' *Personal: not published.*' if c.personal else ''} |"
            for c in self.columns
        )
        return (
            f"## {self.full_name}\n\n{self.description}\n\nKey: {', '.join(f'`{k}`' for k in self.key)}\n\n"
            f"| column | type | always set | meaning |\n|---|---|---|---|\n{rows}\n"
        )


def digest(text: str) -> str:
    """SQL: a number of 40 bits for a text, the same in every release.

    To find a key among millions, numbers are read six times as fast as texts. Others may have the same one: whoever
    finds a row by its digest looks at the key as well.
    """
    return f"cast(md5_number({text}) & {2**40 - 1}::uhugeint as bigint)"


def _in(database: str) -> str:
    return f"{database}." if database else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
