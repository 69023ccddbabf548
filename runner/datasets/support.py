"""How far an answer is held by the text that it was written from, by its words and its numbers."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import regex

#: A word of letters, or one character of a script that is written without spaces.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}"
_WORD = regex.compile(rf"(?V1)[{_UNSPACED}]|[\p{{L}}--[{_UNSPACED}]][[\w'’]--[{_UNSPACED}]]*")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![dD]\b)")  # not the 3 of 3D
_LISTED = re.compile(r"(?:^|(?<=[\n.;:]))\s*\(?\d{1,2}[.)]\s+")  # the number of an item of a list
_COUNTS = {word: float(n) for n, word in enumerate(re.findall(r"\w+", "one two three four five six seven eight nine ten eleven twelve"), 1)}
_SHORT = 4  # letters; shorter words of scripts with spaces are mostly grammar
_GRAMMAR = frozenset(
    _WORD.findall(
        """also been being both does each from have into more most only over some such than that their them then there these they this those
        very were what when which while will with would your"""
    )
)
_ENDING = re.compile(r"['’]s?$|(?<=\w\w\w)(?:ings?|ed|es|e|s)(?:['’]s?)?$")


@dataclass(frozen=True)
class Support:
    """``share`` (0 to 1) of the answer's words that the text holds, which is 1 for an answer without any; and the ``numbers`` that
    it does not hold, as the answer writes them."""

    share: float
    numbers: tuple[str, ...] = ()


def support(answer: str, text: str) -> Support:
    """Compare words of four letters and more without their endings, and numbers by value (``1,000`` is 1000, ``2e-4`` is 0.0002).

    A whole answer that stands in the text is held by it, be it a part of a word ("Japan" in "Japanese"). The numbers of a list's items are
    none. What no comparison of words can tell, this does not: a negation, or the right words about the wrong thing.
    """
    answer, text = (unicodedata.normalize("NFKC", part) for part in (answer, text))
    wanted, held = _stems(answer), _stems(text)
    quoted = " ".join(answer.casefold().split()) in " ".join(text.casefold().split())
    share = len(wanted & held) / len(wanted) if wanted and not quoted else 1.0
    values = {_value(found[0]) for found in _NUMBER.finditer(text)} | {_COUNTS[word] for word in text.casefold().split() if word in _COUNTS}
    glued = {float(part) for part in re.findall(r"\d+(?:\.\d+)?", text)}  # 4-bit, GPT2, v0.5
    missing = [found[0] for found in _NUMBER.finditer(_LISTED.sub(" ", answer)) if _value(found[0]) not in values | glued]
    return Support(share, tuple(dict.fromkeys(missing)))


def _stems(text: str) -> set[str]:
    """`stores`, `stored` and `storing` are one."""
    words = (word.casefold() for word in _WORD.findall(text))
    return {_ENDING.sub("", word) for word in words if not word.isascii() or (len(word) >= _SHORT and word not in _GRAMMAR)}


def _value(text: str) -> float:
    return abs(float(text.replace(",", "")))
