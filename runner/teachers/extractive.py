"""A teacher without a model: questions by grammatical patterns, answers that stand word for word in the text.

It needs no network, no key and no chance, so that every recipe runs whole anywhere. What it writes is no substitute for a
language model's pairs, and is labelled ``extractive`` wherever it appears. It reads a request's task, never its prompt.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.teachers.interface import Reply, Request
from runner.teachers.providers import Connection
from runner.teachers.questions import Candidate, candidates, fallback
from runner.teachers.sentences import Sentence, sentences
from runner.teachers.tasks import AnswerFrom, Grade, WritePairs

_WORD = re.compile(r"[A-Za-z0-9][\w'-]*")
_STOP = frozenset(
    _WORD.findall(
        "a an and are as by did do does for from how in is it its many of on or that the to was were what when where which who why with"
    )
)


def open(connection: Connection) -> ExtractiveTeacher:
    """The extractive teacher; it connects to nothing."""
    return ExtractiveTeacher()


class ExtractiveTeacher:
    """See :class:`runner.teachers.interface.Teacher`."""

    provider = "extractive"
    model = "extractive"
    generation: Mapping[str, Any] = {}
    remote = False

    def ask(self, request: Request) -> Reply:
        """The reply in the form of the task; it holds no items where a text has no sentence to ask about."""
        task = request.task
        reply: dict[str, Any]
        if isinstance(task, AnswerFrom):
            reply = _answer(task.question, task.passages)
        elif isinstance(task, Grade):
            reply = _grade(task)
        else:
            found = _choose(task.text, task.types, task.title)
            if isinstance(task, WritePairs):
                reply = {"pairs": [pick.as_pair() for pick in found]}
            else:
                reply = {"questions": [{"question": pick.candidate.question, "type": pick.candidate.type} for pick in found]}
        return Reply(json.dumps(reply, ensure_ascii=False), model=self.model)


def _grade(task: Grade) -> dict[str, Any]:
    """From 1 to 5 by the share of the answer's words that the text holds: support, and no judgement of style."""
    words, held = set(_words(task.answer)), set(_words(task.text))
    share = len(words & held) / len(words) if words else 0.0
    return {"score": 1 + round(4 * share), "reason": f"{len(words & held)} of {len(words)} words of the answer stand in the text"}


@dataclass(frozen=True)
class _Pick:
    sentence: Sentence
    candidate: Candidate
    quote: str  # the sentence as it stands in the source, line breaks and all

    def as_pair(self) -> dict[str, str]:
        answer = self.sentence.text[self.candidate.start : self.candidate.end]
        return {"question": self.candidate.question, "answer": answer, "quote": self.quote, "type": self.candidate.type}


def _choose(text: str, types: Sequence[str], title: str) -> list[_Pick]:
    """At most one pair per entry of ``types``, of that type where the text gives one; each from its own sentence while there are enough.

    A text that fits no pattern gives one plain question, a text without prose nothing.
    """
    pool: list[_Pick] = []
    spare: list[_Pick] = []
    plain = frozenset(re.findall(r"(?<![\w-])[a-z][a-z-]+(?![\w-])", text))
    for sentence in sentences(text):
        quote = text[sentence.start : sentence.end]
        found = [_Pick(sentence, candidate, quote) for candidate in candidates(sentence, plain)]
        pool += found
        general = None if found else fallback(sentence, title, plain)
        if general:
            spare.append(_Pick(sentence, general, quote))
    # max() takes the first of equals: the order of the text decides
    pool = pool or sorted(spare, key=lambda pick: -pick.candidate.score)[:1]
    chosen: list[_Pick] = []
    for wanted in types:
        pick = _best(pool, wanted, chosen)
        if pick is None:
            break
        chosen.append(pick)
    return chosen


def _best(pool: Sequence[_Pick], wanted: str, chosen: Sequence[_Pick]) -> _Pick | None:
    questions = {_normal(pick.candidate.question) for pick in chosen}
    used = {pick.sentence.start for pick in chosen}
    seen = Counter(pick.candidate.type for pick in chosen)
    left = [pick for pick in pool if _normal(pick.candidate.question) not in questions]
    fresh = [pick for pick in left if pick.sentence.start not in used]

    def value(pick: _Pick) -> float:
        return pick.candidate.score + 3.0 * (pick.candidate.type == wanted) - 0.3 * seen[pick.candidate.type]

    return max(fresh or left, key=value, default=None)


def _answer(question: str, passages: Sequence[str]) -> dict[str, Any]:
    """The sentence that shares most with the question, rare words counting more."""
    found = [(number, passage, sentence) for number, passage in enumerate(passages, 1) for sentence in sentences(passage)]
    if not found:
        return {"answerable": False, "answer": "no complete sentence of prose in the passages", "passage": 0, "quote": ""}
    bags = [set(_words(sentence.text)) for _, _, sentence in found]
    frequency = Counter(word for bag in bags for word in bag)
    wanted = set(_words(re.sub(r"“[^”]*”", "", question)))  # not the words of a title that the question names

    def value(at: int) -> tuple[float, int]:
        shared = sum(math.log(1 + len(bags) / frequency[word]) for word in wanted & bags[at])
        return shared / math.sqrt(1 + 0.02 * len(bags[at])), -at

    best = max(range(len(found)), key=value)
    number, passage, sentence = found[best]
    if not wanted & bags[best]:
        return {"answerable": False, "answer": "no sentence of the passages shares a word with the question", "passage": 0, "quote": ""}
    return {"answerable": True, "answer": sentence.text, "passage": number, "quote": passage[sentence.start : sentence.end]}


def _words(text: str) -> list[str]:
    """The words that carry meaning, cut to a rough stem: "stores", "storing" and "store" are one."""
    words = (word.lower() for word in _WORD.findall(text))
    return [re.sub(r"(?<=\w\w)(?:ing|ed|e)$", "", re.sub(r"(?<=\w\w)s$", "", word)) for word in words if word not in _STOP]


def _normal(question: str) -> str:
    return " ".join(question.lower().split())
