"""Many questions through one model, batch by batch, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from runner.answering.answerer import Answerer, Generation
from runner.answering.prompting import Passage, Renders, fit

Row = dict[str, Any]

#: Batches that a model is given at once where a finished answer makes room for the next question: the more, the less of the time fewer
#: questions than a batch are left; and what a kill can cost.
_TOGETHER = 4

#: What a row of answers keeps of its example and of each passage, for those who judge the answer.
_CARRIED = ("answers", "chunks", "context", "documents", "extra", "source", "sources", "type")
_RETRIEVED = ("chunk", "document", "page", "start", "end", "score", "text")


@dataclass
class Dropped:
    """What did not fit into the context: passages left out, and the number of questions that it happened to."""

    passages: int = 0
    questions: int = 0


def answer_all(
    answerer: Answerer,
    questions: Sequence[Mapping[str, Any]],
    passages: Sequence[Sequence[Passage]],
    template: Renders,
    generation: Generation,
    *,
    batch_size: int,
    window: int,
    overflow: Literal["drop-passages", "fail"],
    reference_loss: bool,
    journal: Path,
    progress: Callable[[float], None],
) -> tuple[Iterator[Row], Dropped, float]:
    """Answer every question; ``questions`` are rows of ``examples.jsonl``, ``passages`` what was retrieved for each.

    Groups of one or four batches are fixed by the order of the questions, and a group is kept whole in ``journal`` as soon as it is
    done, so that a run that was killed gives the same bytes as one that was not. ``progress`` gets the number of questions done, and
    may raise to stop. Returns the rows in order (of ``answers.jsonl``, with ``seconds``), what was dropped, and the tokens a second of
    this attempt.
    """
    ready = _kept(journal)
    tokens, seconds, size = 0, 0.0, batch_size * (_TOGETHER if answerer.continuous else 1)
    with journal.open("a", encoding="utf-8", newline="\n") as file:
        for number, start in enumerate(range(0, len(questions), size)):
            if number < ready:
                continue
            part = slice(start, start + size)
            progress(start)
            begun = time.perf_counter()
            fitted = [
                fit(answerer, template, row["question"], found, window=window, reserve=generation.max_new_tokens, overflow=overflow)
                for row, found in zip(questions[part], passages[part], strict=True)
            ]
            answers = answerer.answer(
                [prompt for prompt, _ in fitted],
                generation,
                [row.get("answer") for row in questions[part]] if reference_loss else None,
                _within(progress, start, len(fitted)),
                batch_size=batch_size,
                first=start,
            )
            took = time.perf_counter() - begun
            rows = [
                _row(question, found[: len(found) - dropped], prompt.text, asdict(answer))
                | {"dropped": dropped, "seconds": took / len(fitted)}
                for question, found, (prompt, dropped), answer in zip(questions[part], passages[part], fitted, answers, strict=True)
            ]
            file.write(json.dumps(rows, ensure_ascii=False, sort_keys=True) + "\n")
            file.flush()
            tokens, seconds = tokens + sum(answer.answer_tokens for answer in answers), seconds + took
            progress(min(start + size, len(questions)))
    dropped = Dropped()
    for row in _rows(journal):
        dropped.passages += row["dropped"]
        dropped.questions += bool(row["dropped"])
    return _rows(journal), dropped, tokens / seconds if seconds else 0.0


def _within(progress: Callable[[float], None], start: int, size: int) -> Callable[[float], None]:
    """Progress of one group, as progress of all."""
    return lambda share: progress(start + share * size)


def _row(question: Mapping[str, Any], passages: Sequence[Passage], prompt: str, answer: Row) -> Row:
    carried = {name: question[name] for name in _CARRIED if name in question}
    retrieved = [{name: passage[name] for name in _RETRIEVED if name in passage} for passage in passages]
    return {
        "id": question["id"],
        "question": question["question"],
        "reference": question.get("answer", ""),
        "answer": answer.pop("text"),
        "prompt": prompt,
        "retrieved": retrieved,
        **carried,
        **{name: value for name, value in answer.items() if value is not None},
    }


def _kept(journal: Path) -> int:
    """Complete groups in the journal; a line that a kill cut short is taken off the file."""
    if not journal.exists():
        return 0
    whole = count = 0
    with journal.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                json.loads(line)
            except ValueError:
                break
            whole, count = whole + len(line), count + 1
    with journal.open("r+b") as file:
        file.truncate(whole)
    return count


def _rows(journal: Path) -> Iterator[Row]:
    with journal.open(encoding="utf-8") as file:
        for line in file:
            yield from json.loads(line)
