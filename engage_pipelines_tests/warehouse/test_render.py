"""Payloads as the lines of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from engage_pipelines.warehouse import Renderer

SQL = """
select payload ->> 'name' as name, unnest(cast(payload -> 'amounts' as decimal(18, 2)[])) as amount,
    payload ->> 'note' as note
from payloads
order by record_key;
"""


@pytest.fixture
def renderer(tmp_path: Path) -> Iterator[Renderer]:
    (tmp_path / "rows.sql").write_text(SQL)
    renderer = Renderer(tmp_path / "rows.sql")
    yield renderer
    renderer.close()


def payloads(*texts: str) -> pa.Table:
    return pa.table({"record_key": [f"k{n}" for n in range(len(texts))], "payload": list(texts)})


def test_lines_have_semicolons_a_header_no_quotes_and_nothing_for_null(renderer: Renderer, tmp_path: Path) -> None:
    file = tmp_path / "o'brien.csv"
    lines = renderer.render(
        payloads('{"name":"Tea, \\"green\\"","amounts":[1.5,2]}', '{"name":"Käse","amounts":[3],"note":"x"}'), file
    )
    assert lines == 3
    assert file.read_bytes() == 'name;amount;note\nTea, "green";1.50;\nTea, "green";2.00;\nKäse;3.00;x\n'.encode()


def test_one_renderer_makes_many_files(renderer: Renderer, tmp_path: Path) -> None:
    for number in range(3):
        text = f'{{"name":"{number}","amounts":[1]}}'
        assert renderer.render(payloads(text), tmp_path / f"{number}.csv") == 1
    assert (tmp_path / "2.csv").read_text() == "name;amount;note\n2;1.00;\n"
