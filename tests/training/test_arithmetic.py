"""What training computes, held to plain forward passes: which tokens are learnt, and how their losses are weighted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.answering import Generation, open_answerer
from runner.errors import Cancelled, StepError
from runner.training import conversation, load
from runner.training.adapters import Quantization
from runner.training.flops import training_flops
from runner.training.listener import Nobody
from runner.training.sft import Tuned, fine_tune
from tests.training.tiny import LORA, SFT, no_bases, surrounded

#: Answers of very different lengths, so that a mean of means is not the mean.
ROWS = [
    {"question": "Where?", "answer": "In slot 1."},
    {"question": "How many parts has the tensor?", "answer": "The tensor has 3 parts, and " * 5 + "that is all."},
    {"question": "Why is the gradient stored?", "answer": "It is."},
    {"question": "What?", "answer": "A vector is stored in slot 8. " * 3},
]
PLAIN = replace(LORA, lora_dropout=0.0)
NF4 = Quantization(bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype="float32")


def tune(model: Path, journal: Path, *, rows: list[dict[str, str]] = ROWS, evaluation: Any = None, **changes: Any) -> Tuned:
    options: dict[str, Any] = {"lora": PLAIN, **changes}
    sft = SFT | {"max_steps": 1, "logging_steps": 1, "per_device_train_batch_size": 4, "max_length": 256} | options.pop("sft", {})
    return fine_tune(model, no_bases, rows, evaluation, sft=sft, **surrounded(journal, options))


def trained(tuned: Tuned) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in tuned.model.named_parameters() if value.requires_grad}


def losses(model: Path, rows: list[dict[str, str]], *, prompt_too: bool = False, line_end: bool = True) -> tuple[float, int]:
    """Sum of the losses and number of tokens, one conversation at a time, from the rendered text and a plain forward pass."""
    loaded, total, count = load(model, no_bases), 0.0, 0
    for row in rows:
        asked = conversation(row["question"], loaded.system_prompt)
        whole = conversation(row["question"], loaded.system_prompt, row["answer"])
        prompt = loaded.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        text = loaded.tokenizer.apply_chat_template(whole, tokenize=False)
        assert text == f"{prompt}{row['answer']}<|im_end|>\n"
        ids = torch.tensor([loaded.tokenizer(text if line_end else text.removesuffix("\n"))["input_ids"]])
        start = 1 if prompt_too else len(loaded.tokenizer(prompt)["input_ids"])
        with torch.no_grad():
            logits = loaded.model(ids).logits[0, start - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, start:], reduction="sum"))
        count += ids.shape[1] - start
    return total, count


def test_the_answer_and_the_end_of_its_turn_are_learnt_each_token_with_the_same_weight(tiny_model: Path, tmp_path: Path) -> None:
    total, count = losses(tiny_model, ROWS)
    assert tune(tiny_model, tmp_path).curve[0]["loss"] == pytest.approx(total / count, rel=1e-4)


def test_without_completion_only_loss_the_whole_conversation_is_learnt(tiny_model: Path, tmp_path: Path) -> None:
    total, count = losses(tiny_model, ROWS, prompt_too=True)
    loss = tune(tiny_model, tmp_path, sft={"completion_only_loss": False}).curve[0]["loss"]
    assert loss == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize(
    "sft",
    [
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
        {"gradient_checkpointing": True},
    ],
)
def test_accumulation_and_checkpointing_are_the_same_step(tiny_model: Path, tmp_path: Path, sft: dict[str, Any]) -> None:
    """SGD, since Adam's first step is the same for a gradient of any size."""
    same = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "max_steps": 2}
    one, other = tune(tiny_model, tmp_path / "one", sft=same), tune(tiny_model, tmp_path / "other", sft=same | sft)
    assert [row["loss"] for row in one.curve] == pytest.approx([row["loss"] for row in other.curve], rel=1e-4)
    assert one.tokens == other.tokens
    for name, value in trained(one).items():
        assert torch.allclose(value, trained(other)[name], atol=1e-5), name
    assert any(bool(value.any()) for name, value in trained(one).items() if "lora_B" in name)


