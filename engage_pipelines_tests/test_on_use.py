"""What a pull never needs is not loaded for it."""

import subprocess
import sys

from engage_pipelines.on_use import arrow_csv, pc, pq

_LOADED = "import sys, engage_pipelines.cli; print(*(name for name in sys.modules if name.startswith('pyarrow.')))"


def test_a_command_starts_without_the_parts_that_deliveries_use():
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pyarrow.lib" in loaded
    assert not loaded & {"pyarrow.csv", "pyarrow.compute", "pyarrow.parquet", "pyarrow.fs"}


def test_a_part_is_there_when_it_is_asked_for():
    assert {part.__name__ for part in (arrow_csv, pc, pq)} == {"pyarrow.csv", "pyarrow.compute", "pyarrow.parquet"}
