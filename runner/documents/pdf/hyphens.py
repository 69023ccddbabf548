"""Words that are broken at the end of a line: put together again, with or without their hyphen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from runner.documents.pdf.lines import same_size
from runner.documents.pdf.patterns import CAPTION, LEADERS
from runner.documents.pdf.reading_order import Placed

_WORD = re.compile(r"\w+(?:[-’']\w+)*")
#: Words that mostly stand behind, and in front of, a hyphen of their own.
_TAILS = {
    "aware", "based", "bound", "case", "centric", "dependent", "driven", "free", "hop", "independent", "invariant", "language", "level",
    "mode", "of", "order", "oriented", "parameter", "path", "quality", "range", "scale", "shot", "size", "source", "specific",
    "stage", "step", "style", "term", "time", "to", "trained", "tuned", "tuning", "type", "wide", "world",
}  # fmt: skip
_HEADS = {"cross", "large", "question", "self", "small", "three", "two", "well"}


def vocabulary(texts: Iterable[str]) -> Counter[str]:
    """How often each word, hyphenated ones included, stands in the texts, in lower case."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word.lower() for word in _WORD.findall(text))
    return counts


def mend(before: str, after: str, words: Counter[str]) -> tuple[str, str]:
    """Join the last word of ``before``, whose hyphen is already off, with the first of ``after``; return both texts.

    The document itself decides where it can: the spelling that it uses elsewhere wins. Otherwise a capital, a digit or a
    further hyphen on either side (``Chain-of-`` ``Thought``, ``state-`` ``of-the-art``), two parts that are longer words of the
    document themselves, or a part that is mostly hyphenated (``mixed-`` ``mode``, ``cross-`` ``topic``), mean that the hyphen
    is part of the word.
    """
    head = re.search(r"\S*$", before)
    tail = re.match(r"\S*", after)
    assert head is not None
    assert tail is not None
    left, right = head.group(), tail.group()
    first, second = left.strip("(“\"'[").lower(), right.strip(".,;:)]”\"'?!").lower()
    if second in ("and", "or", "und") and not words[first + second]:  # "sentence- and token-level"
        return f"{before}-", after
    joined, hyphenated = words[first + second], words[f"{first}-{second}"]
    if joined != hyphenated:
        hyphen = hyphenated > joined
    else:
        compound = min(len(first), len(second)) >= 4 and words[first] > 0 and words[second] > 0
        compound = compound or (len(first) >= 3 and second in _TAILS) or (first in _HEADS and len(second) >= 4)
        hyphen = not right[:1].islower() or "-" in first or "-" in second or compound
    return before[: head.start()] + left + ("-" if hyphen else "") + right, after[tail.end() :].lstrip()


def mended(placed: Sequence[Placed]) -> list[Placed]:
    """Put words together that are broken at line ends. The whole word stands in the first of the two lines.

    The second part is in the next line of the same size of type, so that a footnote in between does no harm; over the end of a
    column or page it begins with a small letter or makes a word that the document has, so that a caption there does none.
    """
    words = vocabulary(_whole_words(placed))
    found: list[Placed] = []
    open_words: list[int] = []  # places in ``found`` whose last word goes on
    caption: Placed | None = None
    for item in placed:
        line = item.line
        if line.kind != "text":
            found.append(item)
            continue
        if CAPTION.match(line.text) or (caption and item.follows(caption)):
            caption = item
        else:
            caption = None
        if line.text.endswith(("-", "\u00ad")) and len(line.text) > 2 and line.text[-2].isalnum():
            line = replace(line, text=line.text[:-1], hyphen=True)
        open_words = [place for place in open_words if len(found) - place < 80]
        place = next((place for place in open_words if _takes_up(found[place], item, caption is not None, words)), None)
        if place is not None:
            open_words.remove(place)
            before = found[place].line
            first, rest = mend(before.text, line.text, words)
            if not rest:  # the line held nothing but the end of the word: it becomes a part of the line before
                before = replace(before, right=line.right, bottom=line.bottom, hyphen=line.hyphen)
                if line.hyphen:
                    open_words.append(place)
            found[place] = replace(found[place], line=replace(before, text=first))
            if not rest:
                continue
            line = replace(line, text=rest)
        if line.hyphen:
            open_words.append(len(found))
        text = (LEADERS.sub(" ... ", line.text) if "...." in line.text or ". ." in line.text else line.text).replace("\u00ad", "")
        line = line if text == line.text else replace(line, text=text)
        found.append(item if line is item.line else replace(item, line=line))
    for place, item in enumerate(found):
        if item.line.hyphen and place in open_words:
            found[place] = replace(item, line=replace(item.line, text=item.line.text + "-"))
    return found


def _takes_up(last: Placed, item: Placed, caption: bool, words: Counter[str]) -> bool:
    if not same_size(last.line, item.line) or last.note != item.note:
        return False
    if item.follows(last):
        return True
    if caption:
        return False
    head, tail = last.line.text.split()[-1].lower(), item.line.text.split()[0].lower().strip(".,;:)")
    return item.line.text[0].islower() or bool(words.get(head + tail) or words.get(f"{head}-{tail}"))


def _whole_words(placed: Sequence[Placed]) -> Iterator[str]:
    """The text of all lines without the two parts of broken words."""
    broken = False
    for item in placed:
        words = item.line.text.split()
        yield " ".join(words[broken : -1 if item.line.hyphen else None])
        broken = item.line.hyphen
