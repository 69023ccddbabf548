"""Lists of references, which a model has little to learn from: found by their heading."""

from __future__ import annotations

import re
from collections.abc import Sequence

from runner.documents.model import Section

_TITLE = re.compile(
    r"(?:(?:\d+|[ivxlc]+|[a-z])[.)]?\s+)?(?:references(?: cited| and notes)?|reference list|bibliography|works cited|literature cited"
    r"|références|bibliographie|referenzen|literatur(?:verzeichnis)?|referencias|bibliografía)\s*[:.]?",
    re.I,
)


def is_bibliography(title: str) -> bool:
    """Whether a heading opens a list of references: ``7. References``, ``Bibliography``."""
    return _TITLE.fullmatch(title.strip()) is not None


def without_bibliography(text: str, sections: Sequence[Section]) -> str:
    """The text without lists of references, each from its heading to the next one of the same or a higher level."""
    pieces, end = [], 0
    for number, section in enumerate(sections):
        if section.start < end or not is_bibliography(section.title):
            continue
        pieces.append(text[end : section.start])
        end = next((later.start for later in sections[number + 1 :] if later.level <= section.level), len(text))
    return "".join([*pieces, text[end:]])


def without_last_lines(text: str) -> str:
    """A text without headings: it ends before the last line that reads ``References`` alone, after an empty line, in its second half."""
    place, found, before = 0, None, "\n"
    for line in text.splitlines(keepends=True):
        if is_bibliography(line) and place > len(text) / 2 and not before.strip():
            found = place
        place, before = place + len(line), line
    return text if found is None else text[:found].rstrip("\n") + "\n"
