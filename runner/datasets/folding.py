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
    """What an example gives a model: what was said before, the question, and the context that comes with it, where one does."""
    return "\n".join(filter(None, [said_before(example), example["question"], example.get("context")]))


def said_before(example: Mapping[str, Any]) -> str:
    """The turns before the question as one text; "" where it is the first."""
    return "\n".join(turn["content"] for turn in example.get("history") or ())


def background(example: Mapping[str, Any]) -> str:
    """What a question must share with another to be compared with it: the context, and what was said before."""
    return "\n".join(filter(None, [said_before(example), example.get("context")]))
