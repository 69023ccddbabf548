"""Loads a recipe: reads, overlays, fills in references, wires, and checks. All problems are found before any is raised."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from runner.contract import Kind, Output, Resources, Struct, Upstream
from runner.errors import Problem, RecipeError, UsageError
from runner.recipe import checks, claims, faithful, pins
from runner.recipe.explain import convert
from runner.recipe.kinds import belongs, find_kind
from runner.recipe.language import Document
from runner.recipe.matrix import Matrix, in_words
from runner.recipe.model import Instance, Recipe, Ref
from runner.recipe.nodes import Node, deepest, dotted
from runner.recipe.overlay import Layers, display, inherit, suggest
from runner.recipe.problems import Findings
from runner.recipe.reader import Unreadable
from runner.recipe.references import Variables, mentioned, unread
from runner.recipe.wire import Draft, Step, Wiring


def load(file: Path, *, profiles: Sequence[str] = (), sets: Sequence[str] = (), locked: bool = True) -> Recipe:
    """The checked recipe of a file under overlays. Raises RecipeError with every problem, or UsageError for a wrong call.

    Without ``locked`` its lock file is not read, and hub revisions are as the recipe states them.
    """
    loader = Loader(file, locked=locked)
    recipe = loader.recipe(profiles, sets)
    if recipe is None:
        raise RecipeError(loader.findings.problems())
    return recipe


def validate(file: Path) -> list[Problem]:
    """Every problem of a recipe, plain and under each of its profiles, each named once."""
    loader = Loader(file)
    loader.recipe((), ())
    for profile in loader.profiles:
        loader.findings.under = profile
        loader.findings.own = loader.lines_of(profile)
        loader.recipe((profile,), ())
    return loader.findings.problems()


def find_root(file: Path) -> Path:
    """The project's root: the nearest folder upward that holds ``recipes/``."""
    start = Path(os.path.abspath(file)).parent
    for folder in (start, *start.parents):
        if (folder / "recipes").is_dir():
            return folder.resolve()
    raise UsageError(f"{file} lies in no project", remedy="a project is a folder with recipes/ in it, here or above")


class Loader:
    """One file, loaded under as many overlays as one likes. Problems gather in ``findings``."""

    def __init__(self, file: Path, *, locked: bool = True) -> None:
        self.locked = locked
        if file.is_dir():
            raise UsageError(f"{file} is a folder", remedy=f"name its recipes, as in {file}/*.yaml")
        if not file.is_file():
            raise UsageError(f"no such recipe: {file}", remedy=_nearest(file))
        self.root = find_root(file)
        self.file = file.resolve()
        self.findings = Findings()
        self.layers: Layers | None = None
        self._checks = checks.Checks(self.root, self.findings)
        try:
            self.layers = Layers(self.file, self.root, self.findings)
        except Unreadable:
            return
        checks.find_secrets([*self.layers.bodies, *(node for nodes in self.layers.profiles.values() for node in nodes)], self.findings)

    @property
    def profiles(self) -> list[str]:
        return list(self.layers.profiles) if self.layers is not None else []

    def lines_of(self, profile: str) -> set[tuple[str, int]]:
        """The lines, with their files, on which a profile stands."""
        nodes = self.layers.profiles[profile] if self.layers is not None else []
        parts = [part for node in nodes for _, part in node.walk()]
        places = [place for part in parts for place in (part.where, *part.keys.values())]
        return {(place.file, place.line) for place in places}

    def recipe(self, profiles: Sequence[str], sets: Sequence[str]) -> Recipe | None:
        """The recipe under overlays, or None when there are problems."""
        if self.layers is None:
            return None
        merged = self.layers.apply(profiles, sets)
        checks.find_secrets([merged], self.findings)
        overlays = [*(f"profile {name}" for name in profiles), *(self.findings.mask(f"--set {text}") for text in sets)]
        return _Build(self, self.layers, merged, overlays).recipe()

    @property
    def checks(self) -> checks.Checks:
        return self._checks


@dataclass
class _Converted:
    """The parameters of a step at one combination of the axes that it mentions."""

    node: Node
    params: Struct | None


