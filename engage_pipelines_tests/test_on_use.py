"""What a pull and a load never need is not loaded for them."""

import subprocess
import sys
from pathlib import Path

from engage_pipelines.on_use import arrow_csv, pc, pq
from engage_pipelines.settings import child_environment

_REPOSITORY = Path(__file__).resolve().parents[1]
_LOAD = """
import sys
from pathlib import Path
import engage_pipelines.cli
from engage_pipelines.warehouse import load_window
from engage_pipelines_tests.plain_till import NIGHT, Loader, order
till = Loader(Path(sys.argv[1]))
assert load_window(till.warehouse, till.request([order("O1")]), now=NIGHT).changed == 1
print(*(name for name in sys.modules if name.startswith("pyarrow.")))
"""


def test_a_command_that_loads_does_without_the_parts_that_deliveries_use(tmp_path: Path) -> None:
    command, environment = [sys.executable, "-c", _LOAD, str(tmp_path)], child_environment()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=_REPOSITORY, env=environment)
    loaded = set(done.stdout.split())
    assert "pyarrow.lib" in loaded
    assert not loaded & {"pyarrow.csv", "pyarrow.compute", "pyarrow.parquet", "pyarrow.fs"}


def test_a_part_is_there_when_it_is_asked_for() -> None:
    assert {part.__name__ for part in (arrow_csv, pc, pq)} == {"pyarrow.csv", "pyarrow.compute", "pyarrow.parquet"}
