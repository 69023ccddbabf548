"""What a run would do: each instance cached, to run, dependent on upstream, or blocked, and why, in words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runner import steps
from runner.contract import Artifact, HubUse
from runner.engine.compare import explain
from runner.engine.history import History
from runner.engine.keys import Parts, key_of, parts_of
from runner.engine.manifest import Manifest
from runner.engine.sources import Sources
from runner.engine.store import Store
from runner.errors import ArtifactDamaged, RunnerError, UsageError
from runner.recipe.model import Instance, Recipe
from runner.recipe.overlay import display

State = Literal["cached", "run", "depends", "blocked"]


@dataclass(frozen=True)
class Planned:
    """An instance, what would become of it, and why. ``hub`` lists what would be fetched if it is not on this machine."""

    instance: Instance
    state: State
    why: str
    key: str | None = None
    hub: Sequence[HubUse] = ()
    error: RunnerError | None = None
    manifest: Manifest | None = field(default=None, repr=False)

    @property
    def blocked(self) -> bool:
        return self.state == "blocked"


@dataclass(frozen=True)
class Plan:
    """The instances that a run would look at, in running order."""

    items: Mapping[str, Planned]

    def __iter__(self) -> Iterator[Planned]:
        return iter(self.items.values())

    def count(self, state: State) -> int:
        return sum(item.state == state for item in self.items.values())

    def problems(self) -> list[RunnerError]:
        """Why the run cannot begin, each thing once."""
        unique: dict[str, RunnerError] = {}
        for item in self.items.values():
            if item.error is not None:
                unique.setdefault(str(item.error), item.error)
        return list(unique.values())


@dataclass(frozen=True)
class Options:
    """What a call asks for beyond the recipe."""

    only: str | Sequence[str] | None = None
    until: str | Sequence[str] | None = None
    force: Sequence[str] = ()
    offline: bool = False
    unpinned: bool = False


@dataclass(frozen=True)
class Keyed:
    """An instance whose inputs are there: its key, what the key was hashed from, and the artifact if it is there."""

    key: str
    whole: Mapping[str, object]
    parts: Parts
    inputs: Mapping[str, Sequence[Artifact]]
    missing: Sequence[str]
    manifest: Manifest | None
    damage: ArtifactDamaged | None


class Planner:
    """Works out keys and states. ``lease`` is called with every key before the store is asked for it."""

    def __init__(self, recipe: Recipe, store: Store, options: Options) -> None:
        self.recipe, self.store, self.options = recipe, store, options
        self.history = History(store, recipe.name)
        self.sources = Sources(recipe.root, recipe.outside)
        self.selected, self.alone = select(recipe, options)
        self.forced = {name for step in options.force for name in matching(recipe, step)}
        self.lease: Callable[[str], None] = lambda key: None

    def look_before(self, run: str) -> None:
        """Leave this run and later ones out when earlier ones are compared with."""
        self.history = History(self.store, self.recipe.name, run)

    def plan(self) -> Plan:
        items: dict[str, Planned] = {}
        for name in self.selected:
            items[name] = self._planned(self.recipe.instances[name], items)
        return Plan(items)

    def keyed(self, instance: Instance, manifests: Mapping[str, Manifest], *, fresh: bool = False) -> Keyed:
        """The key of an instance whose inputs' manifests are given; ids missing there are arms that a gatherer goes without.

        ``fresh`` hashes the source files again.
        """
        sources = Sources(self.recipe.root, self.recipe.outside) if fresh else self.sources
        parts = parts_of(self.recipe, instance, steps.kind(instance.kind), sources)
        refs = {port: [ref for ref in refs if ref.instance in manifests] for port, refs in instance.inputs.items()}
        inputs = {port: [self._artifact(ref.instance, ref.output, manifests) for ref in found] for port, found in refs.items()}
        missing = list(dict.fromkeys(ref.instance for refs in instance.inputs.values() for ref in refs if ref.instance not in manifests))
        whole = parts.whole(inputs, missing)
        key = key_of(whole)
        self.lease(key)
        try:
            return Keyed(key, whole, parts, inputs, missing, self.store.find(key), None)
        except ArtifactDamaged as error:
            return Keyed(key, whole, parts, inputs, missing, None, error)

    def why(self, instance: Instance, keyed: Keyed) -> str:
        """Why an instance has to run, in words."""
        if instance.id in self.forced:
            return "forced"
        if keyed.damage is not None:
            return f"its artifact is damaged: {keyed.damage.message}"
        return "; ".join(explain(self.history, self.store, instance.id, keyed.whole, keyed.parts, keyed.key))

    def _planned(self, instance: Instance, items: Mapping[str, Planned]) -> Planned:
        upstream = list(dict.fromkeys(ref.instance for refs in instance.inputs.values() for ref in refs))
        try:
            if blocked := [name for name in upstream if items[name].blocked]:
                return Planned(instance, "blocked", f"on {named(self.recipe, blocked)}")
            if waiting := [name for name in upstream if items[name].manifest is None or items[name].state != "cached"]:
                parts = parts_of(self.recipe, instance, steps.kind(instance.kind), self.sources)
                why = [f"on {named(self.recipe, waiting)}", *explain(self.history, self.store, instance.id, parts.own, parts, None)]
                return self._allowed(Planned(instance, "depends", "; ".join(why), hub=parts.hub), parts)
            keyed = self.keyed(instance, {name: m for name in upstream if (m := items[name].manifest)})
        except RunnerError as error:
            return Planned(instance, "blocked", error.message, error=error)
        if keyed.manifest is not None and instance.id not in self.forced:
            return Planned(instance, "cached", "", keyed.key, manifest=keyed.manifest)
        return self._allowed(Planned(instance, "run", self.why(instance, keyed), keyed.key, keyed.parts.hub), keyed.parts)

    def _allowed(self, planned: Planned, parts: Parts) -> Planned:
        """The same, or blocked when the call does not allow what the instance would do."""
        place = f"{planned.instance.where}  steps.{planned.instance.step}"
        error: UsageError | None = None
        loose = [use.id for use in planned.hub if not use.pinned]
        if self.alone and planned.instance.id not in self.alone:
            error = UsageError(
                f"`{planned.instance.id}` has not been computed, and --only leaves it out",
                where=place,
                remedy=f"compute it with --until {planned.instance.step}, or take --until instead of --only",
            )
        elif loose and not self.options.unpinned:
            file = display(self.recipe.file, self.recipe.root)
            error = UsageError(
                f"{', '.join(loose)} has no pinned revision",
                where=place,
                remedy=f"`recipe pin {file}` writes it to the lock file; --unpinned runs with whatever the hub gives today, and records it",
            )
        elif self.options.offline and (needs := list(parts.kind.network(parts.params))):
            error = UsageError(f"the step needs {', '.join(needs)}, and --offline refuses it", where=place, remedy="run without --offline")
        return planned if error is None else Planned(planned.instance, "blocked", error.message, planned.key, planned.hub, error)

    def _artifact(self, name: str, output: str, manifests: Mapping[str, Manifest]) -> Artifact:
        instance = self.recipe.instances[name]
        return self.store.artifact(manifests[name], output, instance.step, instance.axes)


def plan(
    recipe: Recipe,
    store: Store,
    *,
    only: str | Sequence[str] | None = None,
    until: str | Sequence[str] | None = None,
    force: Sequence[str] = (),
    offline: bool = False,
    unpinned: bool = False,
) -> Plan:
    """What a run would do. Reads the store and the source files, writes nothing, needs no network and no heavy library.

    UsageError for a step that the recipe does not have.
    """
    return Planner(recipe, store, Options(only, until, force, offline, unpinned)).plan()


def select(recipe: Recipe, options: Options) -> tuple[list[str], set[str]]:
    """The instances to look at, in running order, and (for ``only``) those that alone may run; empty means all may."""
    only = {name for step in _listed(options.only) for name in matching(recipe, step)}
    targets = only | {name for step in _listed(options.until) for name in matching(recipe, step)}
    needed = set(targets or recipe.instances)
    for name in reversed(list(recipe.instances)):
        if name in needed:
            needed.update(ref.instance for refs in recipe.instances[name].inputs.values() for ref in refs)
    return [name for name in recipe.instances if name in needed], only


def matching(recipe: Recipe, name: str) -> list[str]:
    """The instances of a step, or those of its arms that have the labels in ``step[axis=label,...]``. UsageError when there is none."""
    step, _, labels = name.removesuffix("]").partition("[")
    wanted = {label.strip() for label in labels.split(",")} - {""}
    arms = {key: instance.axes for key, instance in recipe.instances.items() if instance.step == step}
    found = [key for key, axes in arms.items() if wanted <= {f"{axis}={label}" for axis, label in axes.items()}]
    where = display(recipe.file, recipe.root)
    if not arms:
        close = difflib.get_close_matches(step, recipe.steps(), 1)
        remedy = f"did you mean `{close[0]}`?" if close else f"its steps are {', '.join(recipe.steps())}"
        raise UsageError(f"the recipe has no step `{step}`", where=where, remedy=remedy)
    if not found:
        known: dict[str, dict[str, None]] = {}
        for axes in arms.values():
            for axis, label in axes.items():
                known.setdefault(axis, {})[label] = None
        remedy = "; ".join(f"{axis}: {', '.join(labels)}" for axis, labels in known.items())
        raise UsageError(f"`{step}` has no arm {', '.join(sorted(wanted))}", where=where, remedy=remedy or "it has just one, without axes")
    return found


def named(recipe: Recipe, instances: Sequence[str]) -> str:
    """Instances in words; many arms of one step as their number."""
    steps: dict[str, list[str]] = {}
    for name in instances:
        steps.setdefault(recipe.instances[name].step, []).append(name)
    return ", ".join(f"{len(arms)} arms of {step}" if len(arms) > 3 else ", ".join(arms) for step, arms in steps.items())


def _listed(names: str | Sequence[str] | None) -> Sequence[str]:
    return [names] if isinstance(names, str) else names or ()
