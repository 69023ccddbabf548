"""From texts to requests, and from outcomes to rows of question-answer pairs that name their source.

Rows are those of ``docs/artifacts.md``: examples, documents and chunks as plain dictionaries. Which texts are taken and which
types of question are asked for hangs on the seed and the text's own id alone, so that adding a document changes nothing for the others.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runner.teachers.calls import Outcome
from runner.teachers.decoding import Rejected
from runner.teachers.interface import Request, Teacher
from runner.teachers.quotes import locate
from runner.teachers.tasks import Answer, AnswerFrom, Pair, Question, WritePairs, WriteQuestions

Row = dict[str, Any]


class Prompt(Protocol):
    """A template: :class:`runner.contract.Template` is one."""

    def render(self, **variables: Any) -> str: ...


@dataclass(frozen=True)
class Unit:
    """A text to write about: a whole document, or a chunk of one that begins at ``start``. ``pages`` are spans in the document."""

    id: str
    text: str
    document: str
    title: str = ""
    section: str = ""
    chunk: str | None = None
    start: int = 0
    page: int | None = None
    pages: Sequence[Mapping[str, int]] = ()

    @classmethod
    def of_document(cls, row: Mapping[str, Any]) -> Unit:
        return cls(row["id"], row["text"], row["id"], row.get("title") or "", pages=row.get("pages") or ())

    @classmethod
    def of_chunk(cls, row: Mapping[str, Any]) -> Unit:
        return cls(
            row["id"],
            row["text"],
            row["document"],
            row.get("title") or "",
            row.get("section") or "",
            chunk=row["id"],
            start=int(row.get("start") or 0),
            page=row.get("page"),
        )

    def source(self, quote: str) -> Row | None:
        """Where ``quote`` stands: document, chunk, page, span in the document, and the words as they stand there. None if nowhere."""
        span = locate(quote, self.text)
        if span is None:
            return None
        start, end = self.start + span[0], self.start + span[1]
        page = next((page["page"] for page in self.pages if page["start"] <= start < page["end"]), self.page)
        found = {"document": self.document, "chunk": self.chunk, "page": page, "start": start, "end": end, "quote": self.text[slice(*span)]}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Plan:
    """What to ask for: ``count`` questions a text, of types drawn by weight; ``at_most`` texts (0: all), drawn by the seed."""

    count: int
    types: Mapping[str, float]
    seed: int
    at_most: int = 0

    def choose(self, ids: Iterable[str]) -> set[str]:
        """The ids that are taken."""
        ranked = sorted(ids, key=self._draw)
        return set(ranked[: self.at_most] if self.at_most else ranked)

    def types_for(self, id: str) -> tuple[str, ...]:
        """One type per question: as many of each as its weight says, the remainder drawn."""
        names = sorted(name for name, weight in self.types.items() if weight > 0)
        whole = sum(self.types[name] for name in names)
        shares = {name: self.count * self.types[name] / whole for name in names}
        chosen = [name for name in names for _ in range(int(shares[name]))]
        chance = random.Random(self._draw(id))
        rest = {name: share % 1 for name, share in shares.items() if share % 1 > 1e-9}
        while len(chosen) < self.count:
            left = [name for name in rest if rest[name] > 0] or names
            pick = chance.choices(left, [max(rest.get(name, 0), 1e-9) for name in left])[0]
            rest[pick] = 0
            chosen.append(pick)
        chance.shuffle(chosen)
        return tuple(chosen)

    def _draw(self, id: str) -> str:
        return hashlib.sha256(f"{self.seed}\n{id}".encode(errors="surrogatepass")).hexdigest()


def pair_request(unit: Unit, prompt: Prompt, plan: Plan) -> Request:
    """Ask for pairs about a text. The prompt sees title, section, page, text, count, types and mark."""
    types = plan.types_for(unit.id)
    return Request(unit.id, _render(prompt, unit, types), WritePairs(unit.text, types, unit.title))


def question_request(unit: Unit, prompt: Prompt, plan: Plan) -> Request:
    """Ask for questions alone; the prompt sees the same."""
    types = plan.types_for(unit.id)
    return Request(unit.id, _render(prompt, unit, types), WriteQuestions(unit.text, types, unit.title))


def answer_request(asked: Question, number: int, unit: Unit, passages: Sequence[Mapping[str, Any]], prompt: Prompt) -> Request:
    """Ask for an answer from retrieved chunks, best first. The prompt sees question, passages and mark."""
    seen = [{key: row.get(key) for key in ("text", "title", "section", "page", "score")} for row in passages]
    rendered = prompt.render(question=asked.question, passages=seen, mark=mark("\n".join(row["text"] for row in passages)))
    return Request(f"{unit.id} question {number}", rendered, AnswerFrom(asked.question, tuple(row["text"] for row in passages)))


def mark(text: str) -> str:
    """A word that tells where a text begins and ends inside a prompt, made so that the text itself cannot hold it but by chance."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True)
