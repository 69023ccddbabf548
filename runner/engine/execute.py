"""One step instance from its key to its committed artifact: lock, look again, verify the inputs, run, commit."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import runner
from runner.contract import Artifact, Kind
from runner.engine import events
from runner.engine.canonical import digest, plain
from runner.engine.keys import Parts, parts_of
from runner.engine.locks import Lock
from runner.engine.manifest import Manifest
from runner.engine.planner import Keyed, Planner
from runner.engine.record import cores, libraries
from runner.engine.scrub import Scrubber
from runner.engine.sources import Sources
from runner.engine.store import Store, disk_error
from runner.engine.task import Cancel, Executor, Failure, Task
from runner.errors import ArtifactDamaged, Cancelled, RunnerError, StepError
from runner.recipe.model import Instance, Recipe

_TICK = 0.05  # seconds between two looks at a lock that another run holds


@dataclass
class Outcome:
    """How an instance came out of its thread. ``mended`` names an input's key that was damaged and has been set aside."""

    instance: Instance
    state: events.State
    why: str = ""
    key: str | None = None
    manifest: Manifest | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    mended: str = ""
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Opened:
    """Artifacts that this run has hashed: each is hashed once, however many steps read it."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._good: dict[str, Manifest] = {}

    def check(self, key: str) -> Manifest:
        """The artifact's manifest. ArtifactDamaged, with the key as its ``where``."""
        with self._lock:
            if key not in self._good:
                self._good[key] = self._store.check(key)
            return self._good[key]

    def forget(self, key: str) -> None:
        with self._lock:
            self._good.pop(key, None)


class Execution:
    """Runs instances, from any thread. ``emit`` takes events."""

    def __init__(
        self, recipe: Recipe, store: Store, planner: Planner, executor: Executor, scrubber: Scrubber, cancel: Cancel,
        emit: Callable[[events.Event], None], log: Callable[[str], Path], offline: bool,
    ) -> None:  # fmt: skip
        self.recipe, self.store, self.planner, self.executor, self.scrubber = recipe, store, planner, executor, scrubber
        self.cancel, self.emit, self.log, self.offline = cancel, emit, log, offline
        self.opened = Opened(store)

    def run(self, instance: Instance, manifests: Mapping[str, Manifest]) -> Outcome:
        """Bring an instance to its end; ``manifests`` are those of the inputs that are there. Raises only for bugs."""
        began = time.monotonic()
        outcome = Outcome(instance, "failed")
        try:
            self._run(instance, manifests, outcome)
        except Cancelled:
            outcome.state = "cancelled"
        except ArtifactDamaged as error:
            self._mend(error, outcome)
        except RunnerError as error:
            place = f"{error.where}: " if error.where else ""
            outcome.failure = Failure(self.scrubber.text(f"{place}{error.message}"), self.scrubber.text(error.remedy))
        except OSError as error:
            full = disk_error(error, "the store could not be used")
            outcome.failure = Failure(full.message, full.remedy)
        outcome.seconds = time.monotonic() - began
        return outcome

    def _run(self, instance: Instance, manifests: Mapping[str, Manifest], outcome: Outcome) -> None:
        keyed = self.planner.keyed(instance, manifests, fresh=True)
        outcome.key = keyed.key
        forced = instance.id in self.planner.forced
        if keyed.manifest is not None and not forced:
            outcome.state, outcome.manifest, outcome.why = "hit", keyed.manifest, made_elsewhere(keyed.manifest)
            return
        outcome.why = self.planner.why(instance, keyed)
        with self._locked(keyed.key, instance.id) as lock:
            found = self._look_again(keyed, outcome)
            if found is not None and (not forced or found != keyed.manifest):
                outcome.state, outcome.manifest, outcome.why = "hit", found, "computed by another run in the meantime"
                return
            for artifact in (artifact for artifacts in keyed.inputs.values() for artifact in artifacts):
                self.opened.check(artifact.ref.partition("/")[0])
            self._compute(instance, keyed, lock, outcome)

    def _look_again(self, keyed: Keyed, outcome: Outcome) -> Manifest | None:
        """The artifact, which another run may have made since the plan; a damaged one is set aside."""
        try:
            return self.store.find(keyed.key)
        except ArtifactDamaged as error:
            self.store.set_aside(keyed.key)
            outcome.warnings.append(f"its artifact was damaged and is computed again: {error.message}")
            return None

    def _compute(self, instance: Instance, keyed: Keyed, lock: Lock, outcome: Outcome) -> None:
        if keyed.missing:
            outcome.warnings.append(f"goes without {', '.join(keyed.missing)}, which failed")
        self.emit(events.Started(instance=instance.id, why=outcome.why))
        for warning in outcome.warnings:
            self.emit(events.Warned(instance=instance.id, message=warning))
        started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
        work = self.store.begin(keyed.key)
        ended = self.executor.execute(
            task_of(self.recipe, instance, keyed, work, self.store.path / "cache", self.offline),
            lock=lock.descriptor,
            log=self.log(instance.id),
            tell=lambda message: self._hear(instance.id, message, outcome),
            open_artifact=self._open,
            cancel=self.cancel,
        )
        if ended.failure is not None:
            self._fail(ended.failure, outcome)
            return
        self._unchanged(instance, keyed.parts)
        seconds = round(time.monotonic() - began, 3)
        facts = {"seconds": {"value": seconds, "unit": "s"}, "peak_memory": {"value": ended.peak_memory, "unit": "bytes"}} | outcome.facts
        about = {
            "kind": instance.kind,
            "step": instance.step,
            "axes": dict(instance.axes),
            "parts": dict(keyed.whole),
            "params": plain(keyed.parts.params),
            "refs": sorted({artifact.ref.partition("/")[0] for found in keyed.inputs.values() for artifact in found}),
            "facts": facts,
            "warnings": outcome.warnings,
            "made": {
                "started": started.isoformat(timespec="seconds"),
                "seconds": seconds,
                "runner": runner.__version__,
                "libraries": libraries(),
            },
        }
        outcome.manifest = self.store.commit(keyed.key, instance.outputs, self.scrubber.needles(), **self.scrubber.plain(about))
        outcome.state = "done"

    def _fail(self, failure: Failure, outcome: Outcome) -> None:
        if failure.cancelled:
            raise Cancelled(failure.message)
        if failure.damaged:
            raise ArtifactDamaged(failure.message, where=failure.damaged)
        outcome.failure = failure

    def _unchanged(self, instance: Instance, before: Parts) -> None:
        """StepError when a source file or a prompt is no longer what the key was made from."""
        after = parts_of(self.recipe, instance, before.kind, Sources(self.recipe.root, self.recipe.outside))
        if digest(after.own) != digest(before.own):
            old = {s.name: s.sha256 for found in before.sources.values() for s in found} | _prompt_files(before)
            new = {s.name: s.sha256 for found in after.sources.values() for s in found} | _prompt_files(after)
            names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            raise StepError(f"{', '.join(names[:3])} changed while the step was running", remedy="nothing was kept; run again")

    def _open(self, ref: str) -> Artifact:
        key, _, output = ref.partition("/")
        manifest = self.opened.check(key)
        if output not in manifest.outputs:
            raise StepError(f"the artifact {key} has no output {output}")
        return self.store.artifact(manifest, output)

    def _hear(self, instance: str, message: Mapping[str, Any], outcome: Outcome) -> None:
        values = {name: value for name, value in message.items() if name != "is"}
        kind = message["is"]
        if kind == "fact":
            outcome.facts[values["name"]] = {"value": values["value"], "unit": values["unit"]}
        elif kind == "warning":
            outcome.warnings.append(values["message"])
        told: events.Event = msgspec.convert({**values, "instance": instance, "event": kind}, events.Told)
        self.emit(told)

    def _mend(self, error: ArtifactDamaged, outcome: Outcome) -> None:
        """Set a damaged input aside, unless another run has mended it meanwhile; the scheduler computes it again."""
        key = error.where
        self.opened.forget(key)
        try:
            with self._locked(key, outcome.instance.id):
                try:
                    self.store.check(key)
                except ArtifactDamaged:
                    self.store.set_aside(key)
        except Cancelled:
            outcome.state = "cancelled"
            return
        outcome.state, outcome.mended = "waiting", key
        outcome.failure = Failure(f"its input {key[:12]} is damaged: {error.message}", "it was set aside; run again")

    @contextmanager
    def _locked(self, key: str, instance: str) -> Iterator[Lock]:
        """The key's lock. Cancelled when the run is interrupted while another one holds it."""
        lock, waited = self.store.lock(key), False
        while not lock.acquire():
            if not waited:
                self.emit(events.Log(instance=instance, message="another run is computing this; waiting for it"))
            waited = True
            if self.cancel.soft.wait(_TICK):
                raise Cancelled("the run was interrupted")
        try:
            yield lock
        finally:
            lock.release()


