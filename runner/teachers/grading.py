"""Grades for question-answer pairs: each pair with its text is one request, and one grade comes back, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.teachers.calls import Caller
from runner.teachers.decoding import Rejected
from runner.teachers.interface import Request
from runner.teachers.prompting import Prompt, mark
from runner.teachers.tasks import Grade, Score


def grades(
    examples: Sequence[Mapping[str, Any]], texts: Mapping[str, str], caller: Caller, prompt: Prompt, *, attempts: int = 1
) -> Iterator[Score | Rejected]:
    """For each example (``id``, ``question``, ``answer``), in this order, its grade or why its replies were rejected.

    ``texts`` gives the text to judge an example by, where there is one, by its id. The prompt sees question, answer, text (empty where
    there is none) and mark. ``attempts`` as in :meth:`runner.teachers.calls.Caller.ask_all`.
    """

    def requests() -> Iterator[Request]:
        for example in examples:
            question, answer, text = example["question"], example["answer"], texts.get(example["id"], "")
            rendered = prompt.render(question=question, answer=answer, text=text, mark=mark(question, answer, text))
            yield Request(example["id"], rendered, Grade(question, answer, text))

    for outcome in caller.ask_all(requests(), attempts=attempts):
        if outcome.rejected:
            yield outcome.rejected
        else:
            (score,) = outcome.items
            assert isinstance(score, Score)
            yield score
