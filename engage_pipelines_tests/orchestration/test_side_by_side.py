"""Steps run side by side: what waits for what, what a failure and a wish to stop do, and that all of it is noted."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from engage_pipelines.orchestration.side_by_side import side_by_side_executor
from engage_pipelines_tests.orchestration.own_process import run_job

_LONG = 60.0


def _run(instance: dg.DagsterInstance, *assets: Any, jobs: int = 16, **named: Any) -> dg.DagsterRun:
    """Run all assets in one run, as a run's own process does."""
    job = dg.Definitions(
        assets=list(assets), jobs=[dg.define_asset_job("all", **named)], executor=side_by_side_executor
    ).resolve_job_def("all")
    return run_job(job, instance, execution={"max_concurrent": jobs})


def _asset(name: str, what: Callable[[], None], **named: Any) -> dg.AssetsDefinition:
    @dg.asset(name=name, **named)
    def made() -> None:
        what()

    return made


def _ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
    """How each step ended."""
    kinds = {"STEP_SUCCESS": "success", "STEP_FAILURE": "failure", "STEP_SKIPPED": "skipped"}
    return {
        str(entry.step_key): kinds[str(entry.dagster_event_type.value)]
        for entry in instance.all_logs(run.run_id)
        if entry.dagster_event_type is not None and entry.dagster_event_type.value in kinds
    }


def _said(instance: dg.DagsterInstance, run: dg.DagsterRun, text: str) -> list[str]:
    """What the run has noted that has this text in it."""
    return [entry.message for entry in instance.all_logs(run.run_id) if text in entry.message]


def test_steps_that_do_not_wait_for_each_other_are_under_way_together(instance: dg.DagsterInstance) -> None:
    # Each waits until both are there: one after the other, neither would ever end.
    both = threading.Barrier(2, timeout=_LONG)

    def meet() -> None:
        both.wait()

    run = _run(instance, *(_asset(name, meet, pool=name) for name in ("aiq", "voyado")))
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert _ended(instance, run) == {"aiq": "success", "voyado": "success"}
    assert len(instance.get_latest_materialization_events([dg.AssetKey("aiq"), dg.AssetKey("voyado")])) == 2


class _Counted:
    """How many were at work at the same time, at most, and in which order they began."""

    def __init__(self) -> None:
        self.most, self.order = 0, list[str]()
        self._now, self._begun = 0, threading.Condition()

    def work(self, name: str) -> None:
        with self._begun:
            self._now += 1
            self.most = max(self.most, self._now)
            self.order.append(name)
            self._begun.notify_all()
            # Another one comes meanwhile, if it may.
            self._begun.wait_for(lambda: self._now > 1, timeout=0.05)
            self._now -= 1


def test_a_pool_has_one_step_at_a_time_and_none_waits_for_long(instance: dg.DagsterInstance) -> None:
    counted = _Counted()
    names = [f"s{n}" for n in range(8)]
    run = _run(instance, *(_asset(name, partial(counted.work, name), pool="warehouse") for name in names))
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert (counted.most, sorted(counted.order)) == (1, names)
    # Dagster itself would ask the instance, be refused, say so, and ask again after a second, then after more.
    assert _said(instance, run, "blocked") == []


def test_a_pool_of_two_has_two(instance: dg.DagsterInstance) -> None:
    instance.event_log_storage.set_concurrency_slots("till", 2)
    both, counted = threading.Barrier(2, timeout=_LONG), _Counted()

    def work() -> None:
        counted.work("")
        both.wait()

    run = _run(instance, *(_asset(f"s{n}", work, pool="till") for n in range(4)))
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert counted.most == 2


def test_one_at_a_time_where_that_is_asked_for(instance: dg.DagsterInstance) -> None:
    counted = _Counted()
    run = _run(instance, *(_asset(f"s{n}", lambda: counted.work("")) for n in range(4)), jobs=1)
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert counted.most == 1


def test_a_step_waits_for_those_it_needs(instance: dg.DagsterInstance) -> None:
    counted = _Counted()
    run = _run(
        instance,
        _asset("third", lambda: counted.work("third"), deps=["second"]),
        _asset("second", lambda: counted.work("second"), deps=["first"]),
        _asset("first", lambda: counted.work("first")),
    )
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert counted.order == ["first", "second", "third"]


