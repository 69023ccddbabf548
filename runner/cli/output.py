"""What commands print: JSON, aligned tables, and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.errors import RecipeError, RunnerError


def print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    import msgspec

    return msgspec.to_builtins(value, str_keys=True)


def aligned(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows as columns two spaces apart; ``right`` names the columns that are set to the right. Columns that are empty are left out."""
    count = max((len(row) for row in rows), default=0)
    full = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [max((_width(row[column]) for row in full), default=0) for column in range(count)]
    shown = [column for column in range(count) if any(row[column] for row in full[1:])]
    lines = []
    for row in full:
        cells = []
        for column in shown:
            pad = " " * (widths[column] - _width(row[column]))
            cells.append(pad + row[column] if column in right else row[column] + pad)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def short(path: Path) -> str:
    """A path as it is best typed from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def complain(error: RunnerError) -> None:
    """An error on standard error: a recipe's problems with their lines and carets, others in their own words."""
    if isinstance(error, RecipeError):
        from runner.recipe import render_problems

        print(render_problems(error.problems), file=sys.stderr)
    else:
        print(f"error: {error}", file=sys.stderr)