def test_the_evaluation_loss_is_the_loss_that_answering_finds(tiny_model: Path, tmp_path: Path) -> None:
    tuned = tune(tiny_model, tmp_path, evaluation=ROWS[1:2])
    answerer = open_answerer(tiny_model, "full", no_bases, threads=1)
    [answer] = answerer.answer([answerer.prompt(ROWS[1]["question"])], Generation(1), [ROWS[1]["answer"]])
    assert tuned.eval_loss_before == pytest.approx(answer.reference_loss, rel=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_evaluation_is_a_mean_over_tokens_whatever_the_size_of_a_batch(tiny_model: Path, tmp_path: Path, size: int) -> None:
    """Dropout and NEFTune's noise are for training alone."""
    total, count = losses(tiny_model, ROWS)
    sft = {"per_device_eval_batch_size": size, "neftune_noise_alpha": 50.0}
    tuned = tune(tiny_model, tmp_path, evaluation=ROWS, lora=replace(LORA, lora_dropout=0.9), sft=sft)
    assert tuned.eval_loss_before == pytest.approx(total / count, rel=1e-5)
    [after] = [row for row in tuned.curve if row["step"] == 1]
    assert after["eval_loss"] == tuned.eval_loss_after != tuned.eval_loss_before
    with torch.no_grad():
        tuned.model.eval()
        hits, said = 0, 0.0
        for row in ROWS:
            prompt, whole = tokens(tuned, row)
            logits = tuned.model(input_ids=torch.tensor([whole])).logits[0, len(prompt) - 1 : -1]
            hits += int((logits.argmax(-1) == torch.tensor(whole[len(prompt) :])).sum())
            said += float(torch.nn.functional.cross_entropy(logits, torch.tensor(whole[len(prompt) :]), reduction="sum"))
    assert after["eval_loss"] == pytest.approx(said / count, rel=1e-5)
    assert after["eval_mean_token_accuracy"] == pytest.approx(hits / count, abs=1e-6)


def tokens(tuned: Tuned, row: dict[str, str]) -> tuple[list[int], list[int]]:
    """Of the prompt, and of the whole conversation."""
    asked, whole = (conversation(row["question"], "Answer briefly.", answer) for answer in (None, row["answer"]))
    template = tuned.tokenizer.apply_chat_template
    return template(asked, add_generation_prompt=True, return_dict=True)["input_ids"], template(whole, return_dict=True)["input_ids"]


def test_tokens_are_counted_without_padding(tiny_model: Path, tmp_path: Path) -> None:
    loaded = load(tiny_model, no_bases)
    texts = [conversation(row["question"], loaded.system_prompt, row["answer"]) for row in ROWS]
    whole = [loaded.tokenizer.apply_chat_template(text, tokenize=True, return_dict=True)["input_ids"] for text in texts]
    tuned = tune(tiny_model, tmp_path, padding="max_length")
    assert tuned.tokens == tuned.curve[-1]["num_input_tokens_seen"] == sum(map(len, whole))
    assert tuned.flops == training_flops(tuned.model, map(len, whole))
    packed = {"packing": True, "max_length": 256, "per_device_train_batch_size": 2}
    assert tune(tiny_model, tmp_path / "packed", sft=packed).flops == tuned.flops  # each example attends to itself alone


@pytest.mark.parametrize("bf16", [False, True])
def test_the_adapter_of_a_quantised_base_is_float32_and_counted_as_any_other(tiny_model: Path, tmp_path: Path, bf16: bool) -> None:
    tuned = tune(tiny_model, tmp_path, quantization=NF4, sft={"bf16": bf16})
    assert {value.dtype for value in trained(tuned).values()} == {torch.float32}
    assert tuned.trainable_parameters == sum(value.numel() for value in trained(tuned).values())
    plain = tune(tiny_model, tmp_path / "plain")
    assert (tuned.trainable_parameters, tuned.parameters) == (plain.trainable_parameters, plain.parameters)


@pytest.mark.parametrize(
    ("dtype", "lora", "sft"),
    [
        ("bfloat16", PLAIN, {"gradient_checkpointing": True}),
        ("float16", PLAIN, {"gradient_checkpointing": True}),
        ("bfloat16", replace(PLAIN, bias="all"), {"bf16": True}),
    ],
)
def test_what_is_trained_on_a_half_precision_base_is_float32(
    tiny_model: Path, tmp_path: Path, dtype: str, lora: Any, sft: dict[str, Any]
) -> None:
    tuned = tune(tiny_model, tmp_path, dtype=dtype, lora=lora, sft=sft)
    assert {value.dtype for value in tuned.model.parameters() if not value.requires_grad} == {getattr(torch, dtype)}
    assert {value.dtype for value in trained(tuned).values()} == {torch.float32}


@pytest.mark.parametrize("bf16", [False, True])
def test_a_resumed_qlora_keeps_its_curve(tiny_model: Path, tmp_path: Path, bf16: bool) -> None:
    class Stops(Nobody):
        def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
            if unit == "steps" and done == 3:
                raise Cancelled("stopped")

    options: dict[str, Any] = {"quantization": NF4, "save_steps": 2, "sft": {"bf16": bf16, "max_steps": 4}}
    whole = tune(tiny_model, tmp_path / "whole", **options)
    with pytest.raises(Cancelled):
        tune(tiny_model, tmp_path / "stopped", listener=Stops(), **options)
    resumed = tune(tiny_model, tmp_path / "stopped", **options)
    assert resumed.resumed_at == 2
    assert resumed.curve == whole.curve
    assert all(torch.equal(value, trained(whole)[name]) for name, value in trained(resumed).items())


def test_a_loss_that_is_no_number_ends_the_training(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"the loss is not a finite number at step [23]\n") as caught:
        tune(tiny_model, tmp_path, sft={"learning_rate": 1e38, "max_grad_norm": 0.0, "max_steps": 3})
    assert "learning_rate" in caught.value.remedy


def test_packed_examples_do_not_see_each_other(tiny_model: Path, tmp_path: Path) -> None:
    """All four in one row: the loss is that of each by itself, and nothing is counted twice or as padding."""
    total, count = losses(tiny_model, ROWS)
    packed = tune(tiny_model, tmp_path / "packed", sft={"packing": True, "max_length": 256, "per_device_train_batch_size": 1})
    assert (packed.examples, packed.sequences) == (4, 2)
    both = tune(tiny_model, tmp_path / "both", sft={"packing": True, "max_length": 256, "per_device_train_batch_size": 2})
    apart = tune(tiny_model, tmp_path / "apart")
    assert both.curve[0]["loss"] == pytest.approx(total / count, rel=1e-4)
    assert both.tokens == apart.tokens
    for name, value in trained(apart).items():
        assert torch.allclose(value, trained(both)[name], atol=1e-4), name


@pytest.mark.parametrize(
    ("sft", "steps"),
    [
        ({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 3}, 4),  # four batches are two steps of three and one
        ({"packing": True, "max_length": 256, "per_device_train_batch_size": 1}, 4),  # two packed rows
        ({"per_device_train_batch_size": 3}, 4),
    ],
)
def test_the_schedule_ends_with_the_last_step(tiny_model: Path, tmp_path: Path, sft: dict[str, Any], steps: int) -> None:
    """Two epochs of a linear schedule after a step of warm-up, whose rate is that of the step that was taken."""
    whole = {"max_steps": -1, "num_train_epochs": 2, "warmup_steps": 1, "learning_rate": 0.3, "lr_scheduler_type": "linear"}
    tuned = tune(tiny_model, tmp_path, sft=whole | sft)
    assert (tuned.steps, tuned.planned_steps) == (steps, steps)
    rates = [row["learning_rate"] for row in tuned.curve if "loss" in row]
    assert rates == pytest.approx([0.0, 0.3, 0.2, 0.1])


def test_packing_changes_no_evaluation(tiny_model: Path, tmp_path: Path) -> None:
    losses = [
        tune(
            tiny_model, tmp_path / str(packing), evaluation=ROWS, sft={"packing": packing, "per_device_eval_batch_size": 2}
        ).eval_loss_before
        for packing in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_assistant_only_loss_learns_the_answer_and_the_token_that_ends_it(tiny_model: Path, tmp_path: Path) -> None:
    """One token less for each row than completion_only_loss: the line end that ChatML puts after the turn."""
    total, count = losses(tiny_model, ROWS, line_end=False)
    only = tune(tiny_model, tmp_path / "only", assistant_only_loss=True)
    assert only.curve[0]["loss"] == pytest.approx(total / count, rel=1e-4)
    both = tune(tiny_model, tmp_path / "both", assistant_only_loss=True, sft={"completion_only_loss": False})
    assert both.curve[0]["loss"] == pytest.approx(only.curve[0]["loss"], rel=1e-6)


def test_all_weights_are_trained_by_the_plain_gradient(tiny_model: Path, tmp_path: Path) -> None:
    sft = {"optim": "sgd", "learning_rate": 0.5, "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}
    tuned = tune(tiny_model, tmp_path, lora=None, sft=sft)
    loaded = load(tiny_model, no_bases)
    ids = [
        loaded.tokenizer.apply_chat_template(conversation(row["question"], loaded.system_prompt, row["answer"]), return_dict=True)[
            "input_ids"
        ]
        for row in ROWS
    ]
    asked = [
        loaded.tokenizer.apply_chat_template(
            conversation(row["question"], loaded.system_prompt), add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for row in ROWS
    ]
    loss = sum(
        torch.nn.functional.cross_entropy(
            loaded.model(torch.tensor([whole])).logits[0, len(prompt) - 1 : -1], torch.tensor(whole[len(prompt) :]), reduction="sum"
        )
        for whole, prompt in zip(ids, asked, strict=True)
    )
    (loss / sum(len(whole) - len(prompt) for whole, prompt in zip(ids, asked, strict=True))).backward()
    found = dict(tuned.model.named_parameters())
    for name, weight in loaded.model.named_parameters():
        assert torch.allclose(found[name], weight - 0.5 * weight.grad, atol=1e-5), name
    assert tuned.trainable_parameters == tuned.parameters == sum(weight.numel() for weight in loaded.model.parameters())


@pytest.mark.parametrize(
    ("sft", "lora"),
    [
        ({"optim": "adamw_torch", "per_device_train_batch_size": 1}, None),  # four steps an epoch: it goes on in the middle of one
        ({"packing": True, "max_length": 256, "per_device_train_batch_size": 1}, replace(LORA, lora_dropout=0.2)),
        ({"packing": True, "max_length": 256, "per_device_train_batch_size": 1, "neftune_noise_alpha": 5.0}, replace(PLAIN, use_dora=True)),
    ],
    ids=["full", "dropout and packing", "DoRA and NEFTune"],
)
def test_a_resumed_training_keeps_its_curve(tiny_model: Path, tmp_path: Path, sft: dict[str, Any], lora: Any) -> None:
    class Stops(Nobody):
        def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
            if unit == "steps" and done == 3:
                raise Cancelled("stopped")

    options: dict[str, Any] = {"lora": lora, "save_steps": 2, "sft": sft | {"max_steps": 4}}
    whole = tune(tiny_model, tmp_path / "whole", **options)
    with pytest.raises(Cancelled):
        tune(tiny_model, tmp_path / "stopped", listener=Stops(), **options)
    resumed = tune(tiny_model, tmp_path / "stopped", **options)
    assert resumed.resumed_at == 2
    assert resumed.curve == whole.curve
    assert all(torch.equal(value, trained(whole)[name]) for name, value in trained(resumed).items())
