from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.errors import Cancelled, StepError
from runner.training.adapters import Quantization
from runner.training.listener import Nobody
from runner.training.milestones import Evaluations
from runner.training.sft import Tuned, fine_tune
from tests.training.tiny import EXAMPLES, LORA, SFT, no_bases, surrounded

ROOT = Path(__file__).parents[2]
EVERY_6 = Evaluations(steps=6)


def tune(model: Path, journal: Path, **changes: Any) -> Tuned:
    options: dict[str, Any] = {"lora": LORA, "sft": SFT, "evaluations": EVERY_6, "save_steps": 3} | changes
    examples, evaluation = options.pop("examples", EXAMPLES[:8]), options.pop("evaluation", EXAMPLES[8:])
    return fine_tune(model, no_bases, examples, evaluation, **surrounded(journal, options))


def weights(tuned: Tuned) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in tuned.model.named_parameters() if value.requires_grad}


def assert_same(one: Tuned, other: Tuned) -> None:
    assert one.curve == other.curve
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


class Told(Nobody):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.curve: list[dict[str, float]] = []
        self.steps: list[float] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def metrics(self, step: int, **values: float) -> None:
        self.curve.append({"step": step, **values})

    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
        if unit == "steps":
            self.steps.append(done)


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    torch.set_num_threads(1)
    return tune(tiny_model, tmp_path_factory.mktemp("undisturbed"))


def test_the_adapter_learns(undisturbed: Tuned) -> None:
    assert undisturbed.eval_loss_before is not None
    assert undisturbed.eval_loss_after is not None
    assert undisturbed.eval_loss_after < undisturbed.eval_loss_before - 0.1
    assert [row["step"] for row in undisturbed.curve] == [0, 2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in undisturbed.curve if "eval_loss" in row] == [0, 6, 12]
    assert undisturbed.curve[-1]["eval_loss"] == undisturbed.eval_loss_after


def test_only_the_adapter_is_trained(undisturbed: Tuned) -> None:
    trained = weights(undisturbed)
    assert trained
    assert all("lora_" in name for name in trained)
    assert undisturbed.trainable_parameters == sum(value.numel() for value in trained.values())
    assert undisturbed.tokens > 0
    assert undisturbed.seconds > 0


@pytest.mark.parametrize("kill_at", [pytest.param(2, marks=pytest.mark.slow), 9])
def test_after_a_kill_it_goes_on_as_if_nothing_had_happened(tiny_model: Path, tmp_path: Path, undisturbed: Tuned, kill_at: int) -> None:
    command = [sys.executable, "-m", "tests.training.killed", str(tiny_model), str(tmp_path), str(kill_at)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=50)
    assert killed.returncode == -9, killed.stderr.decode()[-2000:]
    half_written = tmp_path / "checkpoint-10"
    half_written.mkdir()
    (half_written / "trainer_state.json").write_text('{"global_step": 10')
    told = Told()

    resumed = tune(tiny_model, tmp_path, listener=told)

    assert resumed.resumed_at == (6 if kill_at == 9 else 0)  # in the middle of an epoch of four steps
    assert told.steps[0] == resumed.resumed_at
    assert_same(resumed, undisturbed)


def test_the_live_curve_of_a_resumed_training_is_whole(tiny_model: Path, tmp_path: Path) -> None:
    class Stops(Told):
        def check_cancelled(self) -> None:
            if self.steps and self.steps[-1] == 9:
                raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        tune(tiny_model, tmp_path, listener=Stops())
    told = Told()
    tune(tiny_model, tmp_path, listener=told)
    assert [row["step"] for row in told.curve if "loss" in row] == [2, 4, 6, 8, 10, 12]


def test_evaluations_before_and_after_change_nothing_in_the_training(tiny_model: Path, tmp_path: Path) -> None:
    sft = SFT | {"max_steps": 4}
    without = tune(tiny_model, tmp_path / "without", sft=sft, evaluation=None)
    evaluated = tune(tiny_model, tmp_path / "evaluated", sft=sft)
    assert without.eval_loss_before is None
    assert evaluated.eval_loss_before is not None
    assert [row["loss"] for row in without.curve] == [row["loss"] for row in evaluated.curve if "loss" in row]


def test_another_seed_gives_another_adapter(tiny_model: Path, tmp_path: Path, undisturbed: Tuned) -> None:
    other = tune(tiny_model, tmp_path, sft=SFT | {"seed": 8}, evaluation=None)
    assert any(not torch.equal(value, weights(undisturbed)[name]) for name, value in weights(other).items())