class Writer:
    """Turns outcomes into rows. Each yields ``(row, None)`` for a pair that is taken and ``(None, row)`` for one that is not."""

    teacher: Teacher

    def pairs(self, unit: Unit, outcome: Outcome) -> Iterator[tuple[Row | None, Row | None]]:
        """The pairs of a reply, each with the place of its quote; a pair whose quote stands nowhere is not taken."""
        if outcome.rejected:
            yield None, self.rejection(unit, outcome.rejected)
            return
        for number, pair in enumerate(outcome.items):
            assert isinstance(pair, Pair)
            source = unit.source(pair.quote)
            if source is None:
                yield None, self.rejection(unit, Rejected("quote-not-found", pair.quote), question=pair.question, answer=pair.answer)
            else:
                chunks = [unit.chunk] if unit.chunk else []
                yield self._row(pair.question, pair.answer, pair.type, source, chunks, outcome, number), None

    def answer(self, unit: Unit, asked: Question, passages: Sequence[Unit], outcome: Outcome) -> tuple[Row | None, Row | None]:
        """The answer to a question about ``unit``.

        ``documents`` names the document that the answer is quoted from, and not the one that gave the question: a split by document
        keeps apart what pairs teach, and would find everything connected otherwise. ``chunks`` names both.
        """
        if outcome.rejected:
            return None, self.rejection(unit, outcome.rejected, question=asked.question)
        answer = outcome.items[0]
        assert isinstance(answer, Answer)
        # Models miscount: the named passage first, then the others.
        cited = passages[answer.passage - 1]
        for passage in (cited, *passages):
            source = passage.source(answer.quote)
            if source is not None:
                chunks = list(dict.fromkeys(chunk for chunk in (passage.chunk, unit.chunk) if chunk))
                return self._row(asked.question, answer.answer, asked.type, source, chunks, outcome), None
        return None, self.rejection(unit, Rejected("quote-not-found", answer.quote), question=asked.question, answer=answer.answer)

    def rejection(self, unit: Unit, why: Rejected, **more: str) -> Row:
        """A row of ``rejected.jsonl``."""
        row = {"reason": why.reason, "detail": why.detail, "document": unit.document, "chunk": unit.chunk, "teacher": self._name(), **more}
        return {key: value for key, value in row.items() if value not in (None, "")}

    def _name(self) -> Row:
        return {"provider": self.teacher.provider, "model": self.teacher.model}

    def _row(self, question: str, answer: str, type: str, source: Row, chunks: Sequence[str], outcome: Outcome, number: int = 0) -> Row:
        prompt_digest = hashlib.sha256(outcome.request.prompt.encode(errors="surrogatepass")).hexdigest()
        question, answer = question.strip(), answer.strip()
        identity = "\n".join([self.teacher.provider, self.teacher.model, outcome.request.id, prompt_digest, str(number), question])
        teacher = {**self._name(), "prompt_digest": prompt_digest}
        if outcome.reply.model not in ("", self.teacher.model):
            teacher["reported"] = outcome.reply.model
        row: Row = {
            "id": f"{self.teacher.provider}-{hashlib.sha256(identity.encode(errors='surrogatepass')).hexdigest()[:16]}",
            "question": question,
            "answer": answer,
            "documents": [source["document"]],
            "origin": self.teacher.provider,
            "type": type,
            "source": source,
            "teacher": teacher,
        }
        if chunks:
            row["chunks"] = list(chunks)
        return row


def _render(prompt: Prompt, unit: Unit, types: Sequence[str]) -> str:
    counts = [{"name": name, "count": types.count(name)} for name in sorted(set(types))]
    return prompt.render(
        title=unit.title, section=unit.section, page=unit.page, text=unit.text, count=len(types), types=counts, mark=mark(unit.text)
    )


__all__ = ["Plan", "Prompt", "Row", "Unit", "Writer", "answer_request", "mark", "pair_request", "question_request"]
