"""Texts made comparable: what remains when case, accents of form, punctuation and spaces do not count."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import regex  # `\w` of the standard library leaves out combining marks: vowel signs of Hindi or Thai would not count

#: What stays: letters with their marks, digits, and the signs that change a meaning (C++, C#, 1.5, -5, 10 %, x ≤ y, $5).
_LEFT_OUT = regex.compile(r"[^\w\p{Sm}\p{Sc}\-*/%.#]+|(?<!\d)-(?!\d)|\.(?!\d)|(?<!\w)#|_+")


def fold(text: str) -> str:
    """``What is "LoRA"?`` and ``what is lora`` become equal; ``C``, ``C#`` and ``C++``, ``1.5`` and ``15`` stay different.

    Of a text without any word (``👍!``) spaces alone are left out, so that only equal ones become equal.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_LEFT_OUT.sub(" ", text).split()) or " ".join(text.split())


def asked(example: Mapping[str, Any]) -> str:
    """What an example gives a model: the question, and the context that comes with it, where one does."""
    context = example.get("context")
    return f"{example['question']}\n{context}" if context else str(example["question"])
