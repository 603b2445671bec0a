"""What is loaded together, and what has to be there before, as the SQL says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engage_pipelines.connector import Source
from engage_pipelines.destinations import DESTINATIONS
from engage_pipelines.orchestration.lineage import filled_together, read_by_delivery, read_by_loads, tables_of
from engage_pipelines.sources import SOURCES

(SQUARE,) = (source for source in SOURCES if source.name == "square")


def _till(folder: Path, **mappings: dict[str, str]) -> Source:
    """A till with these entities; each table's SQL is given as text."""
    folder.mkdir()
    for tables in mappings.values():
        for table, sql in tables.items():
            (folder / f"{table}.sql").write_text(sql)
    entities = tuple(
        replace(SQUARE.entities[0], name=name, tables={table: f"{table}.sql" for table in tables}, windowed=True)
        for name, tables in mappings.items()
    )
    return replace(SQUARE, name=folder.name, folder=folder, entities=entities)


def _groups(*tills: Source) -> list[list[str]]:
    pairs = [(till, entity) for till in tills for entity in till.entities]
    return [[f"{source.name}/{entity.name}" for source, entity in group] for group in filled_together(pairs)]


def test_entities_that_share_a_table_are_loaded_together_in_their_order(tmp_path: Path) -> None:
    first = _till(tmp_path / "acme", orders={"transactions": "", "transaction_lines": ""}, people={"customers": ""})
    second = _till(tmp_path / "zeta", returns={"transaction_lines": ""}, stock={"inventory_levels": ""})
    assert _groups(first) == [["acme/orders"], ["acme/people"]]
    assert _groups(first, second) == [["acme/people"], ["acme/orders", "zeta/returns"], ["zeta/stock"]]
    assert _groups() == []


def test_an_entity_can_join_groups_that_were_apart(tmp_path: Path) -> None:
    till = _till(tmp_path / "acme", a={"payments": ""}, b={"customers": ""}, c={"payments": "", "customers": ""})
    assert _groups(till) == [["acme/a", "acme/b", "acme/c"]]


def test_a_load_waits_for_what_its_mappings_read_and_others_fill(tmp_path: Path) -> None:
    sql = "-- as in core.customers\nselect * from core.payments join core.transactions using (transaction_id)"
    till = _till(tmp_path / "acme", orders={"transactions": sql, "transaction_lines": "from core.products"})
    pairs = [(till, till.entities[0])]
    assert tables_of(pairs) == ["transactions", "transaction_lines"]
    # Stores make the business day of whatever comes by day. What is named in a remark is not read.
    assert read_by_loads(pairs) == ["payments", "products", "stores"]
    still = replace(till.entities[0], windowed=False)
    assert read_by_loads([(till, still)]) == ["payments", "products"]


def test_a_delivery_waits_for_every_table_of_all_its_files() -> None:
    (voyado,) = (destination for destination in DESTINATIONS if destination.name == "voyado")
    (receipts,) = (stream for stream in voyado.streams if stream.name == "receipts")
    wanted = {"transactions", "transaction_lines", "transaction_tenders", "stores", "customers", "products"}
    assert set(read_by_delivery(voyado, receipts)) == wanted
    for destination in DESTINATIONS:
        for stream in destination.streams:
            assert stream.selects in read_by_delivery(destination, stream)
