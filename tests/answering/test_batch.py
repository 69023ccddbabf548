"""A run over many questions: what it writes, and that a kill at any moment changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.answering import Generated, Generation, Prompt, Sums, answer_all, batch
from runner.answering.answerer import NONE, Done
from runner.answering.batch import Share

QUESTIONS = [
    {"id": f"q{number}", "question": f"question {number}", "answer": f"reference {number}", "type": "factual"} for number in range(7)
]
PASSAGES = [
    [{"text": "words " * 5, "chunk": f"c{n}-{k}", "document": "d", "page": k, "score": 1 - k / 10} for k in range(2)] for n in range(7)
]


class Killed(BaseException):
    pass


class Counting:
    """An answerer whose answers show how it was asked. It finishes the longest question of a batch first, and dies before the answer
    of that number."""

    limit = 100

    def __init__(self, dies_at: int = 99) -> None:
        self.calls: list[list[str]] = []
        self.dies_at, self.made = dies_at, 0

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
        kept: Mapping[int, Generated] = NONE,
        done: Done | None = None,
    ) -> list[Generated]:
        assert progress is not None
        assert done is not None
        self.calls.append([prompt.message for prompt in prompts])
        answers = dict(kept)
        for number in reversed(range(len(prompts))):
            if number in kept:
                continue
            if self.made == self.dies_at:
                raise Killed
            self.made += 1
            group = " + ".join(prompt.message[-1] for prompt in prompts)
            loss = (1.5, 4) if references else (None, None)
            answers[number] = Generated(
                f"{number} of {group} from {first} seed {generation.seed}", len(prompts[number].tokens), 3, "stop", *loss, seconds=2.0
            )
            done(number, answers[number])
            progress(len(answers) / len(prompts))
        return [answers[number] for number in range(len(prompts))]

    def stream(self, prompt: Prompt, generation: Generation) -> Iterator[str]:
        yield ""

    def close(self) -> None: ...


class Template:
    def render(self, **variables: Any) -> str:
        return " ".join(passage["text"] for passage in variables["passages"]) + variables["question"]


def run(
    answerer: Counting,
    journal: Path,
    *,
    window: int = 50,
    batch_size: int = 3,
    reference_loss: bool = True,
    seen: list[float] | None = None,
) -> Any:
    rows, sums, rate = answer_all(
        answerer,
        QUESTIONS,
        PASSAGES,
        Template(),
        Generation(10, seed=5),
        batch_size=batch_size,
        window=window,
        overflow="drop-passages",
        reference_loss=reference_loss,
        journal=journal,
        progress=(seen if seen is not None else []).append,
    )
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows], sums, rate


def test_rows_hold_what_was_asked_given_and_answered(tmp_path: Path) -> None:
    rows, sums, rate = run(Counting(), tmp_path / "journal")
    assert rows[3] == {
        "id": "q3",
        "question": "question 3",
        "reference": "reference 3",
        "type": "factual",
        "answer": "3 of 0 + 1 + 2 + 3 + 4 + 5 + 6 from 0 seed 5",
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
    assert sums == Sums()
    assert rate > 0


def test_passages_that_do_not_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    rows, sums, _ = run(Counting(), tmp_path / "journal", window=20)
    assert sums == Sums(dropped=Share(7, 7))
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


@pytest.mark.parametrize("dies_at", range(8))
@pytest.mark.parametrize("torn", [b"", b'[5, {"id": "q', b'[{"broken": \n', b'[6, {"id": "\xc3'])
def test_a_killed_run_loses_no_finished_answer(dies_at: int, torn: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_TOGETHER", 2)  # groups of four and three
    whole = run(Counting(), tmp_path / "whole", batch_size=2)[0]
    if dies_at < 7:
        with pytest.raises(Killed):
            run(Counting(dies_at), tmp_path / "journal", batch_size=2)
    else:
        run(Counting(), tmp_path / "journal", batch_size=2)
    with (tmp_path / "journal").open("ab") as file:
        file.write(torn)
    again = Counting()
    assert run(again, tmp_path / "journal", batch_size=2)[0] == whole
    assert again.made == 7 - dies_at
    assert [len(call) for call in again.calls] == [4, 3][dies_at // 4 :][: 2 if dies_at < 7 else 0]
    done = Counting()
    assert run(done, tmp_path / "journal", batch_size=2)[0] == whole
    assert done.calls == []


def test_the_rows_have_the_seconds_that_the_model_took(tmp_path: Path) -> None:
    rows = answer_all(
        Counting(), QUESTIONS, PASSAGES, Template(), Generation(10), batch_size=3, window=50, overflow="drop-passages",
        reference_loss=False, journal=tmp_path / "journal", progress=lambda done: None,
    )[0]  # fmt: skip
    assert [row["seconds"] for row in rows] == [2.0] * 7
