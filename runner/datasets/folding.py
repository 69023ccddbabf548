"""Texts made comparable: what remains when case, accents of form, punctuation and spaces do not count."""

from __future__ import annotations

import re
import unicodedata

_NOT_WORDS = re.compile(r"[^\w+\-*/=<>%.]+|(?<!\d)[.\-](?!\d)|_+")


def fold(text: str) -> str:
    """``What is "LoRA"?`` and ``what is lora`` become equal; ``C`` and ``C++``, ``1.5`` and ``15`` stay different."""
    return " ".join(_NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split())
