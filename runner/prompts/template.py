"""Loads a prompt with everything that it includes, and knows what it needs before it is rendered."""

from __future__ import annotations

import hashlib
import posixpath
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, TemplateNotFound, UndefinedError, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables

from runner.errors import InputError, StepError
from runner.prompts.sandbox import MAX_TEXT, Sandbox, start

MAX_BYTES = 256 << 10  # of one template file
MAX_FILES = 50

_Reads = nodes.Include | nodes.Extends | nodes.Import | nodes.FromImport


class Template:
    """A prompt. ``files`` are its own and every included path, ``digest`` their SHA-256, ``variables`` what it must be given."""

    def __init__(self, file: str, sources: dict[str, str], variables: frozenset[str], environment: Sandbox, static: int) -> None:
        self.file, self.variables, self.files = file, variables, sorted(sources)
        self._environment, self._static = environment, static
        digest = hashlib.sha256(f"{file}\n".encode())
        for name in self.files:
            digest.update(f"{name} {hashlib.sha256(sources[name].encode()).hexdigest()}\n".encode())
        self.digest = digest.hexdigest()

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


def load(root: Path, file: str) -> Template:
    """The template at a path below ``root``.

    Includes, imports and extends name their file literally, from the root, or from the including file's folder when
    they begin with ``./`` or ``../``. Raises InputError with file and line.
    """
    sources: dict[str, str] = {}
    environment = Sandbox(_Sources(sources))
    trees: dict[str, nodes.Template] = {}
    _read(root.resolve(), _inside(file, file), environment, sources, trees, ())
    main = _inside(file, file)
    known = frozenset(environment.globals)
    variables = frozenset(_variables(main, trees, environment)) - known
    static = max((_text_in(macro) for tree in trees.values() for macro in tree.find_all((nodes.Macro, nodes.Block))), default=0)
    return Template(main, sources, variables, environment, static)


class _Sources(BaseLoader):
    """Gives out what has been read, and reads nothing: rendering sees the very bytes that the digest covers."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources

    def get_source(self, environment: Any, template: str) -> tuple[str, str, Any]:
        if template not in self.sources:
            raise TemplateNotFound(template)
        return self.sources[template], template, lambda: True


def _read(
    root: Path, name: str, environment: Sandbox, sources: dict[str, str], trees: dict[str, nodes.Template], trail: tuple[str, ...]
) -> None:
    if name in trail:
        raise InputError(f"the prompt includes itself: {' -> '.join([*trail[trail.index(name) :], name])}", where=trail[-1])
    if name in sources:
        return
    if len(sources) >= MAX_FILES:
        raise InputError(f"the prompt includes more than {MAX_FILES} files", where=name)
    sources[name] = _source(root, name, trail)
    try:
        tree = environment.parse(sources[name], name, name)
    except TemplateSyntaxError as error:
        raise InputError(f"{error.message}", where=f"{name}:{error.lineno}") from error
    except RecursionError as error:
        raise InputError("the prompt is nested too deep", where=name) from error
    trees[name] = tree
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        what, known = ("filter", environment.filters) if isinstance(node, nodes.Filter) else ("test", environment.tests)
        if isinstance(node, nodes.Filter | nodes.Test) and node.name not in known:
            close = _near(node.name, [other for other in known if not other.startswith("_")])
            remedy = f"did you mean `{close[0]}`?" if close else ""
            raise InputError(f"no {what} `{node.name}` for prompts", where=f"{name}:{node.lineno}", remedy=remedy)
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise InputError("a recursive loop", where=f"{name}:{loop.lineno}", remedy="loops nest by being written out")
    for other in _included(tree, name):
        _read(root, other, environment, sources, trees, (*trail, name))


def _included(tree: nodes.Template, name: str) -> Iterator[str]:
    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        where = f"{name}:{node.lineno}"
        target = node.template if isinstance(node, _Reads) else None
        if not isinstance(target, nodes.Const) or not isinstance(target.value, str):
            raise InputError("an include whose file is only known when it is rendered", where=where, remedy="name the file literally")
        if isinstance(node, nodes.Include) and node.ignore_missing:
            raise InputError("`ignore missing`", where=where, remedy="an included file is there, or it is not included")
        yield _inside(tree.environment.join_path(target.value, name) if tree.environment else target.value, where)


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


def _variables(name: str, trees: dict[str, nodes.Template], environment: Sandbox) -> set[str]:
    """What must be given: undeclared here, or in a file included here and not set here."""
    tree = trees[name]
    found = set(find_undeclared_variables(tree))
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        if isinstance(node, _Reads) and isinstance(node.template, nodes.Const):
            found |= _variables(environment.join_path(node.template.value, name), trees, environment) - own
    return found


def _near(name: str, known: list[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, known, n=1)


def _text_in(node: nodes.Node) -> int:
    return sum(len(data.data) for data in node.find_all(nodes.TemplateData))


__all__ = ["Template", "TemplateRuntimeError", "load"]
