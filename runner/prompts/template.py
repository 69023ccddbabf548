"""Loads a prompt with everything that it includes, and knows what it needs before it is rendered."""

from __future__ import annotations

import hashlib
import posixpath
import traceback
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import BaseLoader, TemplateNotFound, Undefined, UndefinedError, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables

from runner.errors import InputError, StepError
from runner.prompts.sandbox import MAX_TEXT, Sandbox, budget, size, start

MAX_BYTES = 256 << 10  # of one template file
MAX_FILES = 50

_Reads = nodes.Include | nodes.Extends | nodes.Import | nodes.FromImport


class Template:
    """A prompt. ``files`` are its own and every included path, ``digest`` their SHA-256, ``variables`` what it must be given."""

    def __init__(self, file: str, sources: dict[str, str], variables: frozenset[str], static: int) -> None:
        self.file, self.variables, self.files = file, variables, sorted(sources)
        self._sources, self._static = sources, static
        digest = hashlib.sha256(f"{file}\n".encode())
        for name in self.files:
            digest.update(f"{name} {hashlib.sha256(sources[name].encode()).hexdigest()}\n".encode())
        self.digest = digest.hexdigest()

    @cached_property
    def _environment(self) -> Sandbox:
        return Sandbox(_Sources(self._sources))

    def render(self, **variables: Any) -> str:
        """The text. What is passed in is data: it is put in as it stands, and never rendered. Raises StepError."""
        start(self._static)
        pieces, length = [], 0
        try:
            for piece in self._environment.get_template(self.file).generate(**variables):  # compiled once, and only if it is rendered
                length += len(piece)
                if length > MAX_TEXT:
                    raise SecurityError(f"more than {MAX_TEXT} characters of output")
                pieces.append(piece)
        except RecursionError as error:
            raise StepError("the prompt calls itself without end", where=self.file) from error
        except UndefinedError as error:
            remedy = f"it is given {', '.join(sorted(variables)) or 'no variables'}"
            raise StepError(f"the prompt cannot be rendered: {error.message}", where=self._line(error), remedy=remedy) from error
        except SecurityError as error:
            raise StepError(f"the prompt is refused: {error.message}", where=self._line(error)) from error
        except (TemplateError, ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise StepError(f"the prompt cannot be rendered: {error}", where=self._line(error)) from error
        return "".join(pieces)

    def _line(self, error: BaseException) -> str:
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename in self.files:
                return f"{frame.filename}:{frame.lineno}"
        return self.file


class Inline(Template):
    """A template that stands in a recipe. It prints texts and numbers alone: a null or a list is nearly always a slip."""

    @cached_property
    def _environment(self) -> Sandbox:
        environment = Sandbox(_Sources(self._sources))
        environment.finalize = _printable
        return environment


def inline(source: str, name: str) -> Inline:
    """A template given by its text; it includes no file. ``name`` stands for a file's in messages. Raises InputError."""
    sources: dict[str, str] = {name: source}
    part = _parsed(name, source)
    if part.includes:
        raise InputError("a template in a recipe includes no file", where=name, remedy="write it out")
    return Inline(name, sources, part.needs - frozenset(_sandbox().globals), part.static)


def _printable(value: Any) -> Any:
    if isinstance(value, str | int | float | Undefined) and not isinstance(value, bool):
        budget().add(size(value))
        return value
    kinds = {type(None): "null", bool: "a truth value", list: "a list", dict: "a map"}
    remedy = {type(None): ": write `or ''` where that is right", list: ": `join` it, or name an item of it"}.get(type(value), "")
    raise ValueError(f"it would print {kinds.get(type(value), type(value).__name__)}{remedy}")


def load(root: Path, file: str) -> Template:
    """The template at a path below ``root``.

    Includes, imports and extends name their file literally, from the root, or from the including file's folder when
    they begin with ``./`` or ``../``. Raises InputError with file and line.
    """
    sources: dict[str, str] = {}
    parts: dict[str, _Part] = {}
    main = _inside(file, file)
    _read(root.resolve(), main, sources, parts, ())
    if not sources[main].strip():
        raise InputError("the prompt is empty", where=main)
    variables = frozenset(_variables(main, parts)) - frozenset(_sandbox().globals)
    return Template(main, sources, variables, max(part.static for part in parts.values()))


class _Sources(BaseLoader):
    """Gives out what has been read, and reads nothing: rendering sees the very bytes that the digest covers."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources

    def get_source(self, environment: Any, template: str) -> tuple[str, str, Any]:
        if template not in self.sources:
            raise TemplateNotFound(template)
        return self.sources[template], template, lambda: True


class _Part(NamedTuple):
    """What one file's text says of itself: what it includes, the names that it needs and sets, the most text that a macro adds."""

    includes: tuple[str, ...]
    needs: frozenset[str]
    sets: frozenset[str]
    static: int


@cache
def _sandbox() -> Sandbox:
    """For parsing alone."""
    return Sandbox(_Sources({}))


def _read(root: Path, name: str, sources: dict[str, str], parts: dict[str, _Part], trail: tuple[str, ...]) -> None:
    if name in trail:
        raise InputError(f"the prompt includes itself: {' -> '.join([*trail[trail.index(name) :], name])}", where=trail[-1])
    if name in sources:
        return
    if len(sources) >= MAX_FILES:
        raise InputError(f"the prompt includes more than {MAX_FILES} files", where=name)
    sources[name] = _source(root, name, trail)
    parts[name] = _parsed(name, sources[name])
    for other in parts[name].includes:
        _read(root, other, sources, parts, (*trail, name))


def _parsed(name: str, source: str) -> _Part:
    try:
        return _part(name, source)
    except TemplateSyntaxError as error:
        raise InputError(f"{error.message}", where=f"{name}:{error.lineno}") from error
    except RecursionError as error:
        raise InputError("the prompt is nested too deep", where=name) from error


@lru_cache(maxsize=256)  # recipes share their prompts, and prompts their parts
def _part(name: str, source: str) -> _Part:
    environment = _sandbox()
    tree = environment.parse(source, name, name)
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        what, known = ("filter", environment.filters) if isinstance(node, nodes.Filter) else ("test", environment.tests)
        if isinstance(node, nodes.Filter | nodes.Test) and node.name not in known:
            close = _near(node.name, [other for other in known if not other.startswith("_")])
            remedy = f"did you mean `{close[0]}`?" if close else ""
            raise InputError(f"no {what} `{node.name}` for prompts", where=f"{name}:{node.lineno}", remedy=remedy)
    for reach in tree.find_all(nodes.Getattr):
        if reach.attr.startswith("_"):
            raise InputError(f"`{reach.attr}` is out of reach of prompts", where=f"{name}:{reach.lineno}")
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise InputError("a recursive loop", where=f"{name}:{loop.lineno}", remedy="loops nest by being written out")
    return _Part(
        includes=tuple(_included(tree, name)),
        needs=frozenset(find_undeclared_variables(tree)),
        sets=frozenset(node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")),
        static=max((_text_in(macro) for macro in tree.find_all((nodes.Macro, nodes.Block))), default=0),
    )


def _included(tree: nodes.Template, name: str) -> Iterator[str]:
    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        where = f"{name}:{node.lineno}"
        target = node.template if isinstance(node, _Reads) else None
        if not isinstance(target, nodes.Const) or not isinstance(target.value, str):
            raise InputError("an include whose file is only known when it is rendered", where=where, remedy="name the file literally")
        if isinstance(node, nodes.Include) and node.ignore_missing:
            raise InputError("`ignore missing`", where=where, remedy="an included file is there, or it is not included")
        yield _inside(_sandbox().join_path(target.value, name), where)


def _inside(name: str, where: str) -> str:
    path = posixpath.normpath(name)
    if "\0" in name or posixpath.isabs(path) or path.split("/")[0] == "..":
        raise InputError(f"`{name}` leaves the project".replace("\0", "\\0"), where=where, remedy="a path below the project's root")
    return path


def _source(root: Path, name: str, trail: tuple[str, ...]) -> str:
    where = trail[-1] if trail else name
    path = root / name
    try:
        if not path.resolve().is_relative_to(root):
            raise InputError(f"`{name}` is a link out of the project", where=where)
        if path.is_dir():
            raise InputError(f"`{name}` is a folder", where=where, remedy="a prompt is a file")
        if not path.is_file():
            near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            close = _near(path.name, near)
            remedy = f"did you mean `{posixpath.join(posixpath.dirname(name), close[0])}`?" if close else ""
            raise InputError(f"there is no prompt `{name}`", where=where, remedy=remedy)
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"the prompt is larger than {MAX_BYTES >> 10} KiB", where=name)
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the prompt is not UTF-8", where=name) from error
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        raise InputError(f"the prompt cannot be read: {getattr(error, 'strerror', None) or error}", where=name) from error


def _variables(name: str, parts: dict[str, _Part]) -> set[str]:
    """What must be given: undeclared here, or in a file included here and not set here."""
    part = parts[name]
    return set(part.needs).union(*(_variables(other, parts) - part.sets for other in part.includes))


def _near(name: str, known: list[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, known, n=1)


def _text_in(node: nodes.Node) -> int:
    return sum(len(data.data) for data in node.find_all(nodes.TemplateData))


__all__ = ["Inline", "Template", "TemplateRuntimeError", "inline", "load"]
