"""Accuracy: a label or a number is parsed out of the answer by a stated rule; what cannot be parsed is wrong, and counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from runner.errors import InputError
from runner.evaluation.metric import TextMetric
from runner.evaluation.settings import Label, Number

#: Finds the label or number that a text gives; None where it gives none.
Parse = Callable[[str], str | None]
Take = Literal["whole", "first", "last", "only"]

_RULES: dict[Take, str] = {
    "whole": "the answer is one of {} and nothing more, without case",
    "first": "the first of {} in the answer, whole words without case",
    "last": "the last of {} in the answer, whole words without case",
    "only": "the only one of {} in the answer, whole words without case",
}

_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_MARKED = re.compile(r"####\s*(.*)")


def label_parser(labels: Sequence[str], take: Take = "first") -> Parse:
    """Labels as whole words, without case; one of a single letter in its own case, as ``a`` is a word.

    ``whole`` wants the answer to be the label and nothing more but punctuation, ``first`` and ``last`` take the label that is mentioned
    first or last, ``only`` wants just one label to be mentioned. Where one label is part of another, the longer counts.
    """
    known = {_folded(label): label for label in labels}
    longest = sorted(labels, key=len, reverse=True)
    parts = [re.escape(label) if len(label) == 1 else f"(?i:{re.escape(label)})" for label in longest]
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)")

    def parse(text: str) -> str | None:
        if take == "whole":
            found = [text.strip().strip(".!\"'`*() \n")]
            return known.get(_folded(found[0]))
        found = [known[_folded(match[0])] for match in pattern.finditer(text)]
        if not found or (take == "only" and len(set(found)) > 1):
            return None
        return found[-1] if take == "last" else found[0]

    return parse


def parse_number(text: str) -> str | None:
    """The number after ``####`` where one is marked so (GSM8K), else the last number; without thousands' commas, by value."""
    marked = _MARKED.findall(text)
    found = _NUMBER.findall(marked[-1] if marked else text)
    if not found:
        return None
    return f"{float(found[0 if marked else -1].replace(',', '').replace('−', '-')):.12g}"


class Accuracy(TextMetric):
    """The share of answers that give the label or number of a reference."""

    key, title = "accuracy", "Accuracy"
    source = "share of right answers"

    def __init__(self, settings: Label | Number) -> None:
        self._parse: Parse = parse_number
        rule = "the number after ####, else the last number; by value"
        if isinstance(settings, Label):
            rule, self._parse = _RULES[settings.take].format(", ".join(settings.labels)), label_parser(settings.labels, settings.take)
        self.normalisation = f"{rule}; an answer that gives none is wrong"  # type: ignore[misc]
        super().__init__()

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        def score(answer: str, references: Sequence[str]) -> float:
            wanted = {self._parse(reference) for reference in references}
            if wanted == {None}:
                raise InputError(
                    f"the reference `{references[0][:60]}` cannot be parsed: {self.normalisation}",
                    remedy="name all labels, or choose the rule that fits the references",
                )
            found = self._parse(answer)
            return float(found is not None and found in wanted)

        return score


class Unparsable(Accuracy):
    key, title, higher_is_better = "unparsable", "Unparsable", False
    source = "share of answers that give no label or number by the rule of the accuracy"

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        return lambda answer, references: float(self._parse(answer) is None)


def _folded(label: str) -> str:
    return label if len(label) == 1 else label.casefold()
