"""Overlays: a parent recipe, profiles, ``--set`` and ``like`` all merge by the same rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from runner.errors import UsageError, Where
from runner.recipe.nodes import Node, dotted, undotted
from runner.recipe.problems import Findings
from runner.recipe.reader import Unreadable, read

#: Keys that tell which of several shapes a map has. Where an overlay changes one, it replaces the whole map.
DISCRIMINATORS = ("kind", "provider")

#: Keys that say how a recipe is put together; an overlay cannot change them.
FIXED = ("recipe", "extends", "profiles")

MAX_PARENTS = 8


def merge(under: Node, over: Node) -> Node:
    """``over`` laid upon ``under``: maps merge, lists and scalars replace, null removes what is there.

    A null where there is nothing to remove stays an explicit null, so that a misspelt removal is seen by the checks.
    """
    if not (under.is_map and over.is_map) or _changes_shape(under, over):
        return over
    entries, keys = dict(under.value), dict(under.keys)
    for name, node in over.items():
        if node.value is None and name in entries:
            del entries[name], keys[name]
            continue
        entries[name] = merge(entries[name], node) if name in entries else node
        keys[name] = over.keys[name]
    return under.with_entries(entries, keys)


def _changes_shape(under: Node, over: Node) -> bool:
    for name in DISCRIMINATORS:
        before, after = under.get(name), over.get(name)
        if before is not None and after is not None and after.value is not None and before.value != after.value:
            return True
    return False


class Layers:
    """A recipe file, its parents and their profiles, before and after overlays."""

    def __init__(self, file: Path, root: Path, findings: Findings) -> None:
        self.file, self.root, self.findings = file, root, findings
        self.profiles: dict[str, list[Node]] = {}
        self.bodies: list[Node] = []  # from the oldest parent to the recipe itself, without `profiles`
        self._read(file, ())
        self.plain = self._stack(self.bodies)

    def _read(self, file: Path, trail: tuple[Path, ...]) -> None:
        name = display(file, self.root)
        body = read(_bytes(file), name, self.findings)
        if not body.is_map:
            self.findings.add(
                body.where, "", f"the file holds {'a list' if body.is_list else 'a scalar'}", "a map with `recipe`, `name` and `steps`"
            )
            raise Unreadable
        parent = body.get("extends")
        if parent is not None:
            self._parent(file, parent, (*trail, file))
        profiles = body.get("profiles")
        if profiles is not None and not profiles.is_map:
            self.findings.add(profiles.where, "profiles", found(profiles.data()), "a map of overlays by name")
        for profile, overlay in profiles.items() if profiles is not None else ():
            if overlay.is_map and overlay.value:
                for key in set(FIXED) & set(overlay.value):
                    self.findings.add(overlay.keys[key], f"profiles.{profile}.{key}", "cannot be changed by a profile")
                self.profiles.setdefault(profile, []).append(overlay.without(*FIXED).labelled(f"profile {profile}"))
            elif overlay.value in (None, {}):
                self.profiles.setdefault(profile, [])
            else:
                self.findings.add(overlay.where, f"profiles.{profile}", found(overlay.data()), "a map with the keys that it changes")
        version = body.get("recipe")
        if trail and version is not None and version.value != 1:
            self.findings.add(version.where, "recipe", found(version.data()), "`1`")
        if trail:  # what belongs to the parent alone
            body = body.without("name", "profiles", "extends")
        self.bodies.append(body)

    def _parent(self, file: Path, parent: Node, trail: tuple[Path, ...]) -> None:
        if not isinstance(parent.value, str):
            self.findings.add(parent.where, "extends", found(parent.data()), "one recipe, as a path from this file")
            raise Unreadable
        path = Path(file.parent, parent.value).resolve()
        if not path.is_relative_to(self.root):
            self.findings.add(parent.where, "extends", f"`{parent.value}` lies outside of the project")
        elif path in [step.resolve() for step in trail]:
            self.findings.add(parent.where, "extends", "the recipe extends itself, by way of " + display(file, self.root))
        elif len(trail) > MAX_PARENTS:
            self.findings.add(parent.where, "extends", f"more than {MAX_PARENTS} recipes extend each other")
        elif not path.is_file():
            names = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
            hint = suggest(path.name, names) or "the path begins at this file's folder"
            self.findings.add(parent.where, "extends", f"no file `{display(path, self.root)}`", hint=hint)
        else:
            self._read(path, trail)
            return
        raise Unreadable  # without its parent nothing can be said of a recipe

    def _stack(self, bodies: Iterable[Node]) -> Node:
        merged: Node | None = None
        for body in bodies:
            merged = body if merged is None else merge(merged, body)
        assert merged is not None
        return merged

    def apply(self, profiles: Sequence[str], sets: Sequence[str]) -> Node:
        """The recipe under overlays: profiles in the order given, then ``--set path=value``."""
        merged = self.plain
        for profile in profiles:
            if profile not in self.profiles:
                known = ", ".join(self.profiles) or "none"
                hint = suggest(profile, self.profiles)
                raise UsageError(
                    f"{display(self.file, self.root)} has no profile `{profile}`", remedy=f"{hint} " * bool(hint) + f"(profiles: {known})"
                )
            for overlay in self.profiles[profile]:
                merged = merge(merged, overlay)
        for text in sets:
            merged = self._set(merged, text)
        return merged

    def _set(self, under: Node, text: str) -> Node:
        path, equals, value = text.partition("=")
        name = f"--set {text}"
        if self.findings.mask(text) != text:
            name = f"--set {path}=***"
        parts = undotted(path.strip())
        if not equals or not parts or any(part == "" for part in parts):
            raise UsageError(f"--set {text}: not of the form path=value", remedy="such as --set steps.lora.with.learning_rate=1e-4")
        if parts[0] in FIXED:
            raise UsageError(f"--set {text}: `{parts[0]}` cannot be set")
        where = Where(name)
        leaf = Node(None, where, layer="--set")
        if value.strip():
            scratch = Findings()
            try:
                leaf = _place(read(value, name, scratch), where)
            except Unreadable:
                self.findings.add(where, dotted(parts), *_first(scratch))
                return under
        return self._put(under, parts, leaf, ())

    def _put(self, under: Node, parts: tuple[str | int, ...], leaf: Node, done: tuple[str | int, ...]) -> Node:
        if not parts:
            return merge(under, leaf)
        head, rest = parts[0], parts[1:]
        if isinstance(head, int):
            elements = list(under.elements())
            if not 0 <= head < len(elements):
                self.findings.add(leaf.where, dotted((*done, head)), f"the list `{dotted(done)}` has {len(elements)} elements")
                return under
            elements[head] = self._put(elements[head], rest, leaf, (*done, head))
            return Node(elements, under.where, layer=under.layer)
        below = under.get(head) if under.is_map else None
        if below is not None and rest:
            return under.with_entries({**under.value, head: self._put(below, rest, leaf, (*done, head))})
        for part in reversed(rest):
            leaf = Node({part: leaf}, leaf.where, {str(part): leaf.where}, layer="--set")
        return merge(under, Node({head: leaf}, leaf.where, {head: leaf.where}, layer="--set"))


def inherit(steps: Node, findings: Findings) -> Node:
    """The steps with every ``like`` written out: the other step's keys, overlaid by its own."""
    done: dict[str, Node] = {}

    def written(name: str, trail: tuple[str, ...]) -> Node:
        if name in done:
            return done[name]
        step = steps.value[name]
        like = step.get("like")
        if like is None or not isinstance(like.value, str):
            return done.setdefault(name, step)
        path = f"steps.{name}.like"
        if like.value not in steps.value:
            findings.add(like.where, path, f"there is no step `{like.value}`", hint=suggest(like.value, steps.value))
            return done.setdefault(name, step)
        if like.value in (*trail, name):
            findings.add(like.where, path, "the step is like itself: " + " -> ".join((*trail, name, like.value)))
            return done.setdefault(name, step)
        other = written(like.value, (*trail, name))
        own, theirs = step.get("uses"), other.get("uses")
        if own is not None and theirs is not None and own.value != theirs.value:
            what = f"uses `{own.value}`, but is like `{like.value}`, which uses `{theirs.value}`"
            findings.add(own.where, f"steps.{name}.uses", what, "the same step kind, or no `like`")
            return done.setdefault(name, step.without("like"))
        merged = merge(other.without("like"), step.without("like")) if other.is_map else step
        if merged.get("uses") is None and merged.is_map:  # reported at the other step
            merged = merged.with_entries({**merged.value, "like": like}, {**merged.keys, "like": step.keys["like"]})
        return done.setdefault(name, merged)

    return steps.with_entries({name: written(name, ()) for name in steps.value})


