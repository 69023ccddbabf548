"""The three tasks that a teacher can be given, the forms of their replies, and the judge that reads a reply.

A reply is one JSON object of a fixed form. Whatever is not exactly that is a :class:`Rejected` with its reason: nothing is repaired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

import msgspec

if TYPE_CHECKING:
    from runner.teachers.interface import Reply

QuestionType = Literal["definition", "factual", "numeric", "reason", "procedure", "comparison", "multi-step"]
QUESTION_TYPES: tuple[str, ...] = get_args(QuestionType)

#: Why a reply, or a pair in it, was not taken.
Reason = Literal[
    "malformed",  # not JSON
    "fenced",  # JSON inside a code fence or other words
    "schema",  # JSON of another form: a key missing or too many, a wrong type
    "truncated",  # cut off at the output limit
    "safety",
    "recitation",
    "blocked",  # refused by the provider for another reason
    "empty",  # no text at all
    "nothing-to-ask",  # a reply in good form without items: the text is a table, a list of references
    "secret",  # the reply repeated the API key
    "quote-not-found",  # the cited text does not stand in the source
    "unanswerable",  # the teacher says that the passages do not hold the answer
]

T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(pattern=r"\S")]


class Rejected(Exception):
    """A reply that is not taken, with its typed reason."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


class _Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all reply forms: no extra keys."""


class Pair(_Form, frozen=True):
    question: Text
    answer: Text
    quote: Text
    type: QuestionType


class Question(_Form, frozen=True):
    question: Text
    type: QuestionType


class Answer(_Form, frozen=True):
    answerable: bool
    answer: str
    passage: Annotated[int, msgspec.Meta(ge=0)]
    quote: str


class _Pairs(_Form, frozen=True):
    pairs: list[Pair]


class _Questions(_Form, frozen=True):
    questions: list[Question]


@dataclass(frozen=True)
class WritePairs:
    """Write one question-answer pair per entry of ``types`` about ``text``; ``title`` names the document."""

    text: str
    types: tuple[str, ...]
    title: str = ""

    def schema(self) -> dict[str, Any]:
        return _schema(_Pairs)

    def read(self, text: str) -> list[Pair]:
        """The pairs, at most as many as were asked for."""
        return _decode(text, _Pairs).pairs[: len(self.types)]


@dataclass(frozen=True)
class WriteQuestions:
    """Write one question per entry of ``types`` that ``text`` answers."""

    text: str
    types: tuple[str, ...]
    title: str = ""

    def schema(self) -> dict[str, Any]:
        return _schema(_Questions)

    def read(self, text: str) -> list[Question]:
        """The questions, at most as many as were asked for."""
        return _decode(text, _Questions).questions[: len(self.types)]


@dataclass(frozen=True)
class AnswerFrom:
    """Answer ``question`` from ``passages`` alone. The reply's ``passage`` counts them from 1."""

    question: str
    passages: tuple[str, ...]

    def schema(self) -> dict[str, Any]:
        return _schema(Answer)

    def read(self, text: str) -> list[Answer]:
        """One answer. Rejected when it is empty, or cites a passage that was not given."""
        answer = _decode(text, Answer)
        if not answer.answerable:
            raise Rejected("unanswerable", answer.answer.strip())
        if not answer.answer.strip() or not answer.quote.strip():
            raise Rejected("schema", "an answerable question without an answer or a quote")
        if not 1 <= answer.passage <= len(self.passages):
            raise Rejected("schema", f"passage {answer.passage} of {len(self.passages)}")
        return [answer]


Task = WritePairs | WriteQuestions | AnswerFrom
Item = Pair | Question | Answer


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


def _decode(text: str, form: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.ValidationError as error:
        raise Rejected("schema", str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        if "```" in text or text.lstrip()[:1] not in ("{", "["):
            raise Rejected("fenced", f"more than one JSON object: {text.strip()[:60]!r}") from None
        raise Rejected("malformed", str(error)) from None


def _schema(form: type) -> dict[str, Any]:
    """The JSON Schema of a reply form, with every reference put in place."""
    whole = msgspec.json.schema(form)
    definitions = whole.get("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(definitions[node["$ref"].rsplit("/", 1)[-1]])
        return {key: inline(value) for key, value in node.items() if key not in ("$defs", "title")}

    schema: dict[str, Any] = inline(whole)
    return schema
