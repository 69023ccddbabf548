"""A run: plan, then bring every instance to its end, as many at a time as asked for, and record what happens."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from runner import steps
from runner.engine import events
from runner.engine.execute import Execution, Outcome, made_elsewhere
from runner.engine.executors.local import LocalExecutor
from runner.engine.locks import Lease
from runner.engine.manifest import Manifest
from runner.engine.planner import Options, Plan, Planner, named
from runner.engine.record import InstanceRecord, RunRecord
from runner.engine.scrub import Scrubber
from runner.engine.store import FULL, Store, disk_error
from runner.engine.task import Cancel
from runner.errors import DONE, INTERRUPTED, STEP_FAILED, UsageError, texts
from runner.recipe.model import Instance, Recipe

Listener = Callable[[events.Event], None]


@dataclass(frozen=True)
class RunResult:
    """How a run ended. ``folder`` is None and ``instances`` is empty after a dry run."""

    status: events.Status
    exit_code: int
    folder: Path | None
    instances: Mapping[str, InstanceRecord] = field(default_factory=dict)
    plan: Plan | None = None


def run(
    recipe: Recipe,
    store: Store,
    *,
    only: str | Sequence[str] | None = None,
    until: str | Sequence[str] | None = None,
    force: Sequence[str] = (),
    offline: bool = False,
    dry_run: bool = False,
    unpinned: bool = False,
    jobs: int = 1,
    listener: Listener | None = None,
    on_end: Callable[[Path], Any] | None = None,
) -> RunResult:
    """Run a recipe, or the steps ``only`` or ``until`` name; ``force`` runs steps again whose artifacts are there.

    A failing arm does not stop the others: what reads it is blocked, and a gathering step goes without it. The first ^C lets
    the running steps end or stop, the second kills them; SIGTERM and a closed terminal count as ^C. ``listener`` is called with
    every event from this thread; ``on_end`` is given the run's folder at the end, after a failure too.

    UsageError, with nothing written, for what can be told before anything runs.
    """
    planner = Planner(recipe, store, Options(only, until, force, offline, unpinned))
    plan = planner.plan()
    if problems := plan.problems():
        raise problems[0] if len(problems) == 1 else UsageError("\n".join(texts(problems)))
    if dry_run:
        return RunResult("done", DONE, None, plan=plan)
    store.prepare()
    lease = store.lease()
    try:
        store.sweep()
        plan = _protect(planner, plan, store, lease)
        return _Run(recipe, store, planner, plan, max(1, jobs), listener, offline, unpinned).go(on_end)
    except OSError as error:
        if error.errno not in FULL and not str(error.filename or "").startswith(str(store.path)):
            raise
        raise disk_error(error, "the run's folder could not be written") from error
    finally:
        lease.close()


def _protect(planner: Planner, plan: Plan, store: Store, lease: Lease) -> Plan:
    """Keep `clean` from removing what the plan counts on; plan again if it has been there already."""
    planner.lease = lease.add
    for item in plan:
        if item.key:
            lease.add(item.key)
    gone = any(item.state == "cached" and not store.folder(str(item.key)).exists() for item in plan)
    return planner.plan() if gone else plan


class _Run:
    """The scheduler. Only the calling thread touches states, the record and the listener; instances run in threads of their own."""

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        planner: Planner,
        plan: Plan,
        jobs: int,
        listener: Listener | None,
        offline: bool,
        unpinned: bool,
    ) -> None:
        self.recipe, self.plan, self.jobs, self.listener = recipe, plan, jobs, listener
        self.began = time.monotonic()
        self.record = RunRecord(recipe, store, {item.instance.id: item.instance for item in plan}, unpinned=unpinned)
        planner.look_before(self.record.folder.name)
        self.manifests: dict[str, Manifest] = {}
        self.active: dict[str, threading.Thread] = {}
        self.inbox: queue.SimpleQueue[events.Event | Outcome | BaseException | None] = queue.SimpleQueue()
        self.cancel, scrubber = Cancel(), Scrubber()
        self.executor = LocalExecutor(scrubber, offline=offline)
        self.execution = Execution(recipe, store, planner, self.executor, scrubber, self.cancel, self.inbox.put, self.record.log, offline)
        self.mended: dict[str, int] = {}
        self.interrupts, self.ending = 0, False

    def go(self, on_end: Callable[[Path], Any] | None) -> RunResult:
        status: events.Status = "failed"
        try:
            with self._signals():
                try:
                    self._begin()
                    self._loop()
                    status = self._status()
                finally:
                    self._end(status)
                if on_end is not None and not self.cancel.hard.is_set():
                    on_end(self.record.folder)
        finally:
            self.record.close()
        code = {"done": DONE, "failed": STEP_FAILED, "interrupted": INTERRUPTED}[status]
        return RunResult(status, code, self.record.folder, self.record.instances, self.plan)

    # The life of a run

    def _begin(self) -> None:
        self._emit(events.RunStarted(recipe=self.recipe.name, run=self.record.folder.name))
        for item in self.plan:
            record = self.record.instances[item.instance.id]
            record.why, record.key = item.why, item.key
            if item.state == "cached" and item.manifest is not None:
                self._have(item.instance, item.manifest, "hit")
                record.why = made_elsewhere(item.manifest)
        self._emit(events.Planned(states={name: record.state for name, record in self.record.instances.items()}))
        self.record.save()

    def _loop(self) -> None:
        while True:
            if not self.cancel.soft.is_set():
                self._start_ready()
            if not self.active and self.inbox.empty():
                return
            message = self.inbox.get()
            if isinstance(message, events.Event):
                self._emit(message)
            elif isinstance(message, Outcome):
                self._take(message)
            elif message is not None:
                raise message

    def _end(self, status: events.Status) -> None:
        self.ending = True
        if self.active:  # only after an error in this very thread
            self.cancel.soft.set()
            self.cancel.hard.set()
        for thread in self.active.values():
            thread.join()
        self.executor.close()
        for record in self.record.instances.values():
            if record.state in ("waiting", "running"):
                record.state = "cancelled"
        seconds = round(time.monotonic() - self.began, 3)
        self.record.finish(status, seconds)
        self._emit(events.RunFinished(status=status, seconds=seconds))

    def _status(self) -> events.Status:
        states = {record.state for record in self.record.instances.values()}
        if self.cancel.soft.is_set() and states & {"waiting", "running", "cancelled"}:
            return "interrupted"
        return "failed" if states & {"failed", "blocked"} else "done"

    # Instances

    def _start_ready(self) -> None:
        for item in self.plan:
            record = self.record.instances[item.instance.id]
            if record.state != "waiting" or item.instance.id in self.active:
                continue
            verdict = self._readiness(item.instance)
            if verdict == "blocked":
                self._block(item.instance)
            elif verdict == "ready" and len(self.active) < self.jobs:
                self._start(item.instance)

    def _readiness(self, instance: Instance) -> str:
        """``ready``, ``waiting``, or ``blocked``: an input that is needed will not come, or no arm of a gathered step has."""
        kind, verdict = steps.kind(instance.kind), "ready"
        for name, refs in instance.inputs.items():
            states = [self.record.instances[ref.instance].state for ref in refs]
            port = kind.port(name)
            lost = [state in ("failed", "blocked", "cancelled") for state in states]
            if any(lost) and (port is None or port.arity != "gather" or all(lost)):
                return "blocked"
            if any(state in ("waiting", "running") for state in states):
                verdict = "waiting"
        return verdict

    def _start(self, instance: Instance) -> None:
        manifests = {name: self.manifests[name] for name in self._upstream(instance) if name in self.manifests}

        def work() -> None:
            try:
                self.inbox.put(self.execution.run(instance, manifests))
            except BaseException as error:
                self.inbox.put(error)

        thread = self.active[instance.id] = threading.Thread(target=work, name=instance.id, daemon=True)
        thread.start()

    def _take(self, outcome: Outcome) -> None:
        instance = outcome.instance
        self.active.pop(instance.id).join()
        record = self.record.instances[instance.id]
        record.key, record.seconds = outcome.key, round(outcome.seconds, 3)
        if outcome.why:
            record.why = outcome.why
        if outcome.manifest is not None:
            self._have(instance, outcome.manifest, outcome.state)
        elif outcome.mended and self._compute_again(outcome):
            record.state = "waiting"
            self.record.save()
            return
        else:
            record.state = "failed" if outcome.state == "waiting" else outcome.state
            record.warnings, record.facts = outcome.warnings, outcome.facts
            if outcome.failure is not None:
                record.error = {"message": outcome.failure.message, "remedy": outcome.failure.remedy}
        self.record.save()
        message = outcome.failure.message if outcome.failure and record.state == "failed" else None
        self._emit(events.Finished(instance=instance.id, state=record.state, seconds=record.seconds, error=message))

    def _have(self, instance: Instance, manifest: Manifest, state: events.State) -> None:
        self.manifests[instance.id] = manifest
        self.record.artifact(instance.id, manifest)
        self.record.instances[instance.id].state = state

    def _block(self, instance: Instance) -> None:
        lost = [name for name in self._upstream(instance) if self.record.instances[name].state not in ("hit", "done")]
        record = self.record.instances[instance.id]
        record.state, record.why = "blocked", f"on {named(self.recipe, lost)}"
        self.record.save()
        self._emit(events.Finished(instance=instance.id, state="blocked", seconds=0.0, error=record.why))

    def _compute_again(self, outcome: Outcome) -> bool:
        """Put back to waiting whatever made, refers to, or read the artifact that was set aside. False when nothing here did."""
        key = outcome.mended
        self.mended[key] = self.mended.get(key, 0) + 1
        again = {name for name, manifest in self.manifests.items() if key == manifest.key or key in manifest.refs}
        again -= self.active.keys()
        if not again or self.mended[key] > 2:  # a disk that damages the same thing again and again is for the user to mend
            return False
        for name in self.plan.items:
            if name not in self.active and again.intersection(self._upstream(self.recipe.instances[name])):
                again.add(name)
        for name in again & self.manifests.keys():
            del self.manifests[name]
            self.record.instances[name].state = "waiting"
        assert outcome.failure is not None
        self._emit(events.Warned(instance=outcome.instance.id, message=f"{outcome.failure.message}; it is computed again"))
        return True

    def _upstream(self, instance: Instance) -> list[str]:
        return list(dict.fromkeys(ref.instance for refs in instance.inputs.values() for ref in refs))

    # Talking

    def _emit(self, event: events.Event) -> None:
        event = msgspec.structs.replace(event, t=round(time.monotonic() - self.began, 3))
        self.record.event(event)
        if isinstance(event, events.Started):
            self.record.instances[event.instance].state = "running"
            self.record.instances[event.instance].why = event.why
            self.record.save()
        if self.listener is not None:
            try:
                self.listener(event)
            except OSError:  # its terminal or pipe has been closed: nobody watches any more, so stop as after ^C
                self.listener = None
                self.cancel.soft.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """^C, SIGTERM and a closed terminal, as long as the run lasts; only the main thread may ask for them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
            wanted.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._interrupted) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self.interrupts += 1
        if self.interrupts == 1 and not self.ending:
            self.cancel.soft.set()
        elif self.interrupts <= 2:
            self.cancel.soft.set()
            self.cancel.hard.set()
            if self.ending:
                raise KeyboardInterrupt
        else:
            os._exit(INTERRUPTED)
        self.inbox.put(None)
