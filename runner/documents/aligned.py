"""Spaces that mean something: those that stand under each other are the columns of a table or of aligned code."""

from __future__ import annotations

import re

_RUN = re.compile(r"(?<=\S)(?:[ ]{2,}|[ ]*\t[ \t]*)(?=\S)")


def aligned_runs(text: str) -> str:
    """The text with repeated spaces within lines made one, but for those that begin or end where a line above or below has some too."""
    lines = text.split("\n")
    runs = [[match.span() for match in _RUN.finditer(line)] for line in lines]
    for number, line in enumerate(lines):
        if not runs[number]:
            continue
        near = [edge for other in (number - 1, number + 1) if 0 <= other < len(lines) for run in runs[other] for edge in run]
        edges = set(near)
        kept = {run for run in runs[number] if edges & set(run)}
        lines[number] = _RUN.sub(lambda match, kept=kept: match.group() if match.span() in kept else " ", line)  # type: ignore[misc]
    return "\n".join(lines)