def test_qlora_trains_on_a_4_bit_base_with_evaluations_in_between(tiny_model: Path, tmp_path: Path) -> None:
    quantization = Quantization(bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype="float32")
    tuned = tune(tiny_model, tmp_path, quantization=quantization)
    assert {type(module).__module__ for module in tuned.model.modules() if hasattr(module, "base_layer")} == {"peft.tuners.lora.bnb"}
    assert tuned.eval_loss_before is not None
    assert tuned.eval_loss_after is not None
    assert tuned.eval_loss_after < tuned.eval_loss_before - 0.1


def test_padding_to_max_length_changes_no_loss(tiny_model: Path, tmp_path: Path) -> None:
    shapes = []
    plain: dict[str, Any] = {"sft": SFT | {"max_steps": 2}, "lora": replace(LORA, lora_dropout=0.0), "evaluation": None}

    def record(module: Any, arguments: Any, options: dict[str, Any]) -> None:
        shapes.append(tuple(options["input_ids"].shape))

    from runner.training import trainer

    class Recording(trainer.Trainer):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.model.register_forward_pre_hook(record, with_kwargs=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "Trainer", Recording)
        longest = tune(tiny_model, tmp_path / "longest", **plain)
        assert all(shape[1] < 128 for shape in shapes)
        shapes.clear()
        padded = tune(tiny_model, tmp_path / "padded", padding="max_length", **plain)
    assert {shape[1] for shape in shapes} == {128}
    assert padded.curve[0]["loss"] == pytest.approx(longest.curve[0]["loss"], abs=1e-5)


def test_rows_that_do_not_fit_are_counted_and_said(tiny_model: Path, tmp_path: Path) -> None:
    long_question = {"question": "Where is it? " * 200, "answer": "In slot 1."}
    long_answer = {"question": "Where?", "answer": "In a slot. " * 200}
    told = Told()
    tuned = tune(
        tiny_model, tmp_path, sft=SFT | {"max_steps": 1}, listener=told, evaluation=None,
        examples=[*EXAMPLES[:4], long_question, long_answer],
    )  # fmt: skip
    assert tuned.examples == 5
    assert told.warnings == [
        "1 of 6 training examples left out: their prompt alone fills max_length 128",
        "1 of 6 training examples have their answer cut at max_length 128",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sft": SFT | {"max_length": 8}}, "no training examples fit: every prompt alone fills max_length 8"),
        ({"examples": []}, "there are no training examples"),
        (
            {"examples": [{"question": "Why?", "answer": "Because. " * 300}], "sft": SFT | {"max_length": None}},
            "longer than the model's context",
        ),
        ({"sft": SFT | {"fp16": True}}, "fp16 mixed precision needs a GPU"),
    ],
)
def test_what_cannot_be_trained_is_said(tiny_model: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError, match=message) as caught:
        tune(tiny_model, tmp_path, **changes)
    assert caught.value.remedy


def test_a_module_that_the_model_lacks_is_refused_though_others_match(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="the model has no module w_proj") as caught:
        tune(tiny_model, tmp_path, lora=replace(LORA, target_modules=["q_proj", "w_proj"]))
    assert "q_proj" in caught.value.remedy


@pytest.mark.parametrize(
    ("sft", "advice"),
    [
        ({}, "lower per_device_train_batch_size from 2 to 1 and raise gradient_accumulation_steps from 1 to 2"),
        ({"per_device_train_batch_size": 1}, "set gradient_checkpointing to true"),
        ({"per_device_train_batch_size": 1, "gradient_checkpointing": True, "max_length": 2048}, "lower max_length from 2048"),
    ],
)
def test_out_of_memory_says_what_to_lower_first(tiny_model: Path, tmp_path: Path, sft: dict[str, Any], advice: str) -> None:
    class Full(Nobody):
        def check_cancelled(self) -> None:
            torch.empty(2**60)  # a real refusal of the allocator

    with pytest.raises(StepError, match="memory ran out while training") as caught:
        tune(tiny_model, tmp_path, sft=SFT | sft, listener=Full(), evaluation=None)
    assert caught.value.remedy == advice


def test_nothing_is_printed(tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tune(tiny_model, tmp_path, sft=SFT | {"max_steps": 2})
    assert capfd.readouterr() == ("", "")
