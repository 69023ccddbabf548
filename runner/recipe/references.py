"""``${...}``: reads ``vars``, ``recipe`` and ``matrix`` values, and nothing else. ``$${`` is a literal ``${``.

It happens in two passes. The first fills in ``vars`` and ``recipe`` in the whole recipe, and leaves ``${matrix...}`` and
``$${`` as they are, so that its result is a recipe again. The second fills in the matrix, once for every instance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from runner.errors import Where
from runner.recipe.nodes import Node, Path, dotted
from runner.recipe.overlay import suggest
from runner.recipe.problems import Findings

_TOKEN = re.compile(r"\$\$\{|\$\{([^${}]*)\}|\$\{")
_ROOTS = ("vars", "matrix", "recipe")

#: What a recipe can read of itself.
_OWN = ("name", "title", "source")


def spelled(value: Any) -> str:
    """A scalar as text: as an axis label, and inside of a longer string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def mentioned(node: Node, root: str = "matrix") -> list[str]:
    """The names read below ``root`` anywhere in a tree, in the order of the text: ``["model"]`` for ``${matrix.model.id}``."""
    names: dict[str, None] = {}
    for text in node.texts():
        if "${" in text:
            for match in _TOKEN.finditer(text):
                steps = (match.group(1) or "").strip().split(".")
                if steps[0] == root and len(steps) > 1:
                    names[steps[1]] = None
    return list(names)


class Variables:
    """The first pass: ``vars`` and ``recipe``."""

    def __init__(self, recipe: Node, findings: Findings) -> None:
        self.recipe, self.findings = recipe, findings
        self.vars = recipe.get("vars")
        self._open: list[str] = []
        axes = recipe.get("matrix")
        self.axes = [name for name in axes.value if name not in ("include", "exclude")] if axes is not None and axes.is_map else []

    def fill(self, node: Node, path: Path, *, matrix: bool = False) -> Node:
        """The tree with references filled in. ``matrix``: whether this part of the recipe may read the matrix."""
        if node.is_map:
            return node.with_entries({key: self.fill(below, (*path, key), matrix=matrix) for key, below in node.items()})
        if node.is_list:
            return replace(node, value=[self.fill(below, (*path, index), matrix=matrix) for index, below in enumerate(node.elements())])
        if not isinstance(node.value, str) or "${" not in node.value:
            return node

        def value(reference: str, where: Where) -> Node | None:
            return self._value(reference, where, path, matrix)

        return _filled(node, path, value, self.findings, keep_escapes=True)

    def _value(self, reference: str, where: Where, path: Path, matrix: bool) -> Node | None:
        root, *names = reference.split(".")
        at = dotted(path)
        if root == "matrix" and names:
            if not matrix:
                self.findings.add(where, at, f"`${{{reference}}}` is read where there is no arm", "`vars` or `recipe`")
            elif names[0] not in self.axes:
                self.findings.add(where, at, f"there is no axis `{names[0]}`", hint=suggest(names[0], self.axes))
            return None
        if root == "recipe" and names and names[0] in _OWN:
            return self._follow(self.recipe, names, reference, where, at)
        if root == "vars" and names:
            return self._follow(self.vars, names, reference, where, at)
        if root in ("env", "secrets"):
            hint = "there is no environment here; secrets are named by `api_key_env`"
        else:
            hint = suggest(root, _ROOTS) or suggest(reference, [f"vars.{name}" for name, _ in (self.vars.items() if self.vars else ())])
        self.findings.add(where, at, f"`${{{reference}}}` reads nothing", "`vars.NAME`, `matrix.AXIS` or `recipe.name`", hint)
        return None

    def _follow(self, start: Node | None, names: list[str], reference: str, where: Where, at: str) -> Node | None:
        if reference in self._open:
            self.findings.add(where, at, "the value reads itself: " + " -> ".join([*self._open, reference]))
            return None
        node = start
        for depth, name in enumerate(names):
            below = node.get(name) if node is not None else None
            if below is None:
                known = [key for key, _ in node.items()] if node is not None else []
                full = ".".join([reference.split(".")[0], *names[: depth + 1]])
                self.findings.add(where, at, f"there is no `{full}`", hint=suggest(name, known))
                return None
            node = below
        assert node is not None
        self._open.append(reference)
        try:
            return self.fill(node, tuple(reference.split(".")), matrix=True)
        finally:
            self._open.pop()


