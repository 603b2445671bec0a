"""The executor: steps of a run that do not wait for each other run side by side, in threads of one process.

Nearly all of a step's time is waiting for a vendor. So a night takes as long as its slowest platform and not as all of
them one after the other, and one that is down does not hold up the others. Dagster's own executors are one step at a
time, or a process for each step, which costs seconds a step.

It drives Dagster's own state of a run (what may begin, what failed, what is skipped) and leans on its private modules;
`test_side_by_side` notices when they change.
"""

from __future__ import annotations

import ctypes
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import _trigger_hook, dagster_event_sequence_for_step
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._utils.error import serializable_error_info_from_exc_info

# More than there are platforms and tills in one installation; each pool has one step at a time anyway.
_MOST = 16
# Seconds after which a slot of another run, a retry that is due or a wish to stop is looked for.
_TICK = 0.5


@dg.executor(
    name="side_by_side",
    config_schema={
        "max_concurrent": dg.Field(
            dg.IntSource, default_value=_MOST, description="Steps at a time at most; 1: one after the other."
        )
    },
)
def side_by_side_executor(context: dg.InitExecutorContext) -> Executor:
    """Runs steps in threads of the run's process."""
    most: Any = context.executor_config["max_concurrent"]
    return SideBySide(most)


class SideBySide(Executor):
    """See the module.

    Args:
        most: steps at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    @property
    def retries(self) -> RetryMode:
        """As a step's own policy says."""
        return RetryMode.ENABLED

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        """Run all steps; yields their events, which are stored already.

        Raises:
            DagsterExecutionInterruptedError: somebody asked the run to stop; its steps have ended.
        """
        process = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        yield DagsterEvent.engine_event(plan_context, f"Steps run side by side (pid: {os.getpid()})", process)
        yield from ExecuteRunWithPlanIterable(
            execution_plan=execution_plan,
            iterator=partial(_run, most=self._most),
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )
        yield DagsterEvent.engine_event(plan_context, f"Steps have ended (pid: {os.getpid()})", process)


def _run(job_context: Any, execution_plan: Any, *, most: int) -> Iterator[DagsterEvent]:
    with ExitStack() as stack:
        slots = stack.enter_context(_Slots(job_context.instance, job_context.dagster_run))
        active = stack.enter_context(
            execution_plan.start(
                job_context.retry_mode, max_concurrent=most, instance_concurrency_context=slots,
                step_dependency_config=job_context.step_dependency_config,
            )
        )  # fmt: skip
        captured = stack.enter_context(ExitStack())
        yield from _told(job_context, _capture(job_context, execution_plan, captured))
        with _crew() as crew:
            yield from _drive(job_context, active, crew)
        yield from _told(job_context, _release(captured))


def _drive(job_context: Any, active: Any, crew: _Crew) -> Iterator[DagsterEvent]:
    """Begin what may begin and hear of what runs, until all steps have ended."""
    failure: BaseException | None = None
    yield from _begin_more(job_context, active, crew)
    while crew.is_busy or (failure is None and not active.is_complete):
        for told in crew.hear(within=_TICK):
            if isinstance(told, _Ended):
                active.verify_complete(job_context, told.step_key)
                failure = failure or told.error
            else:
                yield told
                active.handle_event(told)
        if active.check_for_interrupts():
            active.mark_interrupted()
            failure = DagsterExecutionInterruptedError()
            crew.stop()
        if failure is None:
            yield from _begin_more(job_context, active, crew)
    if failure is not None:
        raise failure


def _begin_more(job_context: Any, active: Any, crew: _Crew) -> Iterator[DagsterEvent]:
    # Those whose turn never comes, since something before them failed or had nothing to say.
    yield from active.plan_events_iterator(job_context)
    for step in active.get_steps_to_execute():
        crew.begin(job_context.for_step(step, active.get_known_state()))
    # Those that wait for a slot of another run.
    yield from active.concurrency_event_iterator(job_context)


