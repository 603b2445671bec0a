"""What the business talks about: every table declared once, and money. No input or output here."""

from engage_pipelines.model.core import CORE_TABLES
from engage_pipelines.model.ops import OPS_TABLES
from engage_pipelines.model.table import Column, Table, digest

TABLES: tuple[Table, ...] = (*CORE_TABLES, *OPS_TABLES)
TABLE_BY_NAME: dict[str, Table] = {table.full_name: table for table in TABLES}

__all__ = ["CORE_TABLES", "OPS_TABLES", "TABLES", "TABLE_BY_NAME", "Column", "Table", "digest", "tables_page"]


def tables_page() -> str:
    """The page `docs/tables.md`: every table and column."""
    intro = (
        "# Tables\n\nMade by `engage tables --markdown`; a test fails when this page is not up to date.\n"
        "Column suffixes mean one thing: `_id` key, `_code`, `_at` UTC timestamp, `_on` date, `_amount` money in the\n"
        "row's `currency`, `_count`, `is_`/`has_`, `_digest` number by which loads find rows.\n\n"
    )
    return intro + "\n".join(table.markdown() for table in TABLES)
