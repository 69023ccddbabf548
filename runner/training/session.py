"""One run of a Transformers Trainer: resumed where it was killed, watched, and measured."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from runner.errors import StepError
from runner.training.checkpoints import last_complete, mark_complete
from runner.training.listener import Listener

#: What of the Trainer's log belongs to the curve: values that are the same in every execution.
CURVE = (
    "loss", "num_input_tokens_seen", "learning_rate", "grad_norm", "entropy", "mean_token_accuracy",
    "eval_loss", "eval_entropy", "eval_mean_token_accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """``curve``: rows ``{step, epoch, loss, ...}``, one per step that was logged, the same after a resume as without one.

    ``seconds`` (in optimiser steps) and ``tokens`` (padding not counted) are those of this execution; ``resumed_at`` is the step that
    it went on from, 0 for a fresh one.
    """

    curve: list[dict[str, float]]
    steps: int
    seconds: float
    tokens: int
    resumed_at: int


class _Watch(TrainerCallback):  # type: ignore[misc]
    def __init__(self, folder: Path, listener: Listener) -> None:
        self.folder, self.listener = folder, listener
        self.seconds, self.began, self.first_token = 0.0, 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.first_token = int(state.num_input_tokens_seen)
        for row in curve(state.log_history):
            self.listener.metrics(int(row["step"]), **values_of(row))
        self.listener.progress(state.global_step, state.max_steps, "steps")

    def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.seconds += time.perf_counter() - self.began
        if state.global_step >= state.max_steps:
            control.should_log = True  # the curve ends where the training does, whatever logging_steps is
        self.listener.progress(state.global_step, state.max_steps, "steps")
        self.listener.check_cancelled()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **rest: Any) -> None:
        for name in ("loss", "eval_loss"):
            checked((logs or {}).get(name, 0.0), int(state.global_step))
        if values := values_of(logs or {}):
            self.listener.metrics(int(state.global_step), **values)

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        mark_complete(self.folder, int(state.global_step))


def run(trainer: Any, folder: Path, listener: Listener, checkpoint: Path | None) -> Outcome:
    """Train to the end, from ``checkpoint`` if there is one. ``folder`` is the Trainer's output_dir."""
    watch = _Watch(folder, listener)
    trainer.add_callback(watch)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    state = trainer.state
    resumed_at = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    return Outcome(
        curve(state.log_history), int(state.global_step), watch.seconds, int(state.num_input_tokens_seen) - watch.first_token, resumed_at
    )


def arguments(folder: Path, device: str, *, save_steps: int, logging_steps: int, **values: Any) -> dict[str, Any]:
    """The TrainingArguments that every training here shares, joined with ``values``.

    Checkpoints fall on steps that are logged: a resumed Trainer forgets the losses gathered since the last logged step,
    so that any other place would bend the curve.
    """
    return {
        "output_dir": str(folder),
        "save_strategy": "steps",
        "save_steps": -(-save_steps // logging_steps) * logging_steps,
        "save_total_limit": 2,
        "logging_steps": logging_steps,
        "use_cpu": device == "cpu",
        "logging_nan_inf_filter": False,  # it would show the mean of the losses before in place of a loss that is not a number
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": device == "cuda",
        "include_num_input_tokens_seen": "non_padding",
        **values,
    }


def checked(loss: float, step: int) -> float:
    """The loss; StepError when it is not a finite number."""
    if math.isfinite(loss):
        return float(loss)
    raise StepError(
        f"the loss is not a finite number at step {step}",
        remedy="lower learning_rate; in float16, use bfloat16 or float32 (dtype, bf16, fp16) where the device has them",
    )


def curve(log_history: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The Trainer's log as one row per step, deterministic values only."""
    entries = [(entry, values) for entry in log_history if (values := values_of(entry))]
    return joined(
        [], *({"step": int(entry["step"]), "epoch": round(float(entry.get("epoch") or 0.0), 6)} | values for entry, values in entries)
    )


def joined(rows: list[dict[str, float]], *more: dict[str, float]) -> list[dict[str, float]]:
    """Rows of a curve, those of the same step made one, in the order of the steps."""
    by_step: dict[float, dict[str, float]] = {}
    for row in [*rows, *more]:
        by_step[row["step"]] = by_step.get(row["step"], {}) | row
    return [by_step[step] for step in sorted(by_step)]


def values_of(entry: dict[str, Any]) -> dict[str, float]:
    """Those of the Trainer's values that belong to the curve; none of a summary, which has no loss of its step."""
    if not {"loss", "eval_loss"} & entry.keys():
        return {}
    # fp16 training begins with gradients that overflow, and skips them: their norm is no number that JSON knows.
    return {name: entry[name] for name in CURVE if name in entry and math.isfinite(entry[name])}


__all__ = ["Outcome", "arguments", "checked", "curve", "joined", "last_complete", "run", "values_of"]
