"""A YAML document as a tree whose every key and value knows its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from runner.errors import Where

Path = tuple[str | int, ...]


class Node(msgspec.Struct, frozen=True):
    """A scalar, a list of nodes, or a map of nodes with the places of its keys.

    ``layer`` names the overlay that wrote the value: "" for a file's own body, "profile NAME", or "--set".
    ``outside`` is true of text that came, wholly or in part, from the command line.
    """

    value: Any
    where: Where
    keys: Mapping[str, Where] = {}
    layer: str = ""
    outside: bool = False
    size: int = 1

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    def get(self, key: str) -> Node | None:
        """The value under a key; None where there is none, or where this is no map."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if isinstance(found, Node) else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """Entries of a map; nothing for other values."""
        yield from self.value.items() if isinstance(self.value, dict) else ()

    def elements(self) -> Iterator[Node]:
        """Elements of a list; nothing for other values."""
        yield from self.value if isinstance(self.value, list) else ()

    def data(self) -> Any:
        """The plain value."""
        if isinstance(self.value, dict):
            return {key: node.data() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        return self.value

    def with_entries(self, entries: Mapping[str, Node], keys: Mapping[str, Where] | None = None) -> Node:
        """The same map with other entries."""
        return replace(self, value=dict(entries), keys=dict(self.keys if keys is None else keys))

    def without(self, *names: str) -> Node:
        return self.with_entries({key: node for key, node in self.items() if key not in names})

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        """Every node below and this one, with its path, in the order of the text."""
        waiting = [(path, self)]
        while waiting:
            at, node = waiting.pop()
            yield at, node
            if isinstance(node.value, dict):
                waiting += [((*at, key), below) for key, below in reversed(node.value.items())]
            elif isinstance(node.value, list):
                waiting += [((*at, index), node.value[index]) for index in reversed(range(len(node.value)))]

    def texts(self) -> Iterator[str]:
        """Every text below, or this one, in order."""
        waiting = [self]
        while waiting:
            value = waiting.pop().value
            if isinstance(value, str):
                yield value
            elif isinstance(value, dict):
                waiting += reversed(value.values())
            elif isinstance(value, list):
                waiting += reversed(value)

    def labelled(self, layer: str) -> Node:
        """The tree with its layer set."""
        if isinstance(self.value, dict):
            return replace(self, layer=layer, value={key: node.labelled(layer) for key, node in self.value.items()})
        if isinstance(self.value, list):
            return replace(self, layer=layer, value=[node.labelled(layer) for node in self.value])
        return replace(self, layer=layer, outside=layer == "--set" and isinstance(self.value, str))

    @property
    def origin(self) -> str:
        """Where the value was written, for people: ``recipes/x.yaml:12``, ``profile smoke (recipes/x.yaml:80)``, ``--set``."""
        if self.layer == "--set":
            return self.where.file if self.where.file.startswith("--set") else "--set"
        place = f"{self.where.file}:{self.where.line}" if self.where.line else self.where.file
        return f"{self.layer} ({place})" if self.layer else place


def locate(root: Node, path: Path, *, key: bool = False) -> Where:
    """The place of a path. ``key``: of the key rather than of the value. What is missing is placed at its nearest ancestor's key."""
    node, place = root, root.where
    for depth, name in enumerate(path):
        below = node.get(name) if isinstance(name, str) else _element(node, name)
        if below is None:
            return place
        at_key = node.keys.get(name) if isinstance(name, str) else None
        last = depth == len(path) - 1
        collection = below.is_map or below.is_list
        place = at_key if at_key is not None and (collection or key or not last) else below.where
        node = below
    return place


def follow(root: Node, path: Path) -> Node | None:
    """The node at a path, or None."""
    node: Node | None = root
    for name in path:
        if node is None:
            return None
        node = node.get(name) if isinstance(name, str) else _element(node, name)
    return node


def deepest(root: Node, path: Path) -> Node:
    """The node at a path, or the last one on the way to it."""
    node = root
    for name in path:
        below = node.get(name) if isinstance(name, str) else _element(node, name)
        if below is None:
            break
        node = below
    return node


def _element(node: Node, index: int) -> Node | None:
    if isinstance(node.value, list) and 0 <= index < len(node.value):
        element = node.value[index]
        return element if isinstance(element, Node) else None
    return None


def dotted(path: Path) -> str:
    """``("steps", "a", "with", "paths", 1)`` as ``steps.a.with.paths[1]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def undotted(text: str) -> Path:
    """The reverse of :func:`dotted`. What a stray dot leaves stays as an empty name."""
    parts: list[str | int] = []
    for piece in text.split(".") if text else ():
        name, *indexes = piece.split("[")
        if name or not indexes:
            parts.append(name)
        parts += [int(index[:-1]) if index[:-1].isdigit() else index[:-1] for index in indexes]
    return tuple(parts)
