"""A record's JSON structure, and the SQL that reads records by it: fast and typed, or one by one.

The structure is DuckDB's `json_transform` notation: a leaf is a type name, an object a struct, a list of
one element a list.
"""

from __future__ import annotations

from typing import Any


def column_types(structure: dict[str, Any]) -> str:
    """The `columns` argument of `read_json` for a structure."""
    return "{" + ", ".join(f"'{name}': '{_type(value)}'" for name, value in structure.items()) + "}"


def struct_type(structure: dict[str, Any]) -> str:
    """The STRUCT type of a structure."""
    return _type(structure)


def as_text(structure: Any) -> Any:
    """The same structure with every leaf as VARCHAR: what was there before typing."""
    if isinstance(structure, dict):
        return {name: as_text(value) for name, value in structure.items()}
    if isinstance(structure, list):
        return [as_text(structure[0])]
    return "VARCHAR"


def leaf_count(structure: Any, value: str, depth: int = 0) -> str:
    """SQL that counts the values present in `value`; typed and untyped must agree, else something was lost."""
    if isinstance(structure, dict):
        parts = [leaf_count(child, f'{value}."{name}"', depth) for name, child in structure.items()]
        return "(" + " + ".join(parts or ["0"]) + ")"
    if isinstance(structure, list):
        item = f"x{depth}"
        inner = leaf_count(structure[0], item, depth + 1)
        return f"coalesce(list_sum(list_transform({value}, lambda {item}: {inner})), 0)"
    return f"cast({value} is not null as integer)"


def wrong_shape(structure: Any, json: str, depth: int = 0) -> str:
    """SQL that is true when an object or list of the structure is something else in the JSON, at any depth."""
    if not isinstance(structure, dict | list):
        return "false"
    conditions = [f"coalesce(json_type({json}) not in ('{_json_type(structure)}', 'NULL'), false)"]
    if isinstance(structure, dict):
        children = [
            wrong_shape(child, f"json_extract({json}, '$.\"{name}\"')", depth) for name, child in structure.items()
        ]
        conditions += [child for child in children if child != "false"]
    elif (inner := wrong_shape(structure[0], f"y{depth}", depth + 1)) != "false":
        conditions.append(
            f"list_contains(list_transform(json_extract({json}, '$[*]'), lambda y{depth}: {inner}), true)"
        )
    return "(" + " or ".join(conditions) + ")"


def _json_type(structure: Any) -> str:
    return "OBJECT" if isinstance(structure, dict) else "ARRAY"


def _type(structure: Any) -> str:
    if isinstance(structure, dict):
        fields = ", ".join(f'"{name}" {_type(value)}' for name, value in structure.items())
        return f"STRUCT({fields})"
    if isinstance(structure, list):
        return f"{_type(structure[0])}[]"
    return str(structure)
