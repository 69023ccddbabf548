"""Places in a training that matter beyond its end: the best evaluation, the moment to stop early, and models to be kept.

All of it follows from the log that a checkpoint brings back, so that a killed training stops and chooses as an undisturbed one does,
wherever its checkpoints lay. (Transformers' own choice of the best model is among checkpoints, and depends on where they were written.)
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from runner.errors import StepError


@dataclass(frozen=True)
class Evaluations:
    """When the evaluation loss is measured while training, and what follows from it, in Transformers' words.

    ``strategy`` is ``steps`` (every ``steps`` optimiser steps; None: none in between) or ``epoch`` (at the end of each).
    """

    strategy: str = "steps"
    steps: int | None = None
    load_best_model_at_end: bool = False
    early_stopping_patience: int | None = None
    early_stopping_threshold: float = 0.0


@dataclass(frozen=True)
class Checkpoints:
    """Models to be kept besides the last one: after these optimiser steps, and at the end of these epochs (from 1)."""

    steps: Sequence[int] = ()
    epochs: Sequence[int] = ()

    def names(self) -> list[str]:
        """``step-N`` and ``epoch-N``."""
        return [*(f"step-{step}" for step in self.steps), *(f"epoch-{epoch}" for epoch in self.epochs)]


class Best(TrainerCallback):  # type: ignore[misc]
    """Evaluates, holds the trained weights of the best evaluation in ``folder``, and ends a training that no longer gets better."""

    def __init__(self, folder: Path, evaluations: Evaluations) -> None:
        self.file, self.evaluations = folder / "best.safetensors", evaluations

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        # The Trainer evaluates an epoch after its last step is saved: a training killed in between would go on without the evaluation.
        every = self.evaluations.steps
        if _ends_epoch(state) if self.evaluations.strategy == "epoch" else every is not None and state.global_step % every == 0:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        if state.global_step == 0:  # the base, before the training
            return
        best, waited, at = math.inf, 0, 0
        for entry in state.log_history:
            if (loss := entry.get("eval_loss")) is not None:
                waited = 0 if loss < best - self.evaluations.early_stopping_threshold else waited + 1
                best, at = min((best, at), (loss, entry["step"]))
        if self.evaluations.load_best_model_at_end and at == state.global_step:
            self._hold(model)
        patience = self.evaluations.early_stopping_patience
        if patience is not None and waited >= patience:
            control.should_training_stop = True
            control.should_log = True  # what was learnt since the last row of the curve
            control.should_save = False  # a training that resumes from here would not know that it has ended

    def restore(self, model: Any) -> None:
        """Put the best weights into ``model``."""
        from safetensors.torch import load_file

        held = load_file(self.file)
        for name, weight in _trained(model).items():
            weight.data.copy_(held[name])

    def _hold(self, model: Any) -> None:
        from safetensors.torch import save_file

        partial = self.file.with_suffix(".part")
        partial.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: weight.detach().contiguous() for name, weight in _trained(model).items()}, partial)
        partial.replace(self.file)


class Keep(TrainerCallback):  # type: ignore[misc]
    """Writes a model by ``save(model, folder)`` at each of the places that are named, under ``folder``, whole or not at all."""

    def __init__(self, folder: Path, checkpoints: Checkpoints, save: Callable[[Any, Path], None]) -> None:
        self.folder, self.checkpoints, self.save = folder, checkpoints, save

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **rest: Any) -> None:
        in_epoch = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
        for where, wanted, there in (
            ("steps", self.checkpoints.steps, state.max_steps),
            ("epochs", self.checkpoints.epochs, state.max_steps // in_epoch),
        ):
            if beyond := [place for place in wanted if place > there]:
                raise StepError(
                    f"the training has {there} {where}, and a checkpoint is wanted at {beyond[0]}",
                    where=f"checkpoints.{where}",
                    remedy=f"train longer, or name {where} up to {there}",
                )

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        if state.global_step in self.checkpoints.steps:
            self._keep(f"step-{state.global_step}", model)
        if _ends_epoch(state) and round(state.epoch) in self.checkpoints.epochs:
            self._keep(f"epoch-{round(state.epoch)}", model)

    def _keep(self, name: str, model: Any) -> None:
        partial, whole = self.folder / f"{name}.part", self.folder / name
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.save(model, partial)
        shutil.rmtree(whole, ignore_errors=True)  # of an attempt that was killed after it, and the same
        partial.replace(whole)


def _ends_epoch(state: Any) -> bool:
    return abs(state.epoch - round(state.epoch)) < 1e-6


def _trained(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
