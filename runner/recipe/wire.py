"""From steps to instances: which arms a step has, what each of them reads, and whether the artifacts fit the ports."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from runner.contract import MAIN, Kind, Output, Port
from runner.recipe.matrix import Matrix, agree, called, in_words
from runner.recipe.nodes import Node, Path, dotted
from runner.recipe.overlay import suggest
from runner.recipe.problems import Findings
from runner.recipe.references import fill_matrix, mentioned

MAX_INSTANCES = 2_000

#: Written in place of a step, it leaves an optional port empty.
NONE = "none"


class Link(msgspec.Struct):
    """One reference of a port: ``node`` holds its text, ``path`` its place in the recipe."""

    port: Port
    node: Node
    path: Path


class Step(msgspec.Struct):
    """A step as written: its kind and its links, before the matrix."""

    name: str
    node: Node
    kind: Kind | None
    links: list[Link] = []
    each: list[str] = []
    sound: bool = True

    @property
    def path(self) -> Path:
        return ("steps", self.name)


class Draft(msgspec.Struct):
    """An instance in the making. ``outputs`` is None while its parameters are not sound."""

    step: Step
    axes: dict[str, str]
    inputs: dict[str, list[tuple[Link, Draft, str]]]  # port -> link, producer, output as written ("" for the bare step)
    id: str
    outputs: Mapping[str, Output] | None = None
    sound: bool = True


class Wiring:
    """Reads the inputs of all steps and lays them out over the matrix."""

    def __init__(self, steps: Mapping[str, Step], matrix: Matrix, findings: Findings) -> None:
        self.steps, self.matrix, self.findings = steps, matrix, findings
        self.drafts: dict[str, list[Draft]] = {}
        self._dropped: set[tuple[str, str]] = set()  # links that close a cycle
        self._count = 0

    def read_ports(self, step: Step) -> None:
        """Bind what stands under ``from`` to the kind's ports."""
        given = step.node.get("from")
        assert step.kind is not None
        ports = step.kind.ports
        path = (*step.path, "from")
        if given is not None and not ports and (given.is_map or given.value is not None):
            self._bad(step, given, path, f"a step of kind `{step.kind.name}` takes no inputs")
            return
        if given is None:
            bound: dict[str, tuple[Node, Path]] = {}
        elif given.is_map:
            bound = {name: (node, (*path, name)) for name, node in given.items()}
        else:
            bound = {ports[0].name: (given, path)}
        for name, (node, at) in bound.items():
            port = step.kind.port(name)
            if port is None:
                assert given is not None
                known = [port.name for port in ports]
                hint = suggest(name, known) or f"kind `{step.kind.name}` has the ports {_listed(known)}"
                self.findings.add(given.keys[name], dotted(at), f"there is no port `{name}`", hint=hint)
                step.sound = False
            elif node.is_list and port.arity == "one":
                hint = (
                    f"ports are bound by name: {', '.join(f'{port.name}: STEP' for port in ports)}"
                    if given is node and len(ports) > 1
                    else ""
                )
                self._bad(step, node, at, f"a list, but the port `{port.name}` takes one artifact", hint)
            elif node.is_list:
                step.links += [Link(port, element, (*at, index)) for index, element in enumerate(node.elements())]
            else:
                step.links.append(Link(port, node, at))
        for port in ports:
            if port.required and port.name not in bound:
                article = with_article(port.type)
                self.findings.add(
                    step.node.keys.get("from", step.node.where),
                    dotted((*path, port.name)),
                    f"the port `{port.name}` is not bound",
                    hint=f"it takes {article}",
                )
                step.sound = False
        self._read_each(step)

    def _read_each(self, step: Step) -> None:
        each = step.node.get("each")
        gathers = any(link.port.arity == "gather" for link in step.links)
        for index, node in enumerate(each.elements() if each is not None else ()):
            path = (*step.path, "each", index)
            if not gathers:
                self._bad(step, node, path, "only a step that gathers arms has groups")
            elif node.value not in self.matrix.values:
                self._bad(step, node, path, f"there is no axis `{node.value}`", suggest(str(node.value), self.matrix.values))
            else:
                step.each.append(node.value)

    def order(self) -> list[Step]:
        """The steps, each after those that it reads. A cycle is reported, and cut where it closes."""
        done: dict[str, Step] = {}

        def visit(name: str, trail: tuple[str, ...]) -> None:
            step = self.steps[name]
            for link in step.links:
                for target in self.targets(link):
                    if target in (*trail, name):
                        circle = " -> ".join([*(*trail, name)[(*trail, name).index(target) :], target])
                        self.findings.add(link.node.where, dotted(link.path), f"the steps read each other in a circle: {circle}")
                        self._dropped.add((name, target))
                    elif target in self.steps and target not in done:
                        visit(target, (*trail, name))
            done[name] = step

        for name in self.steps:
            if name not in done:
                visit(name, ())
        return list(done.values())

    def targets(self, link: Link) -> list[str]:
        """The steps that a link may mean, over all values of the axes that it mentions."""
        names: dict[str, None] = {}
        for _, text in self._texts(link):
            if isinstance(text.value, str):
                names[text.value.partition(".")[0]] = None
        return list(names)

    def whole(self, name: str) -> bool:
        """Whether a step and all that it reads could be laid out, so that it has all the arms that it ought to have."""
        waiting, seen = [name], {name}
        while waiting:
            step = self.steps.get(waiting.pop())
            if step is None or step.kind is None or not (step.sound and self.matrix.sound):
                return False
            if any(axis not in self.matrix.values for axis in mentioned(step.node)):
                return False
            reads = {target for link in step.links for target in self.targets(link) if target != NONE} - seen
            waiting += reads
            seen |= reads
        return True

    def _texts(self, link: Link) -> Iterator[tuple[dict[str, str], Node]]:
        for arm in self._combinations(mentioned(link.node)):
            yield arm, self.fill(link.node, arm, link.path)

    def _combinations(self, axes: Sequence[str]) -> Iterator[dict[str, str]]:
        names = self.matrix.ordered(axes)
        for labels in itertools.product(*(self.matrix.values[axis] for axis in names)):
            yield dict(zip(names, labels, strict=True))

    def fill(self, node: Node, axes: Mapping[str, str], path: Path) -> Node:
        """A part of a step with the matrix filled in for one arm."""
        values = {axis: self.matrix.values[axis][label] for axis, label in axes.items()}
        return fill_matrix(node, values, axes, path, self.findings)

    def expand(self, step: Step) -> list[Draft]:
        """The instances of a step: one for each arm that it mentions, joined with the arms of what it reads."""
        parts = [node for name in ("with", "from") if (node := step.node.get(name)) is not None]
        mentions = [axis for part in parts for axis in mentioned(part)]
        self._resources(step)
        drafts: list[Draft] = []
        for arm in self.matrix.arms(mentions):
            for axes, inputs in self._joined(step, arm):
                axes = self.matrix.place(axes)
                drafts.append(Draft(step, axes, inputs, called(step.name, axes)))
                self._count += 1
                if self._count > MAX_INSTANCES:
                    self.findings.add(step.node.where, dotted(step.path), f"the recipe has more than {MAX_INSTANCES} step instances")
                    return []
        drafts.sort(key=lambda draft: self.matrix.sort_key(draft.axes))
        if not drafts and step.sound and self.matrix.sound:
            reads = [target for link in step.links for target in self.targets(link)]
            if all(self.drafts.get(target) for target in reads if target != NONE):
                self.findings.add(
                    step.node.where,
                    dotted(step.path),
                    "no arm of the matrix reaches this step",
                    hint="its inputs share no arm that is allowed" if step.links else "",
                )
        self.drafts[step.name] = drafts
        return drafts

    def _resources(self, step: Step) -> None:
        resources = step.node.get("resources")
        if resources is not None and (axes := mentioned(resources)):
            where = step.node.keys["resources"]
            self.findings.add(
                where, dotted((*step.path, "resources")), f"reads `${{matrix.{axes[0]}}}`", "the same resources for every arm"
            )

    def _joined(self, step: Step, arm: dict[str, str]) -> Iterator[tuple[dict[str, str], dict[str, list[tuple[Link, Draft, str]]]]]:
        combos: list[tuple[dict[str, str], dict[str, list[tuple[Link, Draft, str]]]]] = [(arm, {})]
        gathered: list[tuple[Link, str, str]] = []
        for link in step.links:
            target = self._target(step, link, arm)
            if target is None:
                continue
            name, output = target
            if link.port.arity == "gather":
                gathered.append((link, name, output))
                continue
            joined = []
            for axes, inputs in combos:
                for draft in self.drafts[name]:
                    if agree(axes, draft.axes) and self.matrix.allowed(both := {**axes, **draft.axes}):
                        joined.append((both, {**inputs, link.port.name: [*inputs.get(link.port.name, []), (link, draft, output)]}))
            combos = joined
        for axes, inputs in combos:
            yield from self._gathered(step, axes, inputs, gathered)

    def _gathered(
        self, step: Step, axes: dict[str, str], inputs: dict[str, list[tuple[Link, Draft, str]]], gathered: list[tuple[Link, str, str]]
    ) -> Iterator[tuple[dict[str, str], dict[str, list[tuple[Link, Draft, str]]]]]:
        if not gathered:
            yield axes, inputs
            return
        arms = [(link, draft, output) for link, name, output in gathered for draft in self.drafts[name] if agree(axes, draft.axes)]
        carried = {axis for _, draft, _ in arms for axis in draft.axes}
        for axis in step.each:
            if axis not in carried and arms:
                names = _listed(sorted({name for _, name, _ in gathered}))
                each = step.node.value["each"]
                self._bad(step, each, (*step.path, "each"), f"no arm of {names} carries the axis `{axis}`")
                return
        labels = [[label for label in self.matrix.values[axis] if any(d.axes.get(axis) == label for _, d, _ in arms)] for axis in step.each]
        for chosen in itertools.product(*labels):
            group = {**axes, **dict(zip(step.each, chosen, strict=True))}
            bound: dict[str, list[tuple[Link, Draft, str]]] = {}
            for link, draft, output in arms:
                if agree(group, draft.axes):
                    bound.setdefault(link.port.name, []).append((link, draft, output))
            if bound and agree(axes, group) and self.matrix.allowed(group):
                yield group, {**inputs, **bound}

    def _target(self, step: Step, link: Link, arm: Mapping[str, str]) -> tuple[str, str] | None:
        """The step and output that a link names at an arm. None where there is nothing to read, or nothing sound."""
        node = self.fill(link.node, arm, link.path)
        path = dotted(link.path)
        read = {axis: arm[axis] for axis in mentioned(link.node) if axis in arm}
        at = f" at {in_words(read)}" if read else ""
        if node.value is None or node.value == NONE:
            if link.port.required and link.port.arity == "one":
                self.findings.add(link.node.where, path, f"the port `{link.port.name}` must be bound, but is empty{at}")
                step.sound = False
            return None
        if not isinstance(node.value, str):
            step.sound = False
            if self.findings.at(link.node.where):
                return None
            self._bad(step, link.node, link.path, f"is {node.data()!r}{at}", hint="inputs are named: `step` or `step.output`")
            return None
        if "${" in node.value:  # a reference that reads nothing, and is reported as that
            step.sound = False
            return None
        name, _, output = node.value.partition(".")
        if name not in self.steps:
            self._bad(step, link.node, link.path, f"there is no step `{name}`{at}", suggest(name, self.steps))
            return None
        if (step.name, name) in self._dropped or name == step.name or not self.drafts.get(name):
            step.sound = False
            return None
        return name, output

    def resolve(self, draft: Draft) -> dict[str, list[tuple[Draft, str, Output]]]:
        """The inputs of an instance with their outputs, types and forms checked. What does not fit is reported."""
        bound: dict[str, list[tuple[Draft, str, Output]]] = {}
        for port, links in draft.inputs.items():
            for link, producer, written in links:
                if producer.outputs is None:
                    draft.sound = False
                    continue
                output = self._output(link, producer, written)
                if output is None or not self._fits(link, producer, written, producer.outputs[output]):
                    draft.sound = False
                    continue
                bound.setdefault(port, []).append((producer, output, producer.outputs[output]))
        return bound

    def _output(self, link: Link, producer: Draft, written: str) -> str | None:
        assert producer.outputs is not None
        names = list(producer.outputs)
        if not written:
            if MAIN in names or len(names) == 1:
                return MAIN if MAIN in names else names[0]
            wanted = _listed([f"{producer.step.name}.{name}" for name in names])
            self.findings.add(link.node.where, dotted(link.path), f"`{producer.step.name}` has several outputs", f"one of {wanted}")
            return None
        if written not in names:
            hint = suggest(written, names) or f"it has {_listed(names)}"
            self.findings.add(link.node.where, dotted(link.path), f"`{producer.step.name}` has no output `{written}`", hint=hint)
            return None
        return written

    def _fits(self, link: Link, producer: Draft, written: str, output: Output) -> bool:
        port = link.port
        name = producer.step.name + (f".{written}" if written else "")
        if output.type != port.type:
            found = f"expects {with_article(port.type)}, but `{name}` holds {with_article(output.type)}"
        elif port.forms and output.form not in port.forms:
            forms = " or ".join(port.forms)
            found = f"expects {with_article(f'{forms} {port.type}')}, but `{name}` holds {with_article(f'{output.form} {output.type}')}"
        else:
            return True
        hint = ""
        if (axes := mentioned(link.node)) and isinstance(link.node.value, str):
            arms = [arm for arm, text in self._texts(link) if text.value == name and arm.keys() == set(axes)]
            hint = f"at {in_words(arms[0])}" if arms else ""
        self.findings.add(link.node.where, dotted(link.path), found, hint=hint)
        return False

    def _bad(self, step: Step, node: Node, path: Path, found: str, hint: str = "") -> None:
        self.findings.add(node.where, dotted(path), found, hint=hint)
        step.sound = False


def with_article(noun: str) -> str:
    """``a model``, ``an index``; plurals (``chunks``) have none."""
    if noun.endswith("s"):
        return noun
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else "none"
