"""Words that are broken at the end of a line: put together again, with or without their hyphen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_WORD = re.compile(r"\w+(?:[-’']\w+)*")


def vocabulary(texts: Iterable[str]) -> Counter[str]:
    """How often each word, hyphenated ones included, stands in the texts, in lower case."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word.lower() for word in _WORD.findall(text))
    return counts


def mend(before: str, after: str, words: Counter[str]) -> tuple[str, str]:
    """Join the last word of ``before``, whose hyphen is already off, with the first of ``after``; return both texts.

    The document itself decides where it can: the spelling that it uses elsewhere wins. Otherwise a capital, a digit or a
    further hyphen on either side (``Chain-of-`` ``Thought``, ``state-`` ``of-the-art``), or two parts that are longer words of
    the document themselves (``mixed-`` ``mode``), mean that the hyphen is part of the word.
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
        hyphen = not right[:1].islower() or "-" in first or "-" in second or compound
    return before[: head.start()] + left + ("-" if hyphen else "") + right, after[tail.end() :].lstrip()
