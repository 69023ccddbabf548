"""A Jinja environment for templates that nobody has to trust: no code, no state, no chance, and a cap on everything that can grow.

Jinja's own sandbox keeps templates away from Python's internals, but lets them eat all memory and time (``'a' * 10**9``,
doubling a text in a loop, nested loops). Here everything that makes values is charged to a budget: operators, calls, loop
turns, and output. Filters and methods are allow-lists for the same reason.
"""

from __future__ import annotations

import contextvars
import functools
import json
import posixpath
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEXT = 8_000_000  # characters of one value, and of the output: a long document fits, a bomb does not
MAX_TURNS = 1_000_000  # loop turns of one rendering
CALL = 10  # turns that a call counts for
MAX_SECONDS = 20.0
MAX_RANGE = 10_000
MAX_DIGITS_BITS = 4096

_FILTERS = """
    abs capitalize count d default dictsort e escape first float forceescape groupby int items last length list lower map max min reject
    rejectattr reverse select selectattr sort string striptags title trim truncate unique upper wordcount
""".split()  # noqa: SIM905 - as a list literal it would fill a screen
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        """
        capitalize casefold count endswith find index isalnum isalpha isdigit islower isnumeric isspace istitle isupper lower lstrip
        partition removeprefix removesuffix rfind rpartition rsplit rstrip split splitlines startswith strip swapcase title upper
        """.split()  # noqa: SIM905
    ),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
}


@dataclass
class Budget:
    """What one rendering has used up."""

    static: int = 0  # characters of literal text that one call of a macro may add
    turns: int = 0
    text: int = 0
    until: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def turn(self, count: int = 1, text: int = 0) -> None:
        self.turns += count
        if self.turns > MAX_TURNS:
            raise SecurityError(f"more than {MAX_TURNS} loop turns and calls")
        self.add(text)
        if time.monotonic() > self.until:
            raise SecurityError(f"rendering took more than {MAX_SECONDS:.0f} s")

    def add(self, characters: int) -> None:
        self.text += characters
        if self.text > 4 * MAX_TEXT:
            raise SecurityError(f"more than {MAX_TEXT} characters")


_BUDGET: contextvars.ContextVar[Budget] = contextvars.ContextVar("budget")


def budget() -> Budget:
    current = _BUDGET.get(None)
    if current is None:  # constants that Jinja folds while it compiles
        current = Budget()
        _BUDGET.set(current)
    return current


def start(static: int) -> None:
    """Begin a rendering with a fresh budget."""
    _BUDGET.set(Budget(static))


def size(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | dict | bytes) else 0


def capped(value: Any) -> Any:
    """A value that was made; refused when it is too large."""
    if size(value) > MAX_TEXT:
        raise SecurityError(f"a value of more than {MAX_TEXT} characters")
    budget().add(size(value) if isinstance(value, str) else 0)
    return value


