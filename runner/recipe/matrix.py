"""The matrix: named axes, the arms that are allowed, and how arms are called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.recipe.nodes import Node
from runner.recipe.overlay import suggest
from runner.recipe.problems import Findings
from runner.recipe.references import fill_matrix, spelled

#: What an axis label may look like: it names arms, and with them folders and log files.
LABEL = re.compile(r"[\w+%-][\w.+%-]{0,99}")

Arm = Mapping[str, str]


class Matrix:
    """Axes with their labels and values, and the rules that drop and add arms."""

    def __init__(self, node: Node | None, findings: Findings) -> None:
        self.findings = findings
        self.values: dict[str, dict[str, Node]] = {}  # axis -> label -> value, those that only `include` names as well
        self.labels: dict[str, list[str]] = {}  # axis -> the labels that are listed
        self.exclude: list[dict[str, str]] = []
        self.include: list[dict[str, str]] = []
        self.sound = True
        if node is None or not node.is_map:
            return
        before = findings.said
        for axis, values in node.items():
            if axis not in ("include", "exclude"):
                self._axis(axis, values)
        for name, rules in (("include", self.include), ("exclude", self.exclude)):
            entries = node.get(name)
            for index, entry in enumerate(entries.elements() if entries is not None else ()):
                rule = self._rule(f"matrix.{name}[{index}]", entry, adds=name == "include")
                if rule:
                    rules.append(rule)
        for axis, labels in self.values.items():
            if not labels and node.value[axis].value == []:
                findings.add(node.keys[axis], f"matrix.{axis}", "the axis has no values", "a list of scalars, steps, or maps with a `name`")
        self.sound = findings.said == before and all(values.is_list for _, values in node.items())

    def _axis(self, axis: str, values: Node) -> None:
        self.values[axis], self.labels[axis] = {}, []
        for index, value in enumerate(values.elements()):
            path = f"matrix.{axis}[{index}]"
            label = self._label(value, path)
            if label is None:
                continue
            if label in self.values[axis]:
                self.findings.add(value.where, path, f"the axis already has a value named `{label}`")
                continue
            self.values[axis][label] = fill_matrix(value, {}, {}, ("matrix", axis, index), self.findings)
            self.labels[axis].append(label)

    def _label(self, value: Node, path: str) -> str | None:
        named = value
        if value.is_map:
            name = value.get("name")
            if name is None or name.is_map or name.is_list or name.value is None:
                self.findings.add(value.where, path, "a map without a `name`", "a `name`: arms are called by it")
                return None
            named = name
        elif value.is_list or value.value is None:
            hint = "" if value.is_list else "write `none` to leave an optional input empty"
            self.findings.add(value.where, path, "a list" if value.is_list else "null", "a scalar, a step, or a map with a `name`", hint)
            return None
        label = spelled(named.value)
        if not LABEL.fullmatch(label):
            hint = "such as `{name: ..., id: ...}`, read as `${matrix.axis.id}`"
            self.findings.add(
                named.where, path, f"`{label}` cannot name an arm", "letters, digits and `_ . + % -`, or a map with such a `name`", hint
            )
            return None
        return label

    def _rule(self, path: str, entry: Node, *, adds: bool) -> dict[str, str]:
        rule: dict[str, str] = {}
        if not entry.is_map:
            self.findings.add(entry.where, path, "is not a map", "axis: label")
            return {}
        for axis, value in entry.items():
            at = f"{path}.{axis}"
            if axis not in self.values:
                self.findings.add(entry.keys[axis], at, f"there is no axis `{axis}`", hint=suggest(axis, self.values))
                continue
            label = self._label(value, at)
            if label is None:
                continue
            if label not in self.values[axis]:
                if not adds:
                    hint = suggest(label, self.values[axis]) or f"it has {', '.join(self.values[axis])}"
                    self.findings.add(value.where, at, f"the axis has no value `{label}`", hint=hint)
                    continue
                self.values[axis][label] = fill_matrix(value, {}, {}, (), self.findings)
            rule[axis] = label
        return rule

    def allowed(self, arm: Arm) -> bool:
        """Whether an arm, or a part of one, may exist: all labels listed and nothing excluded, or within an included arm."""
        listed = all(label in self.labels[axis] for axis, label in arm.items())
        if listed and not any(_within(rule, arm) for rule in self.exclude):
            return True
        return any(_within(arm, rule) for rule in self.include)

    def arms(self, axes: Iterable[str]) -> Iterator[dict[str, str]]:
        """Every allowed combination of the axes' labels, in the order of the matrix."""
        names = self.ordered(axes)
        for labels in itertools.product(*(self.values[axis] for axis in names)):
            arm = dict(zip(names, labels, strict=True))
            if self.allowed(arm):
                yield arm

    def ordered(self, axes: Iterable[str]) -> list[str]:
        wanted = set(axes)
        return [axis for axis in self.values if axis in wanted]

    def sort_key(self, arm: Arm) -> tuple[int, ...]:
        return tuple(list(labels).index(arm[axis]) if axis in arm else -1 for axis, labels in self.values.items())

    def place(self, arm: Arm) -> dict[str, str]:
        """The arm with its axes in the order of the matrix."""
        return {axis: arm[axis] for axis in self.values if axis in arm}

    def all_labels(self) -> dict[str, Sequence[str]]:
        return {axis: list(labels) for axis, labels in self.values.items()}


def agree(one: Arm, other: Arm) -> bool:
    """Whether two arms have the same label on every axis that they share."""
    return all(other.get(axis, label) == label for axis, label in one.items())


def _within(part: Arm, whole: Arm) -> bool:
    return all(whole.get(axis) == label for axis, label in part.items())


def called(step: str, arm: Arm) -> str:
    """``answers[system=gguf,rag=index]``."""
    return f"{step}[{','.join(f'{axis}={label}' for axis, label in arm.items())}]" if arm else step


def in_words(arm: Arm) -> str:
    return " ".join(f"{axis}={label}" for axis, label in arm.items())