def test_a_failure_stops_what_needs_it_and_nothing_else(instance: dg.DagsterInstance) -> None:
    has_failed, done = threading.Event(), list[str]()

    def fail() -> None:
        has_failed.set()
        raise dg.Failure("made up")

    def go_on() -> None:
        assert has_failed.wait(_LONG)
        done.append("other")

    run = _run(
        instance,
        _asset("bad", fail), _asset("other", go_on),
        _asset("after_bad", lambda: done.append("after_bad"), deps=["bad"]),
        _asset("after_other", lambda: done.append("after_other"), deps=["other"]),
    )  # fmt: skip
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert done == ["other", "after_other"]
    assert _ended(instance, run) == {"bad": "failure", "other": "success", "after_other": "success"}


def test_a_step_is_tried_again_as_its_policy_says(instance: dg.DagsterInstance) -> None:
    tries = list[int]()

    def fail_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("made up")

    run = _run(instance, _asset("flaky", fail_once, retry_policy=dg.RetryPolicy(max_retries=1)))
    assert (run.status, len(tries)) == (dg.DagsterRunStatus.SUCCESS, 2)


def test_hooks_hear_of_steps(instance: dg.DagsterInstance) -> None:
    heard = list[str]()

    @dg.failure_hook
    def tell(context: dg.HookContext) -> None:
        heard.append(context.op.name)

    def fail() -> None:
        raise ValueError("made up")

    _run(instance, _asset("good", lambda: None), _asset("bad", fail), hooks={tell})
    assert heard == ["bad"]


def test_slots_are_given_back_also_by_a_step_that_fails(instance: dg.DagsterInstance) -> None:
    def fail() -> None:
        raise ValueError("made up")

    _run(instance, _asset("bad", fail, pool="warehouse"), _asset("good", lambda: None, pool="warehouse"))
    assert instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count == 0


def test_a_slot_of_another_run_is_waited_for(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("warehouse")
    assert storage.claim_concurrency_slot("warehouse", "other-run", "its-step").is_claimed
    done = list[str]()
    free = threading.Thread(target=lambda: storage.free_concurrency_slots_for_run("other-run"))

    def other() -> None:
        # Only now may the one that waits go on: what needs no slot was not held up.
        done.append("other")
        free.start()

    run = _run(instance, _asset("waits", lambda: done.append("waits"), pool="warehouse"), _asset("other", other))
    free.join()
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert done == ["other", "waits"]
    assert len(_said(instance, run, "blocked")) == 1


def test_a_run_whose_output_cannot_be_kept_does_its_work_and_says_so(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    # Where its folder should be there is a file.
    (tmp_path / "dagster" / "storage").write_text("")
    done = list[str]()
    run = _run(instance, _asset("first", lambda: done.append("first")))
    assert (run.status, done) == (dg.DagsterRunStatus.SUCCESS, ["first"])
    assert len(_said(instance, run, "cannot be kept")) == 1


_JOB = """
import threading, time
from pathlib import Path
import dagster as dg
from engage_pipelines.orchestration.side_by_side import side_by_side_executor
from engage_pipelines_tests.orchestration.own_process import run_job

FOLDER = Path({folder!r})

def slow(name):
    @dg.op(name=name)
    def work(context):
        (FOLDER / f"{{name}}.begun").touch()
        try:
            while True:
                threading.Event().wait(0.05)
        finally:
            (FOLDER / f"{{name}}.tidied").touch()
    return work

first, second = slow("first"), slow("second")

@dg.job(executor_def=side_by_side_executor)
def endless():
    first()
    second()
"""


@pytest.fixture
def endless(tmp_path: Path, instance: dg.DagsterInstance) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own whose two steps never end by themselves."""
    script = tmp_path / "endless.py"
    script.write_text(_JOB.format(folder=str(tmp_path)))
    command = [sys.executable, "-m", "dagster", "job", "execute", "-f", str(script), "-j", "endless"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield child
    child.kill()
    child.wait()


def test_a_run_that_is_asked_to_stop_ends_all_its_steps_properly(
    endless: subprocess.Popen[bytes], tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    begun = [tmp_path / f"{name}.begun" for name in ("first", "second")]
    until = time.monotonic() + _LONG
    while not all(file.exists() for file in begun):
        assert endless.poll() is None
        assert time.monotonic() < until
        threading.Event().wait(0.05)
    endless.send_signal(signal.SIGINT)
    assert endless.wait(_LONG) != 0
    assert [(tmp_path / f"{name}.tidied").exists() for name in ("first", "second")] == [True, True]
    (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert _ended(instance, run) == {"first": "failure", "second": "failure"}
