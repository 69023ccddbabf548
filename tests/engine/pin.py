"""Pins of the step modules' import closures: ``python -m tests.engine.pin`` writes them anew.

The closure of a step kind is its module and every module of ``runner`` that it imports, also inside functions, found by reading
the sources. Comments, layout and docstrings do not count. ``runner.contract``, ``runner.errors`` and the registry are left out:
they hold no step's work, and every step would move with them.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from runner import steps

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).with_name("pins.json")
LEFT_OUT = frozenset({"runner", "runner.steps", "runner.contract", "runner.errors"})


@cache
def pins() -> dict[str, dict[str, str | int]]:
    """VERSION and the hash of the closure, for every step kind."""
    found = {}
    for name, module in sorted(steps.KINDS.items()):
        state = hashlib.sha256()
        for part in sorted(closure(module)):
            state.update(f"{part}\0{code(part)}\0".encode())
            for data in package_data(part):
                state.update(data.read_bytes())
        found[name] = {"version": steps.kind(name).version, "closure": state.hexdigest()[:16]}
    return found


def closure(module: str) -> set[str]:
    """The module and all of ``runner`` that it imports, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in LEFT_OUT and path(name):
            found.add(name)
            waiting += imported(name)
    return found


def imported(module: str) -> Iterator[str]:
    """Modules of ``runner`` that a module's source imports, with the packages that they lie in."""
    package = module if is_package(module) else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source(module))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                start = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [node.module])])
            names = [start, *(f"{start}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("runner."):
            names = [node.value]  # a module named in a table, imported on use
        for name in names:
            parts = name.split(".")
            if parts[0] == "runner":
                yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


@cache
def code(module: str) -> str:
    """The module's syntax tree without docstrings."""
    tree = ast.parse(source(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def package_data(module: str) -> list[Path]:
    """Templates and other files that are no Python, beside a package's ``__init__``."""
    if not is_package(module):
        return []
    return sorted(p for p in (ROOT / module.replace(".", "/")).iterdir() if p.is_file() and p.suffix not in {".py", ".pyc"})


@cache
def source(module: str) -> str:
    found = path(module)
    return found.read_text(encoding="utf-8") if found else ""


@cache
def path(module: str) -> Path | None:
    base = ROOT / module.replace(".", "/")
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def is_package(module: str) -> bool:
    found = path(module)
    return found is not None and found.name == "__init__.py"


def write() -> None:
    PINS.write_text(json.dumps({"python": python(), "pins": pins()}, indent=1) + "\n")


def python() -> str:
    """The syntax tree's spelling differs from one Python to the next."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    write()
