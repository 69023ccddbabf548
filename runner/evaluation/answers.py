"""Answers against references: SQuAD's comparisons, and the subsequence that ROUGE-L counts."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Hashable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case; no ASCII punctuation; no articles; single spaces (Rajpurkar et al., 2016: evaluate-v1.1)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 when the normalised answer equals a normalised reference, else 0."""
    found = normalise(answer)
    return float(any(found == normalise(reference) for reference in references))


def token_f1(answer: str, references: Sequence[str]) -> float:
    """Best harmonic mean of precision and recall over the tokens shared with a reference; 0 to 1."""
    found = normalise(answer).split()
    return max(_f1(found, normalise(reference).split()) for reference in references)


def _f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    shared = (Counter(answer) & Counter(reference)).total()
    if not shared:
        return 0.0
    precision, recall = shared / len(answer), shared / len(reference)
    return 2 * precision * recall / (precision + recall)


def common_subsequence(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, a row of the table at a time as bits of one integer.

    Hyyrö (2004), "Bit-parallel LCS-length computation revisited": 20 to 200 times as fast as the table, same result.
    """
    places: dict[Hashable, int] = {}
    for position, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << position
    full = (1 << len(a)) - 1
    row = full
    for token in b:
        matches = row & places.get(token, 0)
        row = (row + matches | row - matches) & full
    return len(a) - row.bit_count()
