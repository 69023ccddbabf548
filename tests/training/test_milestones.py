from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.errors import Cancelled, StepError
from runner.training.listener import Nobody
from runner.training.milestones import Checkpoints, Evaluations
from runner.training.sft import Tuned, fine_tune
from tests.training.tiny import EXAMPLES, LORA, SFT, no_bases, surrounded

#: A rate at which the loss of the unseen examples falls at first and rises afterwards.
WILD = {"max_steps": 8, "logging_steps": 1, "learning_rate": 0.1, "lr_scheduler_type": "constant"}


def tune(model: Path, journal: Path, *, sft: dict[str, Any] | None = None, **changes: Any) -> Tuned:
    options: dict[str, Any] = {"lora": LORA, "save_steps": 1} | changes
    return fine_tune(model, no_bases, EXAMPLES[:8], EXAMPLES[8:], sft=SFT | (sft or {}), **surrounded(journal, options))


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def evaluated(tuned: Tuned) -> dict[int, float]:
    return {int(row["step"]): row["eval_loss"] for row in tuned.curve if "eval_loss" in row}


def loss_of(tuned: Tuned) -> float:
    """The loss of the unseen examples under the model as it is now, token by token."""
    from runner.training import conversation

    total, count = 0.0, 0
    for row in EXAMPLES[8:]:
        asked = tuned.tokenizer.apply_chat_template(
            conversation(row["question"], "Answer briefly."), add_generation_prompt=True, return_dict=True
        )["input_ids"]
        whole = tuned.tokenizer.apply_chat_template(conversation(row["question"], "Answer briefly.", row["answer"]), return_dict=True)
        ids = torch.tensor([whole["input_ids"]])
        with torch.no_grad():
            logits = tuned.model.eval()(input_ids=ids).logits[0, len(asked) - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, len(asked) :], reduction="sum"))
        count += ids.shape[1] - len(asked)
    return total / count


class Stops(Nobody):
    """Interrupts a training after a step, as the checkpoint of the step before is the last."""

    def __init__(self, step: int) -> None:
        self.step = step

    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
        if unit == "steps" and done == self.step:
            raise Cancelled("stopped")


def test_the_best_model_is_the_one_of_the_lowest_loss_and_not_the_last(tiny_model: Path, tmp_path: Path) -> None:
    tuned = tune(tiny_model, tmp_path, sft=WILD, evaluations=Evaluations(steps=1, load_best_model_at_end=True))
    losses = evaluated(tuned)
    assert tuned.best_step == min((step for step in losses if step), key=lambda step: losses[step])
    assert tuned.best_step != tuned.steps == 8  # or the test would see nothing
    assert tuned.eval_loss_after == losses[tuned.best_step]
    assert loss_of(tuned) == pytest.approx(losses[tuned.best_step], rel=1e-4)


def test_a_resumed_training_finds_the_same_best_model(tiny_model: Path, tmp_path: Path) -> None:
    best = Evaluations(steps=1, load_best_model_at_end=True)
    whole = tune(tiny_model, tmp_path / "whole", sft=WILD, evaluations=best)
    assert whole.best_step is not None
    with pytest.raises(Cancelled):
        tune(tiny_model, tmp_path / "stopped", sft=WILD, evaluations=best, listener=Stops(whole.best_step + 2))
    resumed = tune(tiny_model, tmp_path / "stopped", sft=WILD, evaluations=best)
    assert resumed.resumed_at == whole.best_step + 1
    assert (resumed.curve, resumed.best_step) == (whole.curve, whole.best_step)
    assert all(torch.equal(value, weights(whole.model)[name]) for name, value in weights(resumed.model).items())


def test_training_ends_when_the_loss_no_longer_falls(tiny_model: Path, tmp_path: Path) -> None:
    full = evaluated(tune(tiny_model, tmp_path / "full", sft=WILD, evaluations=Evaluations(steps=1)))
    best, waited, expected = float("inf"), 0, 8
    for step in range(1, 9):
        waited = 0 if full[step] < best else waited + 1
        best = min(best, full[step])
        if waited == 2:
            expected = step
            break
    stopped = tune(tiny_model, tmp_path, sft=WILD, evaluations=Evaluations(steps=1, early_stopping_patience=2))
    assert stopped.steps == expected < stopped.planned_steps == 8
    # killed after it stopped and before its result was stored: it stops at the same step again
    again = tune(tiny_model, tmp_path, sft=WILD, evaluations=Evaluations(steps=1, early_stopping_patience=2))
    assert (again.resumed_at, again.steps) == (expected - 1, expected)
    assert again.curve == stopped.curve


