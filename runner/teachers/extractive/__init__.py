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

from runner.teachers.extractive.clauses import plain_words
from runner.teachers.extractive.hops import hops
from runner.teachers.extractive.questions import candidates
from runner.teachers.extractive.sentences import sentences
from runner.teachers.interface import Reply, Request
from runner.teachers.providers import Connection
from runner.teachers.tasks import MULTI_HOP, AnswerFrom, Compare, Grade, WriteMultiHop, WriteQuestions

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
    recorded = False

    def ask(self, request: Request) -> Reply:
        """The reply in the form of the task; it holds no items where a text has no sentence to ask about."""
        task = request.task
        reply: dict[str, Any]
        if isinstance(task, AnswerFrom):
            reply = _answer(task.question, task.passages)
        elif isinstance(task, Grade):
            reply = _grade(task)
        elif isinstance(task, Compare):
            reply = _compare(task)
        else:
            if isinstance(task, WriteMultiHop):
                found = _choose(_joined(task.texts), (MULTI_HOP,) * task.count, task.asked)
            else:
                pool = _single(task.text)
                found = _choose(pool + (_joined([task.text]) if MULTI_HOP in task.types else []), task.types, task.asked)
            if isinstance(task, WriteQuestions):
                reply = {"questions": [{"question": pick.question, "type": pick.type} for pick in found]}
            else:
                reply = {"pairs": [pick.as_pair() for pick in found]}
        return Reply(json.dumps(reply, ensure_ascii=False), model=self.model)


def _grade(task: Grade) -> dict[str, Any]:
    """From 1 to 5 by the share of the answer's words that the text holds: support, and no judgement of style."""
    words, held = set(_words(task.answer)), set(_words(task.text))
    share = len(words & held) / len(words) if words else float(bool(task.answer.strip()) and task.answer in task.text)
    return {"score": 1 + round(4 * share), "reason": f"{len(words & held)} of {len(words)} words of the answer stand in the text"}


def _compare(task: Compare) -> dict[str, Any]:
    """By the words shared with the reference, as F1: nearness to it, and no judgement of style. A tie without a reference."""
    wanted, said = set(_words(task.reference)), [set(_words(text)) for text in (task.first, task.second)]
    first, second = (2 * len(words & wanted) / max(1, len(words) + len(wanted)) for words in said)
    better = "tie" if first == second else "first" if first > second else "second"
    return {"reason": f"F1 of the words shared with the reference: {first:.3f} and {second:.3f}", "better": better}


@dataclass(frozen=True)
class _Pick:
    """A pair; ``sentences`` are the places of what it quotes, so that no sentence is used twice while others are left."""

    type: str
    question: str
    answer: str
    quotes: tuple[str, ...]
    sentences: frozenset[tuple[int, int]]
    score: float

    def as_pair(self) -> dict[str, Any]:
        return {"question": self.question, "answer": self.answer, "quotes": list(self.quotes), "type": self.type}


def _single(text: str) -> list[_Pick]:
    """Every pair that needs one sentence of the text."""
    plain = plain_words(text)
    return [
        _Pick(
            found.type,
            found.question,
            sentence.text[found.start : found.end],
            (text[sentence.start : sentence.end],),
            frozenset({(0, sentence.start)}),
            found.score,
        )
        for sentence in sentences(text)
        for found in candidates(sentence, plain)
    ]


def _joined(texts: Sequence[str]) -> list[_Pick]:
    """Every pair that needs sentences of two texts, or of one text's two paragraphs."""
    return [
        _Pick(
            MULTI_HOP,
            hop.question,
            f"{hop.first.text} {hop.second.text}",
            tuple(texts[at][sentence.start : sentence.end] for at, sentence in zip(hop.texts, (hop.first, hop.second), strict=True)),
            frozenset(zip(hop.texts, (hop.first.start, hop.second.start), strict=True)),
            hop.score,
        )
        for hop in hops(texts)
    ]


def _choose(pool: Sequence[_Pick], types: Sequence[str], asked: Sequence[str]) -> list[_Pick]:
    """At most one pair per entry of ``types``, of that type where there is one; each from its own sentence while there are enough, and
    never two of one type from one sentence: what turns a question round asks for the same fact."""
    chosen: list[_Pick] = []
    known = {_normal(question) for question in asked}
    for wanted in types:
        turned = {(pick.type, pick.sentences) for pick in chosen}
        left = [pick for pick in pool if _normal(pick.question) not in known and (pick.type, pick.sentences) not in turned]
        pick = _best(left, wanted, chosen)
        if pick is None:
            break
        known.add(_normal(pick.question))
        chosen.append(pick)
    return chosen


def _best(left: Sequence[_Pick], wanted: str, chosen: Sequence[_Pick]) -> _Pick | None:
    """The best of the wanted type, else the best that there is; max() takes the first of equals: the order of the text decides."""
    used = {place for pick in chosen for place in pick.sentences}
    types = Counter(pick.type for pick in chosen)
    openings = Counter(_opening(pick.question) for pick in chosen)

    def value(pick: _Pick) -> float:
        again = 1.5 * bool(pick.sentences & used) + 0.3 * types[pick.type] + 0.4 * openings[_opening(pick.question)]
        return pick.score + 4.0 * (pick.type == wanted) - again

    return max(left, key=value, default=None)


def _opening(question: str) -> str:
    return " ".join(question.lower().split()[:2])


def _answer(question: str, passages: Sequence[str]) -> dict[str, Any]:
    """The sentence that shares most with the question, rare words counting more; of it the clause that the question asks for."""
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
    asked = (one for one in candidates(sentence, plain_words(passage)) if _normal(one.question) == _normal(question))
    answer = next((sentence.text[one.start : one.end] for one in asked), sentence.text)
    return {"answerable": True, "answer": answer, "passage": number, "quote": passage[sentence.start : sentence.end]}


def _words(text: str) -> list[str]:
    """The words that carry meaning, cut to a rough stem: "stores", "storing" and "store" are one."""
    words = (word.lower() for word in _WORD.findall(text))
    return [re.sub(r"(?<=\w\w)(?:ing|ed|e)$", "", re.sub(r"(?<=\w\w)s$", "", word)) for word in words if word not in _STOP]


def _normal(question: str) -> str:
    return " ".join(question.lower().split())
