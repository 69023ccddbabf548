"""Many questions through one model, kept one by one, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.answering.answerer import Answerer, Generated, Generation
from runner.answering.fitting import Fitted, Rule, fit_all
from runner.answering.prompting import Passage, Renders
from runner.answering.summaries import NOTHING, Spent

Row = dict[str, Any]

#: Batches that are prepared and given to a model at once. A GGUF fills the place of a finished answer with the next question, so that fewer
#: than a batch are under way only at the end; what is prepared together is summarised together.
_TOGETHER = 8

#: What a row of answers keeps of its example and of each passage, for those who judge the answer.
_CARRIED = ("answers", "chunks", "context", "documents", "extra", "history", "source", "sources", "type")
_RETRIEVED = ("chunk", "document", "page", "start", "end", "score", "text", "summary")

#: What it keeps of the model's answer beside its text.
_MEASURED = ("prompt_tokens", "answer_tokens", "finish", "reference_loss", "reference_tokens")


@dataclass
class Share:
    """A number of passages, and of the questions that they were retrieved for."""

    passages: int = 0
    questions: int = 0

    def add(self, passages: int) -> None:
        self.passages, self.questions = self.passages + passages, self.questions + bool(passages)


@dataclass
class Forgotten:
    """A number of exchanges, and of the questions that they came before."""

    exchanges: int = 0
    questions: int = 0

    def add(self, exchanges: int) -> None:
        self.exchanges, self.questions = self.exchanges + exchanges, self.questions + bool(exchanges)


@dataclass
class Sums:
    """What became of passages that did not fit into the context: left out, cut, put into the prompt in summary; and what summaries cost.
    ``forgotten`` are the oldest exchanges of conversations, which were left out before any passage."""

    dropped: Share = field(default_factory=Share)
    truncated: Share = field(default_factory=Share)
    summarised: Share = field(default_factory=Share)
    summaries: Spent = NOTHING
    forgotten: Forgotten = field(default_factory=Forgotten)


def answer_all(
    answerer: Answerer,
    questions: Sequence[Mapping[str, Any]],
    passages: Sequence[Sequence[Passage]],
    template: Renders,
    generation: Generation,
    *,
    batch_size: int,
    window: int,
    overflow: Rule,
    reference_loss: bool,
    journal: Path,
    progress: Callable[[float], None],
) -> tuple[Iterator[Row], Sums, float]:
    """Answer every question; ``questions`` are rows of ``examples.jsonl``, ``passages`` what was retrieved for each.

    Groups of eight batches are fixed by the order of the questions. Every answer goes to ``journal`` as soon as the model gives it, and a
    run that was killed gives the same bytes as one that was not. ``progress`` gets the number of questions done, and may raise to
    stop. Returns the rows in order (of ``answers.jsonl``, with ``seconds``), what became of passages that did not fit, and the tokens a
    second of this attempt.
    """
    tokens, seconds, size = 0, 0.0, batch_size * _TOGETHER
    with _Journal(journal) as kept, _Journal(journal.with_name("summaries.jsonl")) as summaries:
        for start in range(0, len(questions), size):
            part = slice(start, start + size)
            group = range(len(questions))[part]
            if all(number in kept for number in group):
                continue
            progress(start)
            begun = time.perf_counter()
            fitted = fit_all(
                answerer,
                template,
                [(row["question"], found) for row, found in zip(questions[part], passages[part], strict=True)],
                window=window,
                reserve=generation.max_new_tokens,
                overflow=overflow,
                earlier=[row.get("history") or () for row in questions[part]],
                batch_size=batch_size,
                progress=_within(progress, start, len(group) / 2),
                kept=_Summaries(summaries, start),
            )
            half = len(fitted) / 2 if any(one.spent.calls for one in fitted) else 0.0  # of this group's progress
            made = sum(one.spent.answer_tokens for one in fitted)

            def keep(number: int, answer: Generated, start: int = start, fitted: Sequence[Fitted] = fitted) -> None:
                nonlocal made
                made += answer.answer_tokens
                kept.add(start + number, _row(questions[start + number], fitted[number], answer))

            answerer.answer(
                [one.prompt for one in fitted],
                generation,
                [row.get("answer") for row in questions[part]] if reference_loss else None,
                _within(progress, start + half, len(fitted) - half),
                batch_size=batch_size,
                first=start,
                kept={number - start: _generated(kept[number]) for number in group if number in kept},
                done=keep,
            )
            tokens, seconds = tokens + made, seconds + time.perf_counter() - begun
            progress(min(start + size, len(questions)))
    sums = Sums()
    for row in _rows(journal, len(questions)):
        for name in ("dropped", "truncated", "summarised", "forgotten"):
            getattr(sums, name).add(row.get(name, 0))
        sums.summaries += Spent(**row.get("summaries", {}))
    return _rows(journal, len(questions)), sums, tokens / seconds if seconds else 0.0


def _within(progress: Callable[[float], None], start: float, size: float) -> Callable[[float], None]:
    """Progress of one group, as progress of all."""
    return lambda share: progress(start + share * size)


def _row(question: Mapping[str, Any], fitted: Fitted, answer: Generated) -> Row:
    carried = {name: question[name] for name in _CARRIED if name in question}
    fits = {
        "forgotten": fitted.forgotten,
        "truncated": fitted.truncated,
        "summarised": fitted.summarised,
        "summaries": fitted.spent.calls and asdict(fitted.spent),
    }
    measured = {name: getattr(answer, name) for name in _MEASURED}
    return {
        "id": question["id"],
        "question": question["question"],
        "reference": question.get("answer", ""),
        "answer": answer.text,
        "prompt": fitted.prompt.text,
        "retrieved": [{name: passage[name] for name in _RETRIEVED if name in passage} for passage in fitted.passages],
        "dropped": fitted.dropped,
        **{name: value for name, value in fits.items() if value},
        **carried,
        **{name: value for name, value in measured.items() if value is not None},
        "seconds": answer.seconds + fitted.seconds,
    }


def _generated(row: Row) -> Generated:
    """The answer that a row of the journal was made of."""
    measured: dict[str, Any] = {name: row.get(name) for name in _MEASURED}
    return Generated(row["answer"], **measured)


class _Journal:
    """Rows by the number of their question (or another key), in the order in which they were made: a line ``[number, row]`` each. What is
    held in memory is where they lie."""

    def __init__(self, path: Path) -> None:
        """What a kill cut short is taken off the file."""
        self._places: dict[int | str, int] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                number, _ = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self._places[number], whole = whole, whole + len(line)
        self._file.truncate(whole)

    def add(self, number: int | str, row: Row) -> None:
        self._file.seek(0, 2)
        self._places[number] = self._file.tell()
        self._file.write((json.dumps([number, row], ensure_ascii=False, sort_keys=True) + "\n").encode())
        self._file.flush()

    def __getitem__(self, number: int | str) -> Row:
        self._file.seek(self._places[number])
        row: Row = json.loads(self._file.readline())[1]
        return row

    def __contains__(self, number: int | str) -> bool:
        return number in self._places

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True)
class _Summaries:
    """The summaries of the group that begins with the question ``start``."""

    journal: _Journal
    start: int

    def get(self, place: tuple[int, int]) -> Generated | None:
        key = f"{self.start}-{place[0]}-{place[1]}"
        return Generated(**self.journal[key]) if key in self.journal else None

    def add(self, place: tuple[int, int], summary: Generated) -> None:
        self.journal.add(f"{self.start}-{place[0]}-{place[1]}", asdict(summary))


def _rows(journal: Path, count: int) -> Iterator[Row]:
    with _Journal(journal) as kept:
        for number in range(count):
            yield kept[number]
