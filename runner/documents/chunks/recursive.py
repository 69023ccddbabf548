"""Splitting by a list of separators, each tried on what the one before has left too long, as LangChain does it.

The semantics are those of ``RecursiveCharacterTextSplitter`` in langchain-text-splitters 1.1, whose chunks a test compares with
these; unlike it, this one knows where in the text its chunks lie.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

#: Its default separators, and those for ``Language.MARKDOWN``, which ``from_language`` takes as regular expressions and
#: ``MarkdownTextSplitter`` as they stand.
SEPARATORS = {
    "text": ("\n\n", "\n", " ", ""),
    "markdown": (r"\n#{1,6} ", "```\n", r"\n\*\*\*+\n", r"\n---+\n", r"\n___+\n", "\n\n", "\n", " ", ""),
}


@dataclass(frozen=True)
class Recursive:
    """Settings by the names that LangChain gives them.

    ``keep_separator``: at the ``start`` of what follows it, at the ``end`` of what precedes it, or ``none``: it is dropped, and
    pieces are joined by it as it is written here. ``is_separator_regex`` makes regular expressions of them, which must not
    capture groups. Lengths of joined pieces are sums, so that with tokens a chunk may be longer or shorter than it counts.
    """

    separators: Sequence[str] = SEPARATORS["text"]
    keep_separator: Literal["start", "end", "none"] = "start"
    is_separator_regex: bool = False
    strip_whitespace: bool = True

    def pieces(self, text: str, length: Callable[[str], int], size: int, overlap: int) -> Iterator[tuple[int, int, str]]:
        """Start, end and text of each chunk. The text is that of the span, but for separators dropped from within it."""
        return _Run(self, text, length, size, overlap).split(0, len(text), tuple(self.separators))


class _Run:
    def __init__(self, settings: Recursive, text: str, length: Callable[[str], int], size: int, overlap: int) -> None:
        self.settings, self.text, self.length, self.size, self.overlap = settings, text, length, size, overlap

    def split(self, start: int, end: int, separators: Sequence[str]) -> Iterator[tuple[int, int, str]]:
        here = self.text[start:end]  # a pattern must not see what is around it
        separator, finer = self._choose(here, separators)
        joint = separator if self.settings.keep_separator == "none" else ""
        merger = _Merger(self, joint)
        for low, high in self._cut(here, separator):
            length = self.length(here[low:high])
            if length < self.size:
                yield from merger.add(start + low, start + high, length)
                continue
            yield from merger.flush()
            if finer:
                yield from self.split(start + low, start + high, finer)
            else:
                yield start + low, start + high, here[low:high]
        yield from merger.flush()

    def _choose(self, here: str, separators: Sequence[str]) -> tuple[str, Sequence[str]]:
        for number, separator in enumerate(separators):
            if not separator:
                return "", ()
            if re.search(self._pattern(separator), here):
                return separator, separators[number + 1 :]
        return separators[-1], ()

    def _pattern(self, separator: str) -> str:
        return separator if self.settings.is_separator_regex else re.escape(separator)

    def _cut(self, here: str, separator: str) -> Iterator[tuple[int, int]]:
        """The parts of a text between separators, with these where they are kept; empty parts are left out."""
        if not separator:
            yield from ((place, place + 1) for place in range(len(here)))
            return
        keep, low = self.settings.keep_separator, 0
        for found in re.finditer(self._pattern(separator), here):
            high = found.end() if keep == "end" else found.start()
            if low < high:
                yield low, high
            low = found.start() if keep == "start" else found.end()
        if low < len(here):
            yield low, len(here)


class _Merger:
    """Joins parts to chunks, and keeps the last parts of a chunk for the next as far as the overlap allows."""

    def __init__(self, run: _Run, joint: str) -> None:
        self.run, self.joint = run, joint
        self.joint_length = run.length(joint)
        self.parts: deque[tuple[int, int, int]] = deque()
        self.total = 0

    def add(self, start: int, end: int, length: int) -> Iterator[tuple[int, int, str]]:
        if self.parts and self._with(length) > self.run.size:
            yield from self._join()
            while self.total > self.run.overlap or (self._with(length) > self.run.size and self.total > 0):
                self.total -= self.parts.popleft()[2] + (self.joint_length if self.parts else 0)
        self.total = self._with(length)
        self.parts.append((start, end, length))

    def flush(self) -> Iterator[tuple[int, int, str]]:
        yield from self._join()
        self.parts.clear()
        self.total = 0

    def _with(self, length: int) -> int:
        return self.total + length + (self.joint_length if self.parts else 0)

    def _join(self) -> Iterator[tuple[int, int, str]]:
        if not self.parts:
            return
        text, start, end = self.run.text, self.parts[0][0], self.parts[-1][1]
        joined = self.joint.join(text[low:high] for low, high, _ in self.parts) if self.joint else text[start:end]
        if self.run.settings.strip_whitespace:
            start, end = end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip())
            joined = joined.strip()
        if joined:
            yield start, end, joined
