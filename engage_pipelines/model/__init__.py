"""What the business talks about: every table declared once, and money. No input or output here."""

from engage_pipelines.model.core import CORE_TABLES
from engage_pipelines.model.ops import OPS_TABLES
from engage_pipelines.model.table import Column, Table

TABLES: tuple[Table, ...] = (*CORE_TABLES, *OPS_TABLES)
TABLE_BY_NAME: dict[str, Table] = {table.full_name: table for table in TABLES}

__all__ = ["CORE_TABLES", "OPS_TABLES", "TABLES", "TABLE_BY_NAME", "Column", "Table"]