def display(file: Path, root: Path) -> str:
    """How a file is called in messages: from the project's root."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def suggest(name: str, known: Iterable[str]) -> str:
    """``did you mean `x`?`` for the nearest of the known names, or nothing."""
    from difflib import get_close_matches

    names = list(known)
    lower = {other.lower(): other for other in reversed(names)}
    near = get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6)
    if near:
        return f"did you mean `{lower[near[0]]}`?"
    tokens = [other for other in names if name and (other.endswith(f"_{name}") or other.startswith(f"{name}_"))]
    return f"did you mean `{tokens[0]}`?" if len(tokens) == 1 else ""


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read((1 << 20) + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


def _place(node: Node, where: Where) -> Node:
    """A value of the command line: everything in it stands there."""
    if node.is_map:
        entries = {key: _place(below, where) for key, below in node.items()}
        return Node(entries, where, dict.fromkeys(entries, where), layer="--set")
    if node.is_list:
        return Node([_place(below, where) for below in node.elements()], where, layer="--set")
    return Node(node.value, where, layer="--set", outside=isinstance(node.value, str))


def found(value: Any) -> str:
    """A value in words."""
    if isinstance(value, dict):
        return "is a map" if value else "is an empty map"
    if isinstance(value, list):
        return "is a list"
    if value is None:
        return "is null"
    if isinstance(value, str):
        return f"is the text `{value if len(value) <= 60 else value[:57] + '...'}`"
    return f"is {str(value).lower() if isinstance(value, bool) else value}"


def _first(findings: Findings) -> tuple[str, str, str]:
    problem = findings.problems()[0]
    return problem.found, problem.expected, problem.hint
