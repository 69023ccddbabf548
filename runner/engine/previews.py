"""A preview: one step on a few items, in a folder that is gone afterwards. Nothing is written to the store."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from runner import steps
from runner.engine import events
from runner.engine.execute import Opened, task_of
from runner.engine.executors.local import LocalExecutor
from runner.engine.planner import Keyed, Options, Planner
from runner.engine.scrub import Scrubber
from runner.engine.store import Store
from runner.engine.task import Cancel, Failure
from runner.errors import ArtifactDamaged, StepError, UsageError
from runner.recipe.model import Instance, Recipe
from runner.recipe.overlay import display

Listener = Callable[[events.Event], None]


@dataclass
class Preview:
    """What a step gave. Its files last as long as the context that :func:`preview` opens."""

    instance: Instance
    items: str  # what was counted ("documents")
    count: int
    folder: Path
    asks: tuple[str, ...]  # what the step talks to over the network
    failure: Failure | None = None
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    scrubber: Scrubber = field(default_factory=Scrubber, repr=False)

    def prompts(self) -> Iterator[dict[str, str]]:
        """Every prompt in the order of its rendering: ``file``, ``text``."""
        yield from self._read(self.folder / "prompts.jsonl")

    def files(self) -> list[str]:
        """The payload's JSON and JSON Lines files, by their names below the step's outputs."""
        out = self.folder / "out"
        found = (path for pattern in ("*.jsonl", "*.json") for path in out.rglob(pattern))
        return sorted(name for path in found if not (name := path.relative_to(out).as_posix()).startswith("provenance/"))

    def rows(self, file: str) -> Iterator[Any]:
        """The rows of one of the files; a JSON file is one row."""
        yield from self._read(self.folder / "out" / file)

    def log(self) -> str:
        """What the step and its libraries have printed."""
        log = self.folder / "log"
        return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

    def _read(self, path: Path) -> Iterator[Any]:
        if path.suffix == ".json":
            yield self.scrubber.plain(msgspec.json.decode(path.read_bytes()))
        elif path.is_file():
            with path.open("rb") as lines:
                yield from (self.scrubber.plain(msgspec.json.decode(line)) for line in lines if line.endswith(b"\n"))


@contextmanager
def preview(
    recipe: Recipe,
    store: Store,
    step: str,
    count: int,
    *,
    offline: bool = False,
    unpinned: bool = False,
    listener: Listener | None = None,
) -> Iterator[Preview]:
    """Run one step, or one arm of it, on ``count`` of its items, whether it is in the store or not, and give what came of it.

    What it reads must be in the store. Teachers' answers on record are read there, and new ones are not kept. The step's failure
    is in the result, with what it had done by then; UsageError for what can be told before it begins.
    """
    planner = Planner(recipe, store, Options(only=[step], force=[step], offline=offline, unpinned=unpinned))
    _refuse_kind(recipe, recipe.instances[next(iter(planner.alone))])
    keyed, instance = _keyed(recipe, store, planner, step)
    kind = keyed.parts.kind
    with _interruptible(), tempfile.TemporaryDirectory(prefix="recipe-preview-") as folder:
        shown = Preview(instance, kind.preview, count, Path(folder), tuple(kind.network(keyed.parts.params)))
        _execute(recipe, store, keyed, shown, offline, listener or (lambda event: None))
        yield shown


def _refuse_kind(recipe: Recipe, instance: Instance) -> None:
    """UsageError for a kind without a preview: before anybody is told to compute its inputs, or to name one of its arms."""
    if steps.kind(instance.kind).preview:
        return
    others = [other.step for other in recipe.instances.values() if steps.kind(other.kind).preview]
    raise UsageError(
        f"`{instance.step}` is a step of the kind {instance.kind}, which has no preview",
        where=_place(instance),
        remedy=f"these have one: {', '.join(dict.fromkeys(others))}" if others else "",
    )


def _keyed(recipe: Recipe, store: Store, planner: Planner, step: str) -> tuple[Keyed, Instance]:
    """The one instance that is asked for, with its inputs. UsageError when it is not one, or when they are not all there."""
    if len(planner.alone) > 1:
        arms = sorted(planner.alone)
        raise UsageError(
            f"`{step}` has {len(arms)} arms, and a preview shows one",
            where=display(recipe.file, recipe.root),
            remedy="name it: " + ", ".join(f"--only '{arm}'" for arm in arms[:3]) + (", ..." if len(arms) > 3 else ""),
        )
    plan = planner.plan()
    instance = recipe.instances[next(iter(planner.alone))]
    upstream = list(dict.fromkeys(ref.instance for refs in instance.inputs.values() for ref in refs))
    missing = list(dict.fromkeys(recipe.instances[name].step for name in upstream if plan.items[name].state != "cached"))
    if missing:
        names, are = " and ".join(f"`{name}`" for name in missing), "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"`{instance.id}` reads {names}, which {are} not computed",
            where=_place(instance),
            remedy=f"run first: recipe run {display(recipe.file, recipe.root)} " + " ".join(f"--until {name}" for name in missing),
        )
    error = plan.items[instance.id].error
    if error is not None:
        raise error
    manifests = {name: manifest for name in upstream if (manifest := plan.items[name].manifest) is not None}
    return planner.keyed(instance, manifests), instance


def _execute(recipe: Recipe, store: Store, keyed: Keyed, shown: Preview, offline: bool, listener: Listener) -> None:
    instance, began = shown.instance, time.monotonic()
    opened, executor, cancel = Opened(store), LocalExecutor(shown.scrubber, offline=offline), Cancel()

    def emit(event: events.Event) -> None:
        listener(msgspec.structs.replace(event, t=round(time.monotonic() - began, 3)))

    def hear(message: Mapping[str, Any]) -> None:
        if message["is"] == "fact":
            shown.facts[message["name"]] = {"value": message["value"], "unit": message["unit"]}
        elif message["is"] == "warning":
            shown.warnings.append(message["message"])
        told = {name: value for name, value in message.items() if name != "is"}
        emit(msgspec.convert({**told, "instance": instance.id, "event": message["is"]}, events.Told))

    def open_artifact(ref: str) -> Any:
        key, _, output = ref.partition("/")
        return store.artifact(opened.check(key), output)

    emit(events.Planned(states={instance.id: "waiting"}))
    asks = f"; it asks the {', the '.join(shown.asks)} for what is not on record, and keeps no answer" if shown.asks else ""
    emit(events.Started(instance=instance.id, why=f"a preview of {shown.count} {shown.items}{asks}"))
    for name in ("out", "scratch", "journal"):
        (shown.folder / name).mkdir()
    task = task_of(recipe, instance, keyed, shown.folder, store.path / "cache", offline)
    hold = os.open(shown.folder, os.O_RDONLY)
    try:
        for artifact in (artifact for artifacts in keyed.inputs.values() for artifact in artifacts):
            opened.check(artifact.ref.partition("/")[0])
        with closing(executor):
            ended = executor.execute(
                msgspec.structs.replace(task, preview=shown.count),
                lock=hold, log=shown.folder / "log", tell=hear, open_artifact=open_artifact, cancel=cancel,
            )  # fmt: skip
        shown.failure = ended.failure
        if ended.failure is not None and ended.failure.damaged:
            raise ArtifactDamaged(ended.failure.message, where=ended.failure.damaged)
    except ArtifactDamaged as error:
        raise StepError(
            f"an input of `{instance.id}` is damaged: {error.message}", where=error.where[:12],
            remedy=f"`recipe run {display(recipe.file, recipe.root)} --until {instance.step}` computes it again",
        ) from error  # fmt: skip
    finally:
        os.close(hold)
    state: events.State = "done" if shown.failure is None else "failed"
    message = None if shown.failure is None else shown.failure.message
    emit(events.Finished(instance=instance.id, state=state, seconds=round(time.monotonic() - began, 3), error=message))


def _place(instance: Instance) -> str:
    return f"{instance.where}  steps.{instance.step}"


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM and a closed terminal end the preview as ^C does, so that its folder is removed then too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    wanted = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