@dataclass
class _Build:
    loader: Loader
    layers: Layers
    merged: Node
    overlays: list[str]
    drafts: dict[str, Draft] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    made: dict[str, tuple[Draft, Struct, Node]] = field(default_factory=dict)
    upstreams: dict[str, dict[str, list[Upstream]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.findings = self.loader.findings
        lock = self.loader.file.with_suffix(".lock")
        self.pins = pins.read(lock, self.loader.root, self.findings) if self.loader.locked else {}

    def recipe(self) -> Recipe | None:
        self.document = self._fill()
        kinds = {name: find_kind(step) for name, step in self._steps()}
        document = convert(Document, self.document, (), self.findings, belongs(self.document, kinds))
        matrix = Matrix(self.document.get("matrix"), self.findings)
        self._unread(matrix)
        wiring = Wiring(self._read_steps(kinds), matrix, self.findings)
        for step in list(wiring.steps.values()):
            if step.kind is not None:
                wiring.read_ports(step)
        for step in wiring.order():
            if step.kind is not None:
                self._instances(wiring, step, step.kind)
        if matrix.exclude and not len(self.findings):
            self._drop_unread({name for step in wiring.steps.values() for link in step.links for name in wiring.targets(link)})
        if document is not None:
            produced = [(draft, params) for draft, params, _ in self.made.values()]
            claims.check(document, self.document, produced, wiring, overlaid=bool(self.overlays))
            faithful.check_paths(self.layers.plain, self.findings)
        if len(self.findings) or document is None:
            return None
        return Recipe(
            file=self.loader.file,
            root=self.loader.root,
            name=document.name,
            title=document.title,
            document=self.document.data(),
            instances=self.instances,
            axes=matrix.all_labels(),
            overlays=tuple(self.overlays),
            pins=self.pins,
            outside=tuple(self._outside()),
            origins={dotted(path): node.origin for path, node in self.document.walk() if path and not node.is_map},
            authored=self.layers.plain.without("profiles", "extends").data(),
        )

    def _fill(self) -> Node:
        """The recipe with `like` and all references but the matrix's written out: it is a recipe again, and means the same."""
        variables = Variables(self.merged, self.findings)
        filled: dict[str, Node] = {}
        for key, node in self.merged.items():
            if key in ("profiles", "extends", "vars"):
                continue
            if key == "steps" and node.is_map:
                node = inherit(node, self.findings)
            filled[key] = variables.fill(node, (key,), matrix=key == "steps")
        if (given := self.merged.get("vars")) is not None and not given.is_map:
            filled["vars"] = given  # its type is reported with all others
        return self.merged.with_entries(filled)

    def _steps(self) -> list[tuple[str, Node]]:
        steps = self.document.get("steps")
        return list(steps.items()) if steps is not None else []

    def _read_steps(self, kinds: Mapping[str, Kind | None]) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for name, node in self._steps():
            kind = kinds[name]
            if kind is None:
                checks.unknown_kind(name, node, self.document, self.findings)
            if name == "none":
                self.findings.add(
                    self.document.value["steps"].keys[name], f"steps.{name}", "`none` names no step: it leaves an input empty"
                )
            shaped = all(part is None or part.is_map for part in (node, node.get("with"), node.get("resources")))
            steps[name] = Step(name, node, kind if shaped else None)
        return steps

    def _unread(self, matrix: Matrix) -> None:
        """Axes and variables that nothing reads, in the recipe or any of its profiles."""
        texts = [*self.layers.bodies, *(node for nodes in self.layers.profiles.values() for node in nodes), self.merged]
        each = {str(node.value) for _, step in self._steps() if (part := step.get("each")) is not None for node in part.elements()}
        for root, names in (("matrix", [axis for axis in matrix.values if axis not in each]), ("vars", self._variables())):
            for name in unread(names, root, texts):
                section = self.merged.value[root]
                near = suggest(name, [other for other in section.value if other != name])
                self.findings.add(section.keys[name], f"{root}.{name}", f"nothing reads `${{{root}.{name}}}`", hint=near)

    def _variables(self) -> list[str]:
        section = self.merged.get("vars")
        return [name for name, _ in section.items()] if section is not None else []

    def _instances(self, wiring: Wiring, step: Step, kind: Kind) -> None:
        given = step.node.get("with") or Node({}, step.node.where)
        mentions = mentioned(given)
        path = (*step.path, "with")
        hint = belongs(self.document, {step.name: kind})
        resources = self._resources(step, kind)
        cache: dict[tuple[str, ...], _Converted] = {}
        drafts = wiring.expand(step)
        whole = wiring.whole(step.name)
        if not drafts:  # nothing reaches the step: its parameters are checked all the same, at a few arms
            for arm in islice(wiring.matrix.arms(mentions), 20):
                convert(kind.params, wiring.fill(given, arm, path), path, self.findings, hint)
        for draft in drafts:
            arm = {axis: draft.axes[axis] for axis in mentions if axis in draft.axes}
            key = tuple(arm.values())
            if key not in cache:
                node = wiring.fill(given, arm, path)
                if not step.node.get("with"):
                    node = Node({}, step.node.keys.get("uses", step.node.where))

                def at(inner: tuple[str | int, ...], arm: Mapping[str, str] = arm) -> str:
                    text = deepest(given, inner)
                    return _at(arm, mentioned(text)) if isinstance(text.value, str) else ""

                cache[key] = _Converted(node, convert(kind.params, node, path, self.findings, hint, at))
            converted = cache[key]
            if converted.params is None:
                draft.sound = False
                continue
            params = pins.fill(kind, converted.params, self.pins)
            draft.outputs = kind.outputs(params)
            self._finish(wiring, draft, kind, params, converted.node, resources, _at(arm, arm) if whole else None)

    def _resources(self, step: Step, kind: Kind) -> Resources | None:
        node = step.node.get("resources")
        if node is None or mentioned(node):
            return kind.resources()
        found = convert(kind.resources, node, (*step.path, "resources"), self.findings, belongs(self.document, {step.name: kind}))
        return found if isinstance(found, Resources) else None

    def _finish(
        self, wiring: Wiring, draft: Draft, kind: Kind, params: Struct, node: Node, resources: Resources | None, at: str | None
    ) -> None:
        """Wire and check an instance. ``at`` is its arm in words, None while the step lacks arms that it ought to have."""
        inputs = wiring.resolve(draft)
        self.made[draft.id] = (draft, params, node)
        upstream = {port: [self._upstream(producer, name, output) for producer, name, output in links] for port, links in inputs.items()}
        self.upstreams[draft.id] = upstream
        sound = draft.sound and at is not None
        self.loader.checks.kind(draft.step.name, kind, params, node, upstream if sound else None, at or "")
        if resources is None or not sound:
            return
        self.instances[draft.id] = Instance(
            id=draft.id,
            step=draft.step.name,
            axes=draft.axes,
            kind=kind.name,
            params=params,
            resources=resources,
            inputs={port: [Ref(producer.id, output) for producer, output, _ in links] for port, links in inputs.items()},
            outputs=draft.outputs or {},
            where=self.document.value["steps"].keys[draft.step.name],
            upstream=upstream,
        )

    def _drop_unread(self, served: set[str]) -> None:
        """Drop what only excluded arms would have read: of the steps that others are wired to, the instances that nobody reads."""
        while True:
            read = {ref.instance for instance in self.instances.values() for refs in instance.inputs.values() for ref in refs}
            unread = [id for id, instance in self.instances.items() if instance.step in served and id not in read]
            if not unread:
                return
            for id in unread:
                del self.instances[id], self.made[id]

    def _upstream(self, producer: Draft, name: str, output: Output) -> Upstream:
        step = producer.step
        params = self.made[producer.id][1]
        return Upstream(step.name, step.kind.name if step.kind else "", params, output, producer.axes, self.upstreams[producer.id], name)

    def _outside(self) -> list[str]:
        found: dict[str, None] = {}
        for _, _, node in self.made.values():
            for _, part in node.walk():
                if part.outside and isinstance(part.value, str):
                    found[part.value] = None
        return list(found)


def _at(arm: Mapping[str, str], axes: Iterable[str]) -> str:
    words = in_words({axis: arm[axis] for axis in axes if axis in arm})
    return f"at {words}" if words else ""


def _nearest(file: Path) -> str:
    folder = file.parent if file.parent.is_dir() else Path()
    near = suggest(file.name, [path.name for path in folder.glob("*.yaml")]) or suggest(
        f"{file.name}.yaml", [p.name for p in folder.glob("*.yaml")]
    )
    if not near and Path("recipes").is_dir():
        near = suggest(f"{file.stem}.yaml", [path.name for path in Path("recipes").glob("*.yaml")])
    return near


def to_yaml(document: Mapping[str, Any]) -> str:
    """A recipe's data as YAML that this loader reads back to the same values."""
    from runner.recipe.write import dump

    return dump(msgspec.to_builtins(document))


__all__ = ["Loader", "display", "find_root", "load", "to_yaml", "validate"]