def test_a_threshold_asks_for_more_than_any_fall(tiny_model: Path, tmp_path: Path) -> None:
    never = Evaluations(steps=1, early_stopping_patience=3, early_stopping_threshold=100.0)
    assert tune(tiny_model, tmp_path, sft=WILD, evaluations=never).steps == 4  # the first is an improvement on none, three are not


def test_the_curve_has_the_last_steps_whatever_logging_steps_is(tiny_model: Path, tmp_path: Path) -> None:
    def losses(evaluations: Evaluations, logging_steps: int) -> dict[int, float]:
        sft = WILD | {"max_steps": 5, "logging_steps": logging_steps}
        tuned = tune(tiny_model, tmp_path / f"{evaluations.steps}-{logging_steps}", sft=sft, evaluations=evaluations)
        assert type(tuned.curve[-1]["num_input_tokens_seen"]) is int
        return {int(row["step"]): row["loss"] for row in tuned.curve if "loss" in row}

    every, sparse = (losses(Evaluations(), n) for n in (1, 4))
    assert sparse == pytest.approx({4: sum(every[step] for step in (1, 2, 3, 4)) / 4, 5: every[5]})
    stops_at_3 = Evaluations(steps=1, early_stopping_patience=2, early_stopping_threshold=100.0)
    every, sparse = (losses(stops_at_3, n) for n in (1, 4))
    assert sparse == pytest.approx({3: sum(every.values()) / 3})


def test_every_epoch_is_evaluated_once_also_after_a_kill_at_its_end(tiny_model: Path, tmp_path: Path) -> None:
    """Four steps are an epoch here."""
    sft = {"max_steps": -1, "num_train_epochs": 2.5, "logging_steps": 1}
    whole = tune(tiny_model, tmp_path / "whole", sft=sft, evaluations=Evaluations("epoch"))
    assert sorted(evaluated(whole)) == [0, 4, 8, 10]
    with pytest.raises(Cancelled):
        tune(tiny_model, tmp_path / "stopped", sft=sft, evaluations=Evaluations("epoch"), listener=Stops(5))
    resumed = tune(tiny_model, tmp_path / "stopped", sft=sft, evaluations=Evaluations("epoch"))
    assert resumed.resumed_at == 4
    assert resumed.curve == whole.curve


def test_checkpoints_are_the_weights_of_their_step(tiny_model: Path, tmp_path: Path) -> None:
    kept: dict[str, dict[str, torch.Tensor]] = {}

    def save(model: Any, folder: Path) -> None:
        kept[folder.name.removesuffix(".part")] = weights(model)
        (folder / "model.json").write_text("{}")

    sft = {"max_steps": 9, "logging_steps": 1, "lr_scheduler_type": "constant"}
    tune(tiny_model, tmp_path / "long", sft=sft, checkpoints=Checkpoints(steps=[3], epochs=[2]), save=save)
    assert sorted(kept) == ["epoch-2", "step-3"]
    assert {path.name for path in (tmp_path / "long/kept").iterdir()} == {"epoch-2", "step-3"}
    for name, steps in (("step-3", 3), ("epoch-2", 8)):
        short = weights(tune(tiny_model, tmp_path / name, sft=sft | {"max_steps": steps}).model)
        assert all(torch.equal(value, kept[name][key]) for key, value in short.items()), name


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        (Checkpoints(steps=[13]), "the training has 12 steps, and a checkpoint is wanted at 13"),
        (Checkpoints(epochs=[3, 4]), "the training has 3 epochs, and a checkpoint is wanted at 4"),
    ],
)
def test_a_checkpoint_beyond_the_end_is_refused_before_the_first_step(
    tiny_model: Path, tmp_path: Path, checkpoints: Checkpoints, message: str
) -> None:
    with pytest.raises(StepError, match=message):
        tune(tiny_model, tmp_path, checkpoints=checkpoints, save=lambda model, folder: None)
    assert not list(tmp_path.glob("checkpoint-*"))
    assert json.loads((tmp_path / "before.json").read_text())["eval_loss"] > 0
