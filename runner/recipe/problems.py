"""Problems of a recipe: gathered while it is read, all shown at once, with the line that holds them and a caret."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from runner.errors import Problem, Where

#: Texts that are keys to services; a recipe that holds one is refused, and it is never printed.
KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:AIza[\w-]{30,}|ya29\.[\w-]{20,}|sk-(?=[\w-]*\d)[\w-]{20,}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|gsk_[A-Za-z0-9]{20,}|xox[abp]-[\w-]{10,}|AKIA[0-9A-Z]{16})|-----BEGIN [A-Z ]*PRIVATE KEY-----|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<=https://)[^/\s:@]+(?=@)|(?<=http://)[^/\s:@]+(?=@)"
)
_WIDTH = 110  # columns of a source line that are shown


class Findings:
    """The problems found so far, and the source lines that their texts quote. The same finding counts once."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.secrets: set[str] = set()
        self.said = 0  # how often something was found, the same thing again included
        self.under = ""  # the profile that is being checked, named with what is found under it alone and elsewhere than in its own lines
        self.own: set[tuple[str, int]] = set()  # these lines
        self._problems: dict[tuple[object, ...], Problem] = {}

    def add(self, where: Where, path: str, found: str, expected: str = "", hint: str = "") -> None:
        place: tuple[object, ...] = (where.file, where.line, where.column) if where.line else (where.file, path)
        snippet = self._line(where)
        self.said += 1
        if self.under and (where.file, where.line) not in self.own:
            hint = "; ".join(filter(None, (hint, f"this is under profile {self.under}")))
        path, found, expected, hint = (printable(self.mask(text)) for text in (path, found, expected, hint))
        problem = Problem(where, path, found, expected, hint, self.mask(snippet))
        self._problems.setdefault((*place, problem.found, problem.expected), problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        for p in problems:
            place: tuple[object, ...] = (p.where.file, p.where.line, p.where.column) if p.where.line else (p.where.file, p.path)
            self._problems.setdefault((*place, p.found, p.expected), p)

    def at(self, where: Where) -> bool:
        """Whether a problem is known at a place."""
        return any(key[:3] == (where.file, where.line, where.column) for key in self._problems)

    def mask(self, text: str) -> str:
        """``text`` with everything that looks like a secret starred out, length kept so that carets stay in place."""
        for secret in self.secrets:
            text = text.replace(secret, "*" * len(secret))
        return KEY.sub(lambda match: "*" * len(match.group()), text)

    def _line(self, where: Where) -> str:
        lines = self.lines.get(where.file, [])
        line = lines[where.line - 1] if 0 < where.line <= len(lines) else ""
        return printable(line)

    def __len__(self) -> int:
        return len(self._problems)

    def problems(self) -> list[Problem]:
        """In the order of the file; what has no line (``--set``) last."""
        return sorted(self._problems.values(), key=lambda p: (not p.where.line, p.where, p.path, p.found))


def printable(text: str) -> str:
    """One line that a terminal shows as it stands: what turns its direction, or cannot be seen, is marked."""
    return "".join(" " if c in "\t\n" else c if c.isprintable() else "\ufffd" for c in text)


def render_problems(problems: Sequence[Problem]) -> str:
    """The problems as text: place, dotted path and finding; the line with a caret; what would be right. No colour."""
    blocks = [_block(problem) for problem in problems]
    files = len({problem.where.file for problem in problems if not problem.where.file.startswith("--set")}) or 1
    count = f"{len(problems)} error{'s' if len(problems) != 1 else ''} in {files} recipe{'s' if files != 1 else ''}"
    return "\n".join([*blocks, count])


def _block(problem: Problem) -> str:
    head = "  ".join(part for part in (str(problem.where), problem.path, problem.found) if part)
    note = "; ".join(part for part in (problem.expected and f"expected {problem.expected}", problem.hint) if part)
    if not problem.snippet:
        return f"{head}\n      {note}" if note else head
    text, column, width = _cut(problem.snippet, max(problem.where.column, 1), max(problem.where.width, 1))
    pad = _columns(text[: column - 1])
    carets = "^" * max(1, _columns(text[column - 1 : column - 1 + width]))
    return f"{head}\n{problem.where.line:>5} | {text}\n      | {' ' * pad}{carets} {note}".rstrip()


def _cut(line: str, column: int, width: int) -> tuple[str, int, int]:
    """A long line, cut around the place in question."""
    if len(line) <= _WIDTH:
        return line, column, width
    start = max(0, min(column - 1 - 30, len(line) - _WIDTH))
    text = ("..." if start else "") + line[start : start + _WIDTH] + ("..." if start + _WIDTH < len(line) else "")
    shifted = column - start + (3 if start else 0)
    return text, shifted, min(width, len(text) - shifted + 1)


def _columns(text: str) -> int:
    """Terminal columns that a text takes: wide characters two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
