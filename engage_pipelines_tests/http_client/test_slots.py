"""Requests in flight are counted over all clients of an account: of this process, and of others."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from engage_pipelines.http_client import Limits, VendorClient
from engage_pipelines.http_client.slots import Slots
from engage_pipelines_tests.scripted_vendor import scripted_vendor

_HOLDER = """
import sys
from pathlib import Path
from engage_pipelines.http_client.slots import Slots
with Slots(1, file=Path(sys.argv[1])).one():
    print("held", flush=True)
    sys.stdin.read()
"""


class _WouldWaitError(Exception):
    """Instead of waiting."""


def _raise(seconds: float) -> None:
    assert 0 < seconds < 0.1
    raise _WouldWaitError


def _is_free(most: int, file: Path) -> bool:
    """Whether another client of the account could make a call now."""
    try:
        with Slots(most, file=file, sleep=_raise).one():
            return True
    except _WouldWaitError:
        return False


def test_clients_of_one_account_share_its_slots(tmp_path: Path) -> None:
    file, mine = tmp_path / "aiq.rates", Slots(2, file=tmp_path / "aiq.rates")
    with mine.one():
        assert _is_free(2, file)
        with mine.one():
            assert not _is_free(2, file)
        assert _is_free(2, file)


def test_accounts_do_not_share_theirs(tmp_path: Path) -> None:
    with Slots(1, file=tmp_path / "aiq.rates").one():
        assert _is_free(1, tmp_path / "crmcom.rates")


def test_slots_without_a_file_are_the_clients_own() -> None:
    mine, done = Slots(1), list[int]()

    def call() -> None:
        with mine.one():
            done.append(1)

    other = threading.Thread(target=call)
    with mine.one():
        other.start()
        other.join(0.05)
        assert done == []
    other.join(10)
    assert done == [1]


@pytest.mark.parametrize("most", [1, 3])
def test_all_slots_come_back_after_errors(tmp_path: Path, most: int) -> None:
    mine = Slots(most, file=tmp_path / "aiq.rates")
    for _ in range(2 * most):
        with pytest.raises(RuntimeError), mine.one():
            raise RuntimeError("made up")
    with ExitStack() as held:
        for _ in range(most):
            held.enter_context(mine.one())
        assert not _is_free(most, tmp_path / "aiq.rates")
    assert _is_free(most, tmp_path / "aiq.rates")


def test_a_slot_of_another_process_is_waited_for_and_one_of_a_dead_process_is_not(tmp_path: Path) -> None:
    file = tmp_path / "aiq.rates"
    command = [sys.executable, "-c", _HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not _is_free(1, file)
        holder.kill()
        holder.wait()
        assert _is_free(1, file)


def test_a_call_waits_while_another_client_of_the_account_has_its_only_slot(tmp_path: Path) -> None:
    limits = Limits(in_flight=1, shared=tmp_path / "v.rates")
    with scripted_vendor((200, {})) as vendor, VendorClient("v", vendor.url, limits=limits) as client:
        call = threading.Thread(target=lambda: client.call("GET", "x"))
        with Slots(1, file=limits.shared).one():
            call.start()
            call.join(0.2)
            assert (call.is_alive(), vendor.asked) == (True, [])
        call.join(10)
        assert len(vendor.asked) == 1
