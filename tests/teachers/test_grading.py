from __future__ import annotations

from typing import Any

from runner.teachers import Caller, Score, open_teacher
from runner.teachers.grading import grades


class Prompt:
    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def render(self, **variables: Any) -> str:
        self.seen.append(variables)
        return variables["question"] + variables["text"]


def test_each_example_is_graded_by_its_own_text_in_order() -> None:
    examples = [{"id": id, "question": f"What is {id}?", "answer": "a paged cache"} for id in ("held", "other", "alone")]
    texts = {"held": "It is a paged cache.", "other": "It is an optimiser."}
    prompt = Prompt()
    found = list(grades(examples, texts, Caller(open_teacher("extractive")), prompt))
    assert [grade.score for grade in found if isinstance(grade, Score)] == [5, 1, 1]
    assert [seen["text"] for seen in prompt.seen] == [texts["held"], texts["other"], ""]
    assert len({seen["mark"] for seen in prompt.seen}) == 3
