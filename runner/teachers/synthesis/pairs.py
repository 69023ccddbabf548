"""From texts to requests, and from outcomes to rows of question-answer pairs that name their sources.

Rows are those of ``docs/artifacts.md``: examples, documents and chunks as plain dictionaries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.teachers.calls import Outcome
from runner.teachers.decoding import Rejected
from runner.teachers.interface import Request, Teacher
from runner.teachers.prompting import Prompt, mark
from runner.teachers.synthesis.texts import Row, Unit
from runner.teachers.tasks import MULTI_HOP, Answer, AnswerFrom, Pair, Question, WriteMultiHop, WritePairs, WriteQuestions

#: A row of ``examples.jsonl`` or None, and a row of ``rejected.jsonl`` or None.
Result = tuple[Row | None, Row | None]


def pair_request(unit: Unit, types: Sequence[str], prompt: Prompt, asked: Sequence[str] = (), sample: int = 0) -> Request:
    """Ask for a pair of each of ``types``. The prompt sees title, section, page, text, count, types, asked and mark."""
    task = WritePairs(unit.text, tuple(types), unit.title, tuple(asked))
    return Request(unit.id, _render(prompt, unit, types, asked), task, sample)


def question_request(unit: Unit, types: Sequence[str], prompt: Prompt, asked: Sequence[str] = (), sample: int = 0) -> Request:
    """Ask for questions alone; the prompt sees the same."""
    task = WriteQuestions(unit.text, tuple(types), unit.title, tuple(asked))
    return Request(unit.id, _render(prompt, unit, types, asked), task, sample)


def multi_hop_request(units: Sequence[Unit], count: int, prompt: Prompt, asked: Sequence[str] = (), sample: int = 0) -> Request:
    """Ask for pairs that need several chunks. The prompt sees passages, count, asked and mark."""
    passages = [{"text": unit.text, "title": unit.title, "section": unit.section, "page": unit.page} for unit in units]
    texts = tuple(unit.text for unit in units)
    rendered = prompt.render(passages=passages, count=count, asked=list(asked), mark=_mark_of(passages, asked))
    return Request(f"{units[0].id} {MULTI_HOP}", rendered, WriteMultiHop(texts, count, tuple(asked)), sample)


def answer_request(
    asked: Question, number: int, unit: Unit, passages: Sequence[Mapping[str, Any]], prompt: Prompt, sample: int = 0
) -> Request:
    """Ask for an answer from retrieved chunks, best first. The prompt sees question, passages and mark."""
    seen = [{key: row.get(key) for key in ("text", "title", "section", "page", "score")} for row in passages]
    texts = tuple(row["text"] for row in passages)
    rendered = prompt.render(question=asked.question, passages=seen, mark=_mark_of(seen))
    return Request(f"{unit.id} question {number}", rendered, AnswerFrom(asked.question, texts), sample)


def _mark_of(passages: Sequence[Mapping[str, Any]], asked: Sequence[str] = ()) -> str:
    return mark(*(str(passage[part] or "") for passage in passages for part in ("title", "section", "text")), *asked)


@dataclass(frozen=True)
class Writer:
    """Turns outcomes into rows. Each result is ``(row, None)`` for a pair that is taken and ``(None, row)`` for one that is not."""

    teacher: Teacher

    def pairs(self, units: Sequence[Unit], outcome: Outcome) -> Iterator[Result]:
        """The pairs of a reply about ``units`` (several for a multi-hop request), each with the places of its quotes."""
        if outcome.rejected:
            yield None, self.rejection(units[0], outcome.rejected, outcome)
            return
        for number, pair in enumerate(outcome.items):
            assert isinstance(pair, Pair)
            try:
                sources = _sources(pair, units)
            except Rejected as why:
                yield None, self.rejection(units[0], why, outcome, question=pair.question, answer=pair.answer)
            else:
                chunks = [source["chunk"] for source in sources if "chunk" in source]
                yield self._row(pair.question, pair.answer, pair.type, sources, chunks, outcome, number), None

    def answer(self, unit: Unit, asked: Question, passages: Sequence[Unit], outcome: Outcome) -> Result:
        """The answer to a question about ``unit``.

        ``documents`` names the document that the answer is quoted from, and not the one that gave the question: a split by document
        keeps apart what pairs teach, and would find everything connected otherwise. ``chunks`` names both.
        """
        if outcome.rejected:
            return None, self.rejection(unit, outcome.rejected, outcome, question=asked.question)
        answer = outcome.items[0]
        assert isinstance(answer, Answer)
        # Models miscount: the named passage first, then the others.
        cited = passages[answer.passage - 1]
        for passage in (cited, *passages):
            source = passage.source(answer.quote)
            if source is not None:
                chunks = [chunk for chunk in (passage.chunk, unit.chunk) if chunk]
                return self._row(asked.question, answer.answer, asked.type, [source], chunks, outcome), None
        why = Rejected("quote-not-found", answer.quote)
        return None, self.rejection(unit, why, outcome, question=asked.question, answer=answer.answer)

    def rejection(self, unit: Unit, why: Rejected, outcome: Outcome | None = None, **more: Any) -> Row:
        """A row of ``rejected.jsonl``."""
        teacher = self._teacher(outcome) if outcome else {"provider": self.teacher.provider, "model": self.teacher.model}
        row = {"reason": why.reason, "detail": why.detail, "document": unit.document, "chunk": unit.chunk, "teacher": teacher, **more}
        return {key: value for key, value in row.items() if value not in (None, "")}

    def _teacher(self, outcome: Outcome) -> Row:
        request = outcome.request
        row: Row = {
            "provider": self.teacher.provider,
            "model": self.teacher.model,
            "prompt_digest": hashlib.sha256(request.prompt.encode(errors="surrogatepass")).hexdigest(),
            "sample": request.sample,
        }
        if outcome.reply.model not in ("", self.teacher.model):
            row["reported"] = outcome.reply.model
        if outcome.earlier:
            row["rejected"] = [f"{why.reason}: {why.detail}" if why.detail else why.reason for why in outcome.earlier]
        return row

    def _row(
        self, question: str, answer: str, type: str, sources: Sequence[Row], chunks: Sequence[str], outcome: Outcome, number: int = 0
    ) -> Row:
        question, answer, teacher = question.strip(), answer.strip(), self._teacher(outcome)
        identity = "\n".join(
            [
                teacher["provider"],
                teacher["model"],
                outcome.request.id,
                teacher["prompt_digest"],
                str(teacher["sample"]),
                str(number),
                question,
            ]
        )
        row: Row = {
            "id": f"{self.teacher.provider}-{hashlib.sha256(identity.encode(errors='surrogatepass')).hexdigest()[:16]}",
            "question": question,
            "answer": answer,
            "documents": list(dict.fromkeys(source["document"] for source in sources)),
            "origin": self.teacher.provider,
            "type": type,
            "source": sources[0],
            "teacher": teacher,
        }
        if len(sources) > 1:
            row["sources"] = list(sources)
        if chunks:
            row["chunks"] = list(dict.fromkeys(chunks))
        return row


def _sources(pair: Pair, units: Sequence[Unit]) -> list[Row]:
    """Where the quotes of a pair stand. Rejected when one stands nowhere, or when those of a multi-hop pair stand in one place."""
    found: list[dict[int, Row]] = []
    for quote in pair.quotes:
        places = {at: source for at, unit in enumerate(units) if (source := unit.source(quote))}
        if not places:
            raise Rejected("quote-not-found", quote)
        found.append(places)
    if pair.type == MULTI_HOP:
        alone = [at for at in range(len(units)) if all(at in places for places in found)]
        if len(units) > 1 and alone:
            raise Rejected("one-place", f"all quotes stand in {units[alone[0]].id}")
        sources = [next(iter(places.values())) for places in found]
        if len(units) == 1 and not any(units[0].apart(one, other) for one in sources for other in sources):
            raise Rejected("one-place", "the quotes stand in one paragraph" if len(sources) > 1 else "one quote alone")
    return [next(iter(places.values())) for places in found]


def _render(prompt: Prompt, unit: Unit, types: Sequence[str], asked: Sequence[str]) -> str:
    counts = [{"name": name, "count": types.count(name)} for name in sorted(set(types))]
    return prompt.render(
        title=unit.title,
        section=unit.section,
        page=unit.page,
        text=unit.text,
        count=len(types),
        types=counts,
        asked=list(asked),
        mark=mark(unit.title, unit.section, unit.text, *asked),
    )
