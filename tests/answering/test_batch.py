"""A run over many questions: what it writes, and that a kill at any moment changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.answering import Generated, Generation, Prompt, answer_all

QUESTIONS = [
    {"id": f"q{number}", "question": f"question {number}", "answer": f"reference {number}", "type": "factual"} for number in range(7)
]
PASSAGES = [
    [{"text": "words " * 5, "chunk": f"c{n}-{k}", "document": "d", "page": k, "score": 1 - k / 10} for k in range(2)] for n in range(7)
]


class Killed(BaseException):
    pass


class Counting:
    """An answerer whose answers show how it was asked."""

    limit = 100
    continuous = False

    def __init__(self, dies_at: int = 99) -> None:
        self.calls: list[list[str]] = []
        self.dies_at = dies_at

    def prompt(self, message: str, earlier: Sequence[dict[str, str]] = ()) -> Prompt:
        return Prompt(message, f"<{message}>", tuple(range(len(message.split()))))

    def answer(
        self,
        prompts: Sequence[Prompt],
        generation: Generation,
        references: Sequence[str] | None = None,
        progress: Callable[[float], None] | None = None,
        *,
        batch_size: int = 16,
        first: int = 0,
    ) -> list[Generated]:
        if len(self.calls) == self.dies_at:
            raise Killed
        self.calls.append([prompt.message for prompt in prompts])
        assert progress is not None
        progress(0.5)
        batch = " + ".join(prompt.message[-1] for prompt in prompts)
        return [
            Generated(
                f"{batch} from {first} seed {generation.seed}",
                len(p.tokens),
                3,
                "stop",
                1.5 if references else None,
                4 if references else None,
            )
            for p in prompts
        ]

    def stream(self, prompt: Prompt, generation: Generation) -> Iterator[str]:
        yield ""

    def close(self) -> None: ...


class Template:
    def render(self, **variables: Any) -> str:
        return " ".join(passage["text"] for passage in variables["passages"]) + variables["question"]


def run(answerer: Counting, journal: Path, *, window: int = 50, reference_loss: bool = True, seen: list[float] | None = None) -> Any:
    rows, dropped, rate = answer_all(
        answerer,
        QUESTIONS,
        PASSAGES,
        Template(),
        Generation(10, seed=5),
        batch_size=3,
        window=window,
        overflow="drop-passages",
        reference_loss=reference_loss,
        journal=journal,
        progress=(seen if seen is not None else []).append,
    )
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows], dropped, rate


def test_rows_hold_what_was_asked_given_and_answered(tmp_path: Path) -> None:
    rows, dropped, rate = run(Counting(), tmp_path / "journal")
    assert rows[3] == {
        "id": "q3",
        "question": "question 3",
        "reference": "reference 3",
        "type": "factual",
        "answer": "3 + 4 + 5 from 3 seed 5",
        "prompt": f"<{'words ' * 5} {'words ' * 5}question 3>",
        "retrieved": PASSAGES[3],
        "prompt_tokens": 12,
        "answer_tokens": 3,
        "finish": "stop",
        "reference_loss": 1.5,
        "reference_tokens": 4,
        "dropped": 0,
    }
    assert [row["id"] for row in rows] == [f"q{number}" for number in range(7)]
    assert (dropped.passages, dropped.questions) == (0, 0)
    assert rate > 0


def test_passages_that_do_not_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    rows, dropped, _ = run(Counting(), tmp_path / "journal", window=20)
    assert (dropped.passages, dropped.questions) == (7, 7)
    assert [passage["chunk"] for passage in rows[2]["retrieved"]] == ["c2-0"]


def test_without_reference_loss_there_is_none(tmp_path: Path) -> None:
    rows, _, _ = run(Counting(), tmp_path / "journal", reference_loss=False)
    assert not {"reference_loss", "reference_tokens"} & rows[0].keys()


def test_progress_rises_to_the_number_of_questions(tmp_path: Path) -> None:
    seen: list[float] = []
    run(Counting(), tmp_path / "journal", seen=seen)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == 7


@pytest.mark.parametrize("dies_at", [0, 1, 2])
@pytest.mark.parametrize("torn", [b"", b'[{"id": "q', b'[{"broken": \n'])
def test_a_killed_run_goes_on_with_the_same_batches(dies_at: int, torn: bytes, tmp_path: Path) -> None:
    whole = run(Counting(), tmp_path / "whole")[0]
    with pytest.raises(Killed):
        run(Counting(dies_at), tmp_path / "journal")
    with (tmp_path / "journal").open("ab") as file:
        file.write(torn)
    again = Counting()
    assert run(again, tmp_path / "journal")[0] == whole
    assert len(again.calls) == 3 - dies_at
    done = Counting()
    assert run(done, tmp_path / "journal")[0] == whole
    assert done.calls == []


def test_a_continuous_answerer_gets_four_batches_at_once(tmp_path: Path) -> None:
    answerer = Counting()
    answerer.continuous = True
    rows, _, _ = run(answerer, tmp_path / "journal")
    assert [len(call) for call in answerer.calls] == [7]
    assert [row["id"] for row in rows] == [f"q{number}" for number in range(7)]


def test_the_journal_is_one_line_a_batch(tmp_path: Path) -> None:
    run(Counting(), tmp_path / "journal")
    assert [len(json.loads(line)) for line in (tmp_path / "journal").read_text().splitlines()] == [3, 3, 1]
