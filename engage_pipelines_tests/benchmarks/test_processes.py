"""Contenders run in processes of their own; what they need is measured, and one that fails says how."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import pytest

from benchmarks.processes import ContenderError, run

RESULT = "print('{\"seconds\": 1.5}')"


def test_the_last_line_is_the_result_and_the_processor_time_is_counted(tmp_path: Path) -> None:
    measured = run(_python(f"print('warming up'); sum(i * i for i in range(2_000_000)); {RESULT}"), folder=tmp_path)
    assert measured.result == {"seconds": 1.5}
    assert 0.02 < measured.cpu_seconds < 20


def test_memory_of_children_counts_too(tmp_path: Path) -> None:
    child = "held = [bytearray(b'x' * 10_000_000) for _ in range(12)]; [sum(each[::4]) for each in held]"
    measured = run(
        _python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); {RESULT}"), folder=tmp_path
    )
    assert measured.peak_bytes > 120_000_000


def test_a_contender_that_ends_with_an_error_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"(?s)ended with 3.*out of luck"):
        run(_python("import sys; sys.stderr.write('out of luck'); sys.exit(3)"), folder=tmp_path)


def test_a_contender_without_a_result_has_failed(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match="ended with 0"):
        run(_python("pass"), folder=tmp_path)
    with pytest.raises(ContenderError, match="told no result"):
        run(_python("print('done')"), folder=tmp_path)


def test_a_contender_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    child = "import sys; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read()"
    parent = (
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE); "
        "child.stdout.read(2); open('child', 'w').write(str(child.pid)); child.wait()"
    )
    with pytest.raises(ContenderError, match="ended with -9"):
        run(_python(parent), folder=tmp_path, seconds=2)
    assert _has_ended(int((tmp_path / "child").read_text()))


def test_a_peer_that_is_not_installed_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match="is not installed"):
        run([str(tmp_path / "nowhere" / "python"), "-c", "pass"], folder=tmp_path)


def _python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def _has_ended(pid: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    # Readable as soon as the process has ended, also while nobody has asked for its end yet.
    with os.fdopen(handle):
        return bool(select.select([handle], [], [], 10)[0])
