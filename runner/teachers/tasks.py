"""The tasks that a teacher can be given, the forms of their replies, and the judge that reads a reply.

A reply is one JSON object of a fixed form. What stands around the object is taken away (:func:`runner.teachers.decoding.unwrap`); whatever
is not exactly of that form is a :class:`Rejected` with its reason, and nothing is guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec

from runner.teachers.decoding import Rejected, decode, schema_of

if TYPE_CHECKING:
    from runner.teachers.interface import Reply

QuestionType = Literal["definition", "factual", "numeric", "procedure", "analytical", "comparative", "hypothetical", "multi-hop"]
#: What follows only from statements in two places: two chunks, or two parts of one document.
MULTI_HOP: QuestionType = "multi-hop"
QUESTION_TYPES: tuple[str, ...] = get_args(QuestionType)

Text = Annotated[str, msgspec.Meta(pattern=r"\S")]


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all reply forms: no extra keys."""


class Pair(_Form, frozen=True):
    """``quotes`` are the passages that prove the answer: one, and for a multi-hop pair two or more from different places."""

    question: Text
    answer: Text
    quotes: Annotated[list[Text], msgspec.Meta(min_length=1)]
    type: QuestionType


class Question(_Form, frozen=True):
    question: Text
    type: QuestionType


class Answer(_Form, frozen=True):
    answerable: bool
    answer: str
    passage: Annotated[int, msgspec.Meta(ge=0)]
    quote: str


class Score(_Form, frozen=True):
    score: Annotated[int, msgspec.Meta(ge=1, le=5)]
    reason: str


class Preference(_Form, frozen=True):
    reason: str  # before the verdict, so that a model weighs before it decides
    better: Literal["first", "second", "tie"]


class _Pairs(_Form, frozen=True):
    pairs: list[Pair]


class _Questions(_Form, frozen=True):
    questions: list[Question]


@dataclass(frozen=True)
class WritePairs:
    """Write one question-answer pair per entry of ``types`` about ``text``; ``title`` names the document.

    ``asked`` holds the questions that were asked about this text before, and are not to be asked again.
    """

    text: str
    types: tuple[str, ...]
    title: str = ""
    asked: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        return schema_of(_Pairs)

    def read(self, text: str) -> list[Pair]:
        """The pairs, at most as many as were asked for."""
        return decode(text, _Pairs).pairs[: len(self.types)]


@dataclass(frozen=True)
class WriteMultiHop:
    """Write ``count`` pairs of type multi-hop, each of which needs two or more of ``texts``."""

    texts: tuple[str, ...]
    count: int
    asked: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        return schema_of(_Pairs)

    def read(self, text: str) -> list[Pair]:
        """The pairs, at most as many as were asked for. Whether a pair needs two texts is seen when its quotes are looked up."""
        return [msgspec.structs.replace(pair, type=MULTI_HOP) for pair in decode(text, _Pairs).pairs[: self.count]]


@dataclass(frozen=True)
class WriteQuestions:
    """Write one question per entry of ``types`` that ``text`` answers; ``asked`` as for pairs."""

    text: str
    types: tuple[str, ...]
    title: str = ""
    asked: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        return schema_of(_Questions)

    def read(self, text: str) -> list[Question]:
        """The questions, at most as many as were asked for."""
        return decode(text, _Questions).questions[: len(self.types)]


@dataclass(frozen=True)
class AnswerFrom:
    """Answer ``question`` from ``passages`` alone. The reply's ``passage`` counts them from 1."""

    question: str
    passages: tuple[str, ...]

    def schema(self) -> dict[str, Any]:
        return schema_of(Answer)

    def read(self, text: str) -> list[Answer]:
        """One answer. Rejected when it is empty, or cites a passage that was not given."""
        answer = decode(text, Answer)
        if not answer.answerable:
            raise Rejected("unanswerable", answer.answer.strip())
        if not answer.answer.strip() or not answer.quote.strip():
            raise Rejected("schema", "an answerable question without an answer or a quote")
        if not 1 <= answer.passage <= len(self.passages):
            raise Rejected("schema", f"passage {answer.passage} of {len(self.passages)}")
        return [answer]


@dataclass(frozen=True)
class Grade:
    """Grade an answer from 1 (useless) to 5 (as good as can be) against the ``text`` that it was written from."""

    question: str
    answer: str
    text: str

    def schema(self) -> dict[str, Any]:
        return schema_of(Score)

    def read(self, text: str) -> list[Score]:
        """One score."""
        return [decode(text, Score)]


@dataclass(frozen=True)
class Compare:
    """Say which of two answers is better; ``reference`` is what is right, and may be empty."""

    question: str
    first: str
    second: str
    reference: str = ""

    def schema(self) -> dict[str, Any]:
        return schema_of(Preference)

    def read(self, text: str) -> list[Preference]:
        """One verdict."""
        return [decode(text, Preference)]


Task = WritePairs | WriteMultiHop | WriteQuestions | AnswerFrom | Grade | Compare
Item = Pair | Question | Answer | Score | Preference


def read(reply: Reply, task: Task) -> list[Item]:
    """Judge a reply: its items, at least one, or :class:`Rejected`. Pure, so that a recorded reply is always judged alike."""
    if reply.finish == "length":
        raise Rejected("truncated", f"the reply ended at the output limit after {reply.tokens_out} tokens")
    if reply.finish != "stop":
        raise Rejected(reply.finish, reply.detail)
    if not reply.text.strip():
        raise Rejected("empty", reply.detail or "the reply holds no text")
    items: list[Item] = list(task.read(reply.text))
    if not items:
        raise Rejected("nothing-to-ask", "the teacher found nothing to ask about")
    return items
