"""What is derived from a table's declaration."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from engage_pipelines.model import TABLES, Column, Table

PEOPLE = Table(
    "core", "people", "One row per person; it's theirs.", ("person_id",),
    (
        Column("person_id", "text", "Key.", required=True), Column("name", "text", "Their 'name'.", personal=True),
        Column("visit_count", "integer", "Visits."), Column("spent_amount", "money", "Money."),
        Column("weight", "quantity", "Weight."), Column("part", "share", "Share."),
        Column("born_on", "date", "Born."), Column("seen_at", "timestamp", "Seen."),
        Column("is_here", "boolean", "Here."), Column("extra", "json", "More."),
    ),
)  # fmt: skip


def test_the_statement_makes_exactly_the_declared_columns() -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema core")
        connection.execute(PEOPLE.ddl())
        made = connection.execute("describe core.people").fetchall()
    assert [(row[0], row[1], row[2]) for row in made] == [
        ("person_id", "VARCHAR", "NO"), ("name", "VARCHAR", "YES"), ("visit_count", "BIGINT", "YES"),
        ("spent_amount", "DECIMAL(18,4)", "YES"), ("weight", "DECIMAL(18,5)", "YES"), ("part", "DECIMAL(9,4)", "YES"),
        ("born_on", "DATE", "YES"), ("seen_at", "TIMESTAMP WITH TIME ZONE", "YES"), ("is_here", "BOOLEAN", "YES"),
        ("extra", "JSON", "YES"),
    ]  # fmt: skip


def test_the_published_form_has_no_personal_column() -> None:
    assert PEOPLE.is_personal
    assert PEOPLE.public_column_names == tuple(n for n in PEOPLE.column_names if n != "name")
    assert '"name"' not in PEOPLE.ddl(with_personal=False)
    assert "'name'" not in " ".join(PEOPLE.comments(with_personal=False))


def test_descriptions_are_kept_as_comments_quotes_and_all() -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema core")
        connection.execute(PEOPLE.ddl())
        for statement in PEOPLE.comments():
            connection.execute(statement)
        (table,) = connection.execute("select comment from duckdb_tables()").fetchall()
        columns = connection.execute(
            "select column_name, comment from duckdb_columns() where schema_name = 'core'"
        ).fetchall()
    assert table == ("One row per person; it's theirs.",)
    assert dict(columns)["name"] == "Their 'name'."
    assert all(comment for _, comment in columns)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_rows_read_from_a_table_have_its_arrow_types(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"create schema {table.schema}")
        connection.execute(table.ddl())
        found = connection.sql(f"from {table.full_name}").to_arrow_table().schema
    declared = table.arrow_schema()
    assert found.names == declared.names
    json = pa.json_(pa.string())
    assert [pa.string() if f.type == json else f.type for f in found] == [f.type for f in declared]


def test_the_arrow_schema_carries_descriptions_and_what_may_be_null() -> None:
    field = PEOPLE.arrow_schema().field("person_id")
    assert (field.nullable, field.metadata) == (False, {b"description": b"Key."})
    assert PEOPLE.arrow_schema().field("name").nullable


def test_the_page_marks_keys_required_and_personal_columns() -> None:
    text = PEOPLE.markdown()
    assert "Key: `person_id`" in text
    assert "| `person_id` | VARCHAR | yes | Key. |" in text
    assert "| `name` | VARCHAR |  | Their 'name'. *Personal: not published.* |" in text
