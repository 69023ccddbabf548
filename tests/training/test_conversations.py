"""What of a conversation is learnt, held to plain forward passes over its text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.training import load
from runner.training.sft import Tuned, fine_tune
from tests.training.tiny import LORA, SFT, no_bases, surrounded

START, END = "<|im_start|>", "<|im_end|>"


def exchange(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


#: Of two, none and one earlier exchanges.
TALKS: list[dict[str, Any]] = [
    {"history": exchange("Where?", "In slot 1.") + exchange("Sure?", "It is a vector."), "question": "Why?", "answer": "So."},
    {"question": "What is stored?", "answer": "The tensor has 3 parts, and that is all."},
    {"history": exchange("How many?", "A gradient has 9 parts, or ten."), "question": "And?", "answer": "It is."},
]


def pieces(talk: dict[str, Any]) -> list[tuple[str, str]]:
    """The text of a conversation and what it is: text, ``earlier`` or ``last`` answer with its end, ``tail`` behind that."""
    found = [("text", f"{START}system\nAnswer briefly.{END}\n")]
    turns = [*talk.get("history", []), *exchange(talk["question"], talk["answer"])]
    for number, turn in enumerate(turns):
        found.append(("text", f"{START}{turn['role']}\n"))
        last = number == len(turns) - 1
        found.append(("text" if turn["role"] == "user" else "last" if last else "earlier", f"{turn['content']}{END}"))
        found.append(("tail" if last else "text", "\n"))
    return found


def loss(model: Path, kinds: set[str]) -> float:
    """The mean over the tokens of these kinds, by one forward pass for each conversation."""
    loaded, total, count = load(model, no_bases), 0.0, 0
    for talk in TALKS:
        parts = [(kind, loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) for kind, text in pieces(talk)]
        ids = torch.tensor([[token for _, tokens in parts for token in tokens]])
        wanted = torch.tensor([kind in kinds for kind, tokens in parts for _ in tokens])[1:]
        with torch.no_grad():
            losses = torch.nn.functional.cross_entropy(loaded.model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        total, count = total + float(losses[wanted].sum()), count + int(wanted.sum())
    return total / count


def tune(model: Path, journal: Path, *, assistant_only_loss: bool = False, evaluation: Any = None, **sft: Any) -> Tuned:
    sft = SFT | {"max_steps": 1, "logging_steps": 1, "per_device_train_batch_size": 3, "max_length": 256} | sft
    options = {"lora": replace(LORA, lora_dropout=0.0), "assistant_only_loss": assistant_only_loss}
    return fine_tune(model, no_bases, TALKS, evaluation, sft=sft, **surrounded(journal, options))


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, {"last", "tail"}),
        ({"assistant_only_loss": True}, {"earlier", "last"}),
        ({"assistant_only_loss": True, "completion_only_loss": True}, {"last"}),
        ({"completion_only_loss": False}, {"text", "earlier", "last", "tail"}),
    ],
    ids=["completion only, by itself", "assistant only", "both", "neither"],
)
def test_what_is_learnt(settings: dict[str, Any], kinds: set[str], tiny_model: Path, tmp_path: Path) -> None:
    assert tune(tiny_model, tmp_path, **settings).curve[0]["loss"] == pytest.approx(loss(tiny_model, kinds), rel=1e-4)


def test_what_is_evaluated_and_what_is_packed_is_learnt_alike(tiny_model: Path, tmp_path: Path) -> None:
    tuned = tune(tiny_model, tmp_path, evaluation=TALKS, assistant_only_loss=True, packing=True)
    assert tuned.sequences < tuned.examples == 3
    assert tuned.eval_loss_before == pytest.approx(loss(tiny_model, {"earlier", "last"}), rel=1e-4)
    [first] = [row["loss"] for row in tuned.curve if row["step"] == 1]
    assert first == pytest.approx(tuned.eval_loss_before, rel=1e-4)


def test_a_long_answer_is_learnt_from_its_beginning(tiny_model: Path, tmp_path: Path) -> None:
    loaded, talk = load(tiny_model, no_bases), {"question": "Why?", "answer": "One tensor, two layers, three chunks, four tokens. " * 3}
    parts = [(kind, loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) for kind, text in pieces(talk)]
    begin = sum(len(tokens) for kind, tokens in parts if kind == "text")
    ids = torch.tensor([[token for _, tokens in parts for token in tokens][: begin + 20]])
    with torch.no_grad():
        first = torch.nn.functional.cross_entropy(loaded.model(ids).logits[0, begin - 1 : -1], ids[0, begin:])
    options = surrounded(tmp_path, {"lora": replace(LORA, lora_dropout=0.0)})
    sft = SFT | {"max_steps": 1, "logging_steps": 1, "per_device_train_batch_size": 1, "max_length": begin + 20}
    assert fine_tune(tiny_model, no_bases, [talk], sft=sft, **options).curve[0]["loss"] == pytest.approx(float(first), rel=1e-4)
