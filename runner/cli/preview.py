"""What a preview shows: the prompts as they were rendered, and the rows that came of them."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.options import Format, open_store
from runner.cli.output import print_json
from runner.errors import DONE, STEP_FAILED, UsageError

if TYPE_CHECKING:
    from runner.engine import Preview
    from runner.engine.task import Failure
    from runner.recipe.model import Recipe

#: Characters of a prompt that are shown at its beginning and at its end; what lies between is left out.
_HEAD, _TAIL = 2400, 800


def refuse(only: Sequence[str], recipes: Sequence[Path], others: dict[str, bool]) -> None:
    """UsageError where a preview is asked for together with what it cannot do; ``others`` are options and whether they are given."""
    if len(only) != 1:
        found = "is a look at one step" + (f", not {len(only)}" if only else "")
        raise UsageError(f"--preview {found}", remedy="name it: recipe run RECIPE --only STEP --preview 5")
    if len(recipes) > 1:
        raise UsageError("--preview is a look at one recipe", remedy="name one")
    if given := [name for name, on in others.items() if on]:
        raise UsageError(
            f"--preview does not go with {' and '.join(given)}", remedy="a preview runs the one step of --only, whatever is in the store"
        )


def show(recipe: Recipe, artifacts: Path | None, step: str, count: int, format: Format, *, offline: bool, unpinned: bool) -> int:
    """Preview a step and print what came of it; what it says on its way goes to standard error."""
    from runner.cli.views import view
    from runner.engine import preview

    store = open_store(artifacts, recipe.root)
    with ExitStack() as kept:
        with view(sys.stderr) as shown:
            result = kept.enter_context(preview(recipe, store, step, count, offline=offline, unpinned=unpinned, listener=shown))
        if format is Format.json:
            print_json(_whole(result))
        else:
            _print(result)
        if result.failure is not None:
            _complain(result, result.failure)
        return DONE if result.failure is None else STEP_FAILED


def _whole(result: Preview) -> dict[str, Any]:
    failure = result.failure
    return {
        "instance": result.instance.id, "kind": result.instance.kind, "items": result.items, "count": result.count,
        "prompts": list(result.prompts()),
        "files": {file: list(result.rows(file)) for file in result.files()},
        "facts": result.facts, "warnings": result.warnings,
        "error": None if failure is None else {"message": failure.message, "remedy": failure.remedy},
    }  # fmt: skip


def _print(result: Preview) -> None:
    width = shutil.get_terminal_size((100, 24)).columns
    print(f"preview of {result.instance.id}: {result.count} {result.items}; nothing is kept")
    prompts: dict[str, list[str]] = {}
    for prompt in result.prompts():
        prompts.setdefault(prompt["file"], []).append(prompt["text"])
    for file, texts in prompts.items():
        for number, text in enumerate(texts[: result.count], 1):
            print(f"\nprompt {file}, {number} of {len(texts)}")
            print(textwrap.indent(_shortened(text), "  | ", lambda line: True))
    for file in result.files():
        rows = result.rows(file)
        first = list(islice(rows, result.count))
        rest = sum(1 for _ in rows)
        print(f"\n{file}" + (f": the first {len(first)} of {len(first) + rest} rows" if rest else "" if first else ": no rows"))
        for row in first:
            print("\n".join(_row(row, width)))
    if result.facts:
        print("\nfacts")
        print("\n".join(_row({name: _fact(fact) for name, fact in result.facts.items()}, width)))


def _fact(fact: dict[str, Any]) -> str:
    value = fact["value"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{text} {fact['unit']}".rstrip()


def _shortened(text: str) -> str:
    left_out = len(text) - _HEAD - _TAIL
    if left_out < _TAIL:
        return text
    return f"{text[:_HEAD]}\n[... {left_out} characters more; --format json shows them ...]\n{text[-_TAIL:]}"


def _row(row: Any, width: int) -> Iterator[str]:
    """A row as lines of ``name  value``, each of them one line long, with a dash before the first."""
    if not isinstance(row, dict):
        row = {"": row}
    names = max((len(name) for name in row), default=0)
    for sign, (name, value) in zip(chain("-", iter(lambda: " ", "")), row.items(), strict=False):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        line = " ".join(text.split())
        room = max(20, width - names - 6)
        if len(line) > room:
            count = f"… ({len(text)} characters)"
            line = line[: max(10, room - len(count))] + count
        yield f"  {sign} {name:<{names}}  {line}".rstrip()


def _complain(result: Preview, failure: Failure) -> None:
    print(f"error: {result.instance.id}: {failure.message}", file=sys.stderr)
    if failure.remedy:
        print(f"  {failure.remedy}", file=sys.stderr)
    if failure.bug:
        print(textwrap.indent(result.log().rstrip(), "  | "), file=sys.stderr)
