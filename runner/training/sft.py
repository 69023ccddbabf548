"""Supervised fine-tuning by TRL's SFTTrainer on question-answer pairs: of a whole model, a new adapter, or one that is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import StepError
from runner.training import memory, precision
from runner.training.adapters import LoRA, Quantization, check_modules
from runner.training.energy import joules
from runner.training.flops import training_flops
from runner.training.listener import Listener, Nobody
from runner.training.loading import device_of, load_tokenizer, load_weights
from runner.training.quiet import quiet
from runner.training.rows import prepare, rows_of
from runner.training.stored import Resolve, describe

if TYPE_CHECKING:
    from runner.training.milestones import Checkpoints, Evaluations


@dataclass(frozen=True)
class Surroundings:
    """Where a training runs and who follows it; nothing of it changes the result.

    Checkpoints of every ``save_steps`` steps (and what else a killed training goes on from) lie in the folder ``journal``. ``device``
    is ``auto``, ``cpu`` or ``cuda``. ``report_to`` names trackers, within ``runner.training.trackers``.
    """

    journal: Path
    device: str = "auto"
    save_steps: int = 500
    report_to: Sequence[str] = ()
    listener: Listener = field(default_factory=Nobody)


@dataclass(frozen=True)
class Tuned:
    """A tuned model in memory and what is to be said of its training.

    ``model`` is a PeftModel, or a Transformers model when all of it was trained. ``curve`` has one row per logged step (``step``,
    ``epoch``, ``loss``, ``eval_loss``, ...), losses in nats a token; ``best_step`` is the row whose weights ``model`` has, where the
    best were asked for. ``seconds`` and ``tokens`` (padding not counted) are those of this execution's optimiser steps, and ``flops``
    the floating-point operations that the model asks for on those tokens (``runner.training.flops``; None where its shape does not
    tell); ``energy``, in joules of the GPU's board, is that of the training with its evaluations (None where nothing tells).
    ``sequences`` counts rows after packing.
    """

    model: Any
    tokenizer: Any
    curve: list[dict[str, float]]
    steps: int
    planned_steps: int
    resumed_at: int
    examples: int
    sequences: int
    trainable_parameters: int
    parameters: int
    seconds: float
    tokens: int
    flops: int | None
    peak_memory: int
    peak_memory_of: str
    energy: float | None
    best_step: int | None
    eval_loss_before: float | None
    eval_loss_after: float | None


def fine_tune(
    base: Path,
    resolve: Resolve,
    examples: Sequence[Mapping[str, Any]],
    evaluation: Sequence[Mapping[str, Any]] | None = None,
    *,
    lora: LoRA | None = None,
    quantization: Quantization | None = None,
    sft: Mapping[str, Any],
    evaluations: Evaluations | None = None,
    checkpoints: Checkpoints | None = None,
    save: Callable[[Any, Path], None] | None = None,
    padding: str = "longest",
    assistant_only_loss: bool = False,
    dtype: str = "float32",
    message: Callable[[str], str] = str,
    surroundings: Surroundings,
) -> Tuned:
    """Tune the model in the artifact folder ``base`` on ``examples`` (``question``, ``answer``, and ``history`` where there is any).

    With ``lora`` a full model gets a new adapter. Without, all weights of a full model are trained in ``dtype``, and of an adapter its
    own, on its base as it was trained (4-bit where it was). ``sft`` holds values of TRL's SFTConfig by their names. ``message``
    renders the user's turn from a question. ``padding`` is ``longest`` (of a batch) or ``max_length``. ``assistant_only_loss`` learns
    what the chat template marks as the assistant's, in every turn, or in the last alone where ``completion_only_loss`` is on; that one
    is on by itself where neither is named.

    With ``evaluation`` its loss is measured before, as ``evaluations`` says, and after; with ``load_best_model_at_end`` the model is
    that of the lowest. At each of ``checkpoints`` the model is given to ``save`` with an empty folder, which is then found under its
    name (``step-N``, ``epoch-N``) in ``kept`` of the journal. A killed training goes on from the Trainer's last complete checkpoint,
    with the same curve and weights as if nothing had happened.

    StepError when the examples do not fit, the modules are not there, the device lacks a number type, or memory runs out.
    """
    if surroundings.device != "cpu":
        _see_one_gpu()
    device, listener, info = device_of(surroundings.device), surroundings.listener, describe(base, resolve)
    whole = lora is None and info.form == "full"
    if lora is not None and info.form != "full":
        raise StepError(
            "a new adapter needs a full model, and this is an adapter", where="method", remedy="go on with it: {kind: continue}"
        )
    if sft.get("completion_only_loss") is None:
        sft = {**sft, "completion_only_loss": not assistant_only_loss}
    layers = quantization.settings() if quantization else info.record.get("quantization") if info.form == "adapter" else None
    precision.check(
        device,
        dtype=dtype,
        bf16=bool(sft.get("bf16", not sft.get("fp16"))),  # as SFTConfig fills it in
        fp16=bool(sft.get("fp16")),
        compute_dtype=layers["bnb_4bit_compute_dtype"] if layers else None,
    )
    if lora is not None and lora.loftq_config is not None and device == "cpu":
        raise StepError(
            "PEFT computes LoftQ on a GPU only", where="method.loftq_config", remedy="set loftq_config to null, or run on a GPU"
        )
    memory.reset_peak(device)
    with quiet("datasets"), memory.explained(sft, "full" if whole else "qlora" if layers else "lora"):
        tokenizer = load_tokenizer(base, resolve)
        context, limit = info.config.get("max_position_embeddings"), sft.get("max_length")

        def prepared(given: Sequence[Mapping[str, Any]], what: str) -> Any:
            rows = rows_of(given, message, info.system_prompt)
            return prepare(rows, tokenizer, limit, context, what, listener, assistant_only=assistant_only_loss)

        train_rows = prepared(examples, "training examples")
        eval_rows = None if evaluation is None else prepared(evaluation, "evaluation examples")
        model = load_weights(info if info.base is None else describe(info.base, resolve), device=device, dtype=dtype, quantization=layers)
        if info.form == "adapter":
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(info.weights), is_trainable=True)
        if lora is not None:
            check_modules(model, lora)
        from runner.training import milestones
        from runner.training.trainer import trainer_of

        journal, evaluations = surroundings.journal, evaluations or milestones.Evaluations()
        best = milestones.Best(journal, evaluations) if eval_rows is not None else None
        keep = milestones.Keep(journal / "kept", checkpoints, save) if checkpoints is not None and save is not None else None
        trainer = trainer_of(
            model,
            tokenizer,
            lora,
            (train_rows, eval_rows),
            dict(sft),
            padding,
            [callback for callback in (best, keep) if callback is not None],
            {
                "folder": journal,
                "device": device,
                "save_steps": surroundings.save_steps,
                "report_to": list(surroundings.report_to) or "none",
            },
        )
        return _train(trainer, tokenizer, best, journal, listener, device)


def _train(trainer: Any, tokenizer: Any, best: Any, journal: Path, listener: Listener, device: str) -> Tuned:
    from transformers import set_seed

    from runner.training import session

    checkpoint = session.last_complete(journal)
    before = _evaluate_before(trainer, journal, resumed=checkpoint is not None, listener=listener)
    set_seed(trainer.args.seed)  # the same training whether or not an evaluation came first; a checkpoint brings its own random state
    drawn = joules(device)
    outcome = session.run(trainer, journal, listener, checkpoint)
    energy = None if drawn is None else (joules(device) or drawn) - drawn
    curve, after, chosen = outcome.curve, None, None
    if before is not None:
        after = _losses(curve).get(outcome.steps)
        if after is None:
            values = session.values_of(trainer.evaluate())
            after = values["eval_loss"]
            curve = session.joined(curve, {"step": outcome.steps} | values)
        if best.evaluations.load_best_model_at_end:
            losses = _losses(curve)
            chosen = min(losses, key=lambda step: (losses[step], step))
            after = losses[chosen]
            best.restore(trainer.model)
        curve = session.joined([{"step": 0, "epoch": 0.0} | before], *curve)
    trainable, total = _parameters(trainer.model)
    lengths = trainer.lengths
    flops = training_flops(trainer.model, lengths)
    peak, peak_of = memory.peak(device)
    return Tuned(
        model=trainer.model,
        tokenizer=tokenizer,
        curve=curve,
        steps=outcome.steps,
        planned_steps=int(trainer.state.max_steps),
        resumed_at=outcome.resumed_at,
        examples=len(lengths),
        sequences=len(trainer.train_dataset),
        trainable_parameters=trainable,
        parameters=total,
        seconds=outcome.seconds,
        tokens=outcome.tokens,
        flops=None if flops is None else round(flops / sum(lengths) * outcome.tokens),
        peak_memory=peak,
        peak_memory_of=peak_of,
        energy=energy,
        best_step=chosen,
        eval_loss_before=before["eval_loss"] if before else None,
        eval_loss_after=after,
    )


def _parameters(model: Any) -> tuple[int, int]:
    """Trained, and all; the weights packed into 4 bits are counted one by one, and an adapter is among them."""
    if hasattr(model, "get_nb_trainable_parameters"):
        trainable, total = model.get_nb_trainable_parameters()
        return int(trainable), int(total)
    return int(model.num_parameters(only_trainable=True)), int(model.num_parameters())


def _evaluate_before(trainer: Any, journal: Path, *, resumed: bool, listener: Listener) -> dict[str, float] | None:
    """What evaluation finds in the model as it was given, by name; remembered for a resume."""
    from runner.training import session

    if trainer.eval_dataset is None:
        return None
    file = journal / "before.json"
    if resumed and file.is_file():
        return dict(json.loads(file.read_text()))
    found = trainer.evaluate()
    session.checked(found["eval_loss"], 0)
    values = session.values_of(found)
    listener.metrics(0, **values)
    partial = file.with_suffix(".part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(values))
    partial.replace(file)
    return values


def _losses(curve: list[dict[str, float]]) -> dict[int, float]:
    return {int(row["step"]): row["eval_loss"] for row in curve if "eval_loss" in row}


def _see_one_gpu() -> None:
    """One process trains on one GPU: Transformers would spread a batch over all that it sees. Works until torch first uses CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]