def _capture(job_context: Any, execution_plan: Any, captured: ExitStack) -> Iterator[DagsterEvent]:
    """From now on what the process prints is in the run's log; the steps share one."""
    keys = [step.key for step in execution_plan.get_steps_to_execute_in_topo_order()]
    manager = job_context.instance.compute_log_manager
    log_key = manager.build_log_key_for_run(job_context.run_id, create_compute_log_file_key())  # type: ignore[no-untyped-call]
    yield DagsterEvent.capture_logs(job_context, keys, log_key, captured.enter_context(manager.capture_logs(log_key)))


def _release(captured: ExitStack) -> Iterator[DagsterEvent]:
    captured.close()
    yield from ()


def _told(job_context: Any, keeping: Iterator[DagsterEvent]) -> Iterator[DagsterEvent]:
    """What is said while a log is opened or closed; a run does not fail because what it prints cannot be kept."""
    try:
        yield from keeping
    except Exception:  # noqa: BLE001 - whatever a log's storage may raise
        problem = EngineEventData(error=serializable_error_info_from_exc_info(sys.exc_info()))
        yield DagsterEvent.engine_event(job_context, "What the steps print cannot be kept", problem)


class _Slots(InstanceConcurrencyContext):
    """The instance's pools, for this run.

    A step whose pool is full of this run's own steps waits here. Asking the instance would be a write each time, and
    between two questions Dagster lets up to 15 seconds pass.
    """

    def __init__(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
        super().__init__(instance, run)
        self._pool_of: dict[str, str] = {}

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        """Take a slot of a pool for a step, if there is one."""
        ours, limit = list(self._pool_of.values()).count(concurrency_key), self._limit(concurrency_key)
        if ours and limit is not None and ours >= limit:
            return False
        is_claimed = super().claim(concurrency_key, step_key, step_priority)
        if is_claimed:
            self._pool_of[step_key] = concurrency_key
        return is_claimed

    def free_step(self, step_key: str) -> None:
        """Give a step's slot back."""
        super().free_step(step_key)
        self._pool_of.pop(step_key, None)

    def _limit(self, pool: str) -> int | None:
        info = self.get_pool_info(pool)
        return info.limit if info is not None else self._pool_config.default_pool_limit


@dataclass(frozen=True, slots=True)
class _Ended:
    """A step's thread has nothing more to say; `error`: what it raised beyond what its events tell."""

    step_key: str
    error: BaseException | None


@contextmanager
def _crew() -> Iterator[_Crew]:
    crew = _Crew()
    try:
        yield crew
    finally:
        # Whoever listens has gone: nothing of the run goes on unheard.
        crew.stop()
        while crew.is_busy:
            list(crew.hear(within=_TICK))


class _Crew:
    """The threads of the steps under way."""

    def __init__(self) -> None:
        self._heard: queue.SimpleQueue[DagsterEvent | _Ended] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a step is under way."""
        return bool(self._threads)

    def begin(self, step_context: Any) -> None:
        """Run a step in a thread of its own."""
        key = step_context.step.key
        thread = threading.Thread(target=self._work, args=(step_context,), name=key)
        self._threads[key] = thread
        thread.start()

    def hear(self, *, within: float) -> Iterator[DagsterEvent | _Ended]:
        """What the steps have said since the last time; the first word is waited for so many seconds."""
        over = [key for key, thread in self._threads.items() if not thread.is_alive()]
        with suppress(queue.Empty):
            told = self._heard.get(timeout=within)
            while True:
                if isinstance(told, _Ended):
                    self._threads.pop(told.step_key).join()
                yield told
                told = self._heard.get_nowait()
        for key in over:
            # It was stopped while it was about to say so.
            if self._threads.pop(key, None):
                yield _Ended(key, DagsterExecutionInterruptedError())

    def stop(self) -> None:
        """Raise in each thread what Dagster raises in a step that is stopped; each ends in its own time.

        A call that is under way is waited for: what became of it has to be noted.
        """
        for thread in self._threads.values():
            if thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident), ctypes.py_object(DagsterExecutionInterruptedError)
                )

    def _work(self, step_context: Any) -> None:
        error = None
        try:
            events = []
            for event in dagster_event_sequence_for_step(step_context):
                events.append(event)
                self._heard.put(event)
            for event in _trigger_hook(step_context, events):
                self._heard.put(event)
        except BaseException as raised:  # noqa: BLE001 - raised again by who listens
            error = raised
        finally:
            self._heard.put(_Ended(step_context.step.key, error))