def fill_matrix(node: Node, values: Mapping[str, Node], labels: Mapping[str, str], path: Path, findings: Findings) -> Node:
    """The second pass, for one arm: ``values`` and ``labels`` by axis. Escapes become literal."""
    if node.is_map:
        return node.with_entries({key: fill_matrix(below, values, labels, (*path, key), findings) for key, below in node.items()})
    if node.is_list:
        return replace(
            node, value=[fill_matrix(below, values, labels, (*path, index), findings) for index, below in enumerate(node.elements())]
        )
    if not isinstance(node.value, str) or "${" not in node.value:
        return node

    def value(reference: str, where: Where) -> Node | None:
        root, axis, *names = [*reference.split("."), ""] if "." not in reference else reference.split(".")
        if root != "matrix":
            return None  # reported by the first pass
        found = values.get(axis)
        for name in names:
            below = found.get(name) if found is not None else None
            if found is not None and below is None:
                known = [key for key, _ in found.items()]
                findings.add(where, dotted(path), f"`{axis}` has no `{name}` at {axis}={labels[axis]}", hint=suggest(name, known))
            found = below
        if found is not None and found.is_map and not names:
            whole = node.value == f"${{{reference}}}"
            return found.without("name") if whole else replace(found, value=labels[axis])
        return found

    return _filled(node, path, value, findings, keep_escapes=False)


def _filled(node: Node, path: Path, value: Callable[[str, Where], Node | None], findings: Findings, *, keep_escapes: bool) -> Node:
    """A string with its references replaced. A string that is only a reference takes the value with its type."""
    text: str = node.value
    whole = _TOKEN.fullmatch(text)
    if whole is not None and whole.group(1) is not None:
        found = value(whole.group(1).strip(), node.where)
        return node if found is None else _moved(found, node)
    pieces, end, outside = [], 0, node.outside
    for match in _TOKEN.finditer(text):
        pieces.append(text[end : match.start()])
        end = match.end()
        if match.group() == "$${":
            pieces.append("$${" if keep_escapes else "${")
            continue
        if match.group(1) is None:
            findings.add(node.where, dotted(path), "`${` is not closed", "`${vars.name}`, or `$${` for a literal `${`")
            pieces.append(match.group())
            continue
        found = value(match.group(1).strip(), _inside(node, match.group(), findings))
        if found is None:
            pieces.append(match.group())
        elif found.is_map or found.is_list or found.value is None:
            what = "a map" if found.is_map else "a list" if found.is_list else "null"
            findings.add(node.where, dotted(path), f"`{match.group()}` is {what}, and stands inside of a text", "a scalar")
        else:
            pieces.append(spelled(found.value))
            outside = outside or found.outside or found.layer == "--set"
    pieces.append(text[end:])
    return replace(node, value="".join(pieces), outside=outside)


def _moved(found: Node, to: Node) -> Node:
    """A value that was read, at the place of the reference; what lies below it keeps its own place."""
    return replace(found, where=to.where, layer=to.layer or found.layer, outside=found.outside)


def _inside(node: Node, token: str, findings: Findings) -> Where:
    """The place of a reference inside of a string, where it can be told."""
    lines = findings.lines.get(node.where.file, [])
    if 0 < node.where.line <= len(lines):
        column = lines[node.where.line - 1].find(token, node.where.column - 1)
        if column >= 0:
            return Where(node.where.file, node.where.line, column + 1, len(token))
    return node.where


def unread(names: Iterable[str], root: str, texts: Iterable[Node]) -> list[str]:
    """The names below ``root`` that none of the trees reads."""
    read = {name for tree in texts for name in mentioned(tree, root)}
    return [name for name in names if name not in read]
