"""The technical terms of a text, told by their shape and by a glossary: no model, no word list, the same on every machine."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: A word as it is written: letters, digits and what joins or ends technical names (low-rank, I/O, model.safetensors, C++).
_WRITTEN = re.compile(r"[^\W_](?:[\w’'./+#-]*[\w+#])?")
_PLAIN = re.compile(r"[^\W_]+[+#]*")
_SENTENCE_ENDS = ".!?:;\n"


def key_terms(text: str, glossary: Iterable[str] = ()) -> set[str]:
    """Terms in plain form: what is written like one, and what ``glossary`` names.

    Written like a term is a word with letters that has an inner capital or only capitals (LoRA, GPU), holds a digit (FP8, 4-bit), joins
    two parts by a hyphen, dot, slash or underscore (low-rank, model.safetensors), ends in + or # (C++), or starts with a capital within
    a sentence (Adam).
    """
    text = unicodedata.normalize("NFKC", text)
    found = {plain(match[0]) for match in _WRITTEN.finditer(text) if _technical(match[0], _opens_sentence(text, match.start()))}
    said = f" {plain(text)} "
    return (found | {term for term in map(plain, glossary) if f" {term} " in said}) - {""}


def recall(terms: set[str], answer: str) -> float:
    """Share of ``terms`` (plain, at least one) that stand in ``answer`` as whole words in a row; 0 to 1."""
    said = f" {plain(unicodedata.normalize('NFKC', answer))} "
    return sum(f" {term} " in said for term in terms) / len(terms)


def plain(text: str) -> str:
    """Words without case, without what joins them, and without a plural s: ``Low-Rank adapters`` is ``low rank adapter``."""
    words = _PLAIN.findall(re.sub(r"['’]s\b", "", text.casefold()))
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words)


def _technical(word: str, opens_sentence: bool) -> bool:
    word = re.sub(r"['’]s?$", "", word)
    letters = [character for character in word if character.isalpha()]
    if not letters:
        return False
    inner = any(character.isupper() for character in word[1:])
    joined = re.search(r"\w[-./_]\w|[+#]$", word) is not None
    digits = any(character.isdigit() for character in word)
    named = len(letters) > 1 and word[0].isupper() and not opens_sentence
    return inner or joined or digits or named


def _opens_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip(" \t\"'“”‘’([*-•")
    return not before or before[-1] in _SENTENCE_ENDS
