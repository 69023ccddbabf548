"""A question in a conversation is asked, scored and cut to the window as it is trained, in every form of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.answering import Answerer, Generation, answer_all, fit, open_answerer
from runner.gguf.export import export
from runner.training import load
from runner.training.listener import Nobody
from runner.training.rows import prepare, rows_of
from tests.gguf import tiny

HISTORY = [
    {"role": "user", "content": "What is attention?"},
    {"role": "assistant", "content": "A softmax over keys."},
    {"role": "user", "content": "Of what?"},
    {"role": "assistant", "content": "Of the block."},
]
TALK = {"id": "a", "history": HISTORY, "question": "Why?", "answer": "It is shared."}


class Bare:
    def render(self, **variables: Any) -> str:
        return "".join(f"{passage['text']}\n" for passage in variables["passages"]) + str(variables["question"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    base = tiny.model(root / "full", num_hidden_layers=1, initializer_range=0.05)
    adapter, _ = tiny.adapter(root / "adapter", base)
    for name, lora in (("gguf", None), ("merged", adapter)):
        (root / name).mkdir()
        export(base, root / name / "model.gguf", adapter=lora, quantization="F32", allow_fallback=True)
        tiny.record(root / name, form="gguf", architecture="qwen2", system_prompt="Answer briefly.")
    return {name: root / name for name in ("full", "adapter", "gguf", "merged")}


def opened(name: str, folders: dict[str, Path]) -> Answerer:
    form = name if name in ("full", "adapter") else "gguf"
    return open_answerer(folders[name], form, lambda ref: folders["full"], threads=1)


@pytest.mark.parametrize("name", ["full", "gguf"])
def test_it_is_asked_as_it_is_trained(name: str, folders: dict[str, Path]) -> None:
    loaded = load(folders["full"], lambda ref: folders["full"])
    [row] = prepare(rows_of([TALK], str, loaded.system_prompt), loaded.tokenizer, None, None, "examples", Nobody())
    prompt = opened(name, folders).prompt("Why?", HISTORY)
    assert prompt.tokens == tuple(row["input_ids"][: row["completion_mask"].index(1)])
    assert prompt.text.count("Answer briefly.") == 1


@pytest.mark.parametrize(("name", "weights"), [("full", "full"), ("gguf", "full"), ("adapter", "adapter"), ("merged", "adapter")])
def test_the_reference_is_scored_after_its_history(name: str, weights: str, folders: dict[str, Path]) -> None:
    loaded = load(folders[weights], lambda ref: folders["full"])
    [row] = prepare(rows_of([TALK], str, "Answer briefly."), loaded.tokenizer, None, None, "examples", Nobody())
    labels = [token if learnt else -100 for token, learnt in zip(row["input_ids"], row["completion_mask"], strict=True)]
    with torch.no_grad():
        loss = float(loaded.model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([labels])).loss)
    answerer = opened(name, folders)
    [answer] = answerer.answer([answerer.prompt("Why?", HISTORY)], Generation(1), [TALK["answer"]])
    assert answer.reference_tokens == sum(row["completion_mask"])
    assert answer.reference_loss == pytest.approx(loss, abs=2e-3)
    alone = answerer.answer([answerer.prompt("Why?")], Generation(1), [TALK["answer"]])[0].reference_loss
    assert alone is not None
    assert abs(loss - alone) > 5e-3  # the history matters, so that one that is lost would be seen


def test_the_oldest_exchanges_make_room_before_any_passage(folders: dict[str, Path]) -> None:
    answerer = opened("full", folders)
    passages = [{"text": "A block has a scale."}, {"text": "Keys are rows."}]
    message = "A block has a scale.\nKeys are rows.\nWhy?"
    sizes = [len(answerer.prompt(message, HISTORY[start:]).tokens) for start in (0, 2, 4)]
    for room, forgotten, dropped in [(sizes[0], 0, 0), (sizes[0] - 1, 1, 0), (sizes[1], 1, 0), (sizes[2], 2, 0), (sizes[2] - 1, 2, 1)]:
        fitted = fit(answerer, Bare(), "Why?", passages, window=room + 4, reserve=4, earlier=HISTORY)
        assert (fitted.forgotten, fitted.dropped) == (forgotten, dropped)
        assert fitted.prompt.earlier == tuple(HISTORY[2 * forgotten :])


def test_answers_of_a_run_keep_the_history_and_what_was_left_out_of_it(folders: dict[str, Path], tmp_path: Path) -> None:
    answerer = opened("full", folders)
    talks = [TALK, {"id": "b", "question": "Why?", "answer": "It is shared."}]
    room = len(answerer.prompt("Why?", HISTORY).tokens) - 1
    rows, sums, _ = answer_all(
        answerer, talks, [[], []], Bare(), Generation(2), batch_size=2, window=room + 2, overflow="fail", reference_loss=True,
        journal=tmp_path / "journal", progress=lambda done: None,
    )  # fmt: skip
    one, other = list(rows)
    assert (one["history"], one["forgotten"]) == (HISTORY, 1)
    assert one["prompt"] == answerer.prompt("Why?", HISTORY[2:]).text
    assert "history" not in other
    assert "forgotten" not in other
    assert (sums.forgotten.exchanges, sums.forgotten.questions) == (1, 1)
    assert one["reference_loss"] != other["reference_loss"]
    json.dumps(one)


def test_a_prompt_begins_once_with_the_token_that_begins_a_text(folders: dict[str, Path]) -> None:
    """The template writes it, and the tokenizer would write it too, as of Llama and Gemma."""
    from tokenizers.processors import TemplateProcessing

    answerer: Any = opened("full", folders)
    tokenizer, begin = answerer._tokenizer, "<|endoftext|>"
    number = tokenizer.convert_tokens_to_ids(begin)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, number)])
    assert tokenizer("x")["input_ids"][0] == number
    tokenizer.chat_template = f"{{{{ '{begin}' }}}}{tokenizer.chat_template}"
    tokens = answerer.prompt("Why?", HISTORY).tokens
    assert (tokens[0], tokens.count(number)) == (number, 1)