def task_of(recipe: Recipe, instance: Instance, keyed: Keyed, work: Path, cache: Path, offline: bool) -> Task:
    kind = keyed.parts.kind
    return Task(
        instance=instance.id,
        kind=instance.kind,
        module=kind.module.__name__,
        preload=list(kind.preload),
        params=plain(keyed.parts.params),
        resources=plain(instance.resources),
        inputs=bound(kind, keyed.inputs),
        sources={name: [str(source.path) for source in found] for name, found in keyed.parts.sources.items()},
        missing=list(keyed.missing),
        work=str(work),
        root=str(recipe.root.absolute()),
        cache=str(cache),
        offline=offline,
        threads=instance.resources.threads or cores(),
        device=instance.resources.device,
        timeout=instance.resources.timeout,
    )


def bound(kind: Kind, inputs: Mapping[str, Sequence[Artifact]]) -> dict[str, Any]:
    """Inputs as the contract has them: an artifact, a list, or None for an optional port left empty."""
    given: dict[str, Any] = {}
    for port in kind.ports:
        found = list(inputs.get(port.name, ()))
        given[port.name] = found if port.arity != "one" else found[0] if found else None
    return given


def made_elsewhere(manifest: Manifest) -> str:
    """What was installed in other versions when the artifact was made, in words."""
    now, then = libraries(), manifest.made.get("libraries", {})
    other = [f"{name} {then[name]} (now {now[name]})" for name in then if name in now and now[name] != then[name]]
    return f"made with {', '.join(other)}" if other else ""


def _prompt_files(parts: Parts) -> dict[str, str]:
    return {name: sha256 for files in parts.prompts.values() for name, sha256 in files.items()}