class _Generator(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


def count_loops(tree: nodes.Template) -> None:
    """Wrap what loops run over, so that each turn is charged."""
    for loop in tree.find_all(nodes.For):
        static = sum(len(data.data) for data in loop.find_all(nodes.TemplateData))
        loop.iter = nodes.Filter(loop.iter, "_turns", [nodes.Const(static)], [], None, None)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that all prompts share."""

    code_generator_class = _Generator
    intercepted_binops = frozenset(("+", "*", "**", "%", "-", "/", "//"))

    def __init__(self, loader: Any) -> None:
        super().__init__(loader=loader, undefined=StrictUndefined, autoescape=False, auto_reload=False, finalize=_finalize)
        self.globals = {"range": _range, "namespace": self.globals["namespace"], "dict": dict}
        own = {"batch": _batch, "indent": _indent, "join": _join, "replace": _replace, "round": _round, "sum": _sum, "tojson": _tojson}
        self.filters = {name: _guarded(function) for name, function in ({name: FILTERS[name] for name in _FILTERS} | own).items()}
        self.filters["_turns"] = _turns

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        count_loops(tree)
        return tree

    def join_path(self, template: str, parent: str) -> str:
        """A path from the project's root, or with ``./`` or ``../`` in front from the including file's folder."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(parent), template) if template.startswith(("./", "../")) else template)

    def concatenated(self, parts: Iterable[Any]) -> str:
        return _join([text(part) for part in parts])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str | bytes):
            raise SecurityError("no formatting by `%`")
        if operator == "*" and (count := _repetition(left, right)) > MAX_TEXT:
            raise SecurityError(f"a value {count} long")
        if operator == "+" and size(left) + size(right) > MAX_TEXT:
            raise SecurityError(f"a value of more than {MAX_TEXT} characters")
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > MAX_DIGITS_BITS:
                raise SecurityError("a number with too many digits")
        return capped(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> None:
        """No ``str.format``: its widths are a way to make large texts. None leaves it to ``is_safe_attribute``."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, methods in _METHODS.items():
            if isinstance(obj, kind) and callable(value):
                return attr in methods
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        used = budget()
        used.turn(CALL, used.static)
        return capped(super().call(context, obj, *args, **kwargs))


def _finalize(value: Any) -> Any:
    if isinstance(value, str):
        budget().add(len(value))
        return value
    return text(value) if isinstance(value, list | tuple | dict) else value


def text(value: Any) -> str:
    """A value as text, unless that would be a long one: lists that hold each other many times over are small in memory alone."""
    if isinstance(value, str):
        return value
    check_depth(value)
    return str(value)


def check_depth(value: Any) -> None:
    """Refuse a structure that would be too large written out."""
    total, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        total += len(part) if isinstance(part, str) else 8
        if total > MAX_TEXT:
            raise SecurityError(f"a value of more than {MAX_TEXT} characters")
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            waiting += part


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses bombs before it works, and whose result is charged."""
    takes_context = hasattr(function, "jinja_pass_arg")

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> Any:
        budget().turn()
        for value in arguments[1 if takes_context else 0 :]:
            if isinstance(value, list | tuple | dict):
                check_depth(value)
        return capped(function(*arguments, **options))

    return guarded


def _repetition(left: Any, right: Any) -> int:
    for value, times in ((left, right), (right, left)):
        if isinstance(value, str | list | tuple | bytes) and isinstance(times, int):
            return len(value) * max(times, 0)
    return 0


@pass_context  # so that Jinja does not work it out once and for all while it compiles
def _turns(context: Any, values: Any, static: int) -> Any:
    """What a loop runs over, as a list, with its turns charged."""
    if not isinstance(values, list | tuple | str | dict | range) and not hasattr(values, "__len__"):
        found = []
        for value in values:
            budget().turn()
            found.append(value)
        values = found
    budget().turn(len(values) + 1, len(values) * static)
    return values


def _range(*arguments: int) -> range:
    numbers = range(*arguments)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"a range of more than {MAX_RANGE}")
    return numbers


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    before, old, new = text(value), text(old), text(new)
    times = before.count(old) if count is None else min(count, before.count(old))
    if len(before) + times * max(0, len(new) - len(old)) > MAX_TEXT:
        raise SecurityError(f"a text of more than {MAX_TEXT} characters")
    return before.replace(old, new, -1 if count is None else count)


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    parts = [part[attribute] if attribute is not None else part for part in value]
    texts = [text(part) for part in parts]
    if sum(map(len, texts)) + len(texts) * len(d) > MAX_TEXT:
        raise SecurityError(f"a text of more than {MAX_TEXT} characters")
    return str(capped(d.join(texts)))


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if method not in ("common", "ceil", "floor") or abs(precision) > 20:
        raise SecurityError("round takes the methods common, ceil, floor, and at most 20 digits")
    return float(FILTERS["round"](value, precision, method))


def _indent(value: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    pad = width if isinstance(width, str) else " " * min(width, 200)
    lines = text(value).splitlines()
    if len(lines) * len(pad) > MAX_TEXT:
        raise SecurityError(f"a text of more than {MAX_TEXT} characters")
    shifted = [pad + line if line or blank else line for line in lines]
    if shifted and not first:
        shifted[0] = lines[0]
    return "\n".join(shifted)


def _batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> list[list[Any]]:
    values, rows = list(value), []
    if linecount > MAX_RANGE:
        raise SecurityError(f"a row of more than {MAX_RANGE}")
    for start_ in range(0, len(values), max(1, linecount)):
        row = values[start_ : start_ + linecount]
        rows.append(row + [fill_with] * (linecount - len(row)) if fill_with is not None else row)
    return rows


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=None if indent is None else min(indent, 8))


def _sum(values: Iterable[Any], attribute: str | None = None, start: float = 0) -> Any:
    numbers = [value[attribute] if attribute is not None else value for value in values]
    if not all(isinstance(number, int | float) for number in [*numbers, start]):
        raise SecurityError("sum adds numbers only")
    return sum(numbers, start)
