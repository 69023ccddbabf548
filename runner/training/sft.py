"""Supervised fine-tuning by TRL's SFTTrainer: LoRA and QLoRA on question-answer pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import StepError
from runner.training import memory
from runner.training.adapters import LoRA, Quantization, check_modules, lora_config
from runner.training.listener import Listener, Nobody
from runner.training.loading import device_of, load_tokenizer, load_weights
from runner.training.quiet import quiet
from runner.training.rows import rows_of, select
from runner.training.stored import ModelInfo, Resolve, describe


@dataclass(frozen=True)
class Tuned:
    """A tuned model in memory and what is to be said of its training.

    ``model`` is a PeftModel. ``curve`` has one row per logged step (``step``, ``epoch``, ``loss``, ``eval_loss``, ...), losses in nats a
    token. ``seconds`` and ``tokens`` (padding not counted) are those of this execution's optimiser steps.
    """

    model: Any
    tokenizer: Any
    base: ModelInfo
    curve: list[dict[str, float]]
    steps: int
    resumed_at: int
    examples: int
    trainable_parameters: int
    parameters: int
    seconds: float
    tokens: int
    peak_memory: int
    peak_memory_of: str
    eval_loss_before: float | None
    eval_loss_after: float | None


def fine_tune(
    base: Path,
    resolve: Resolve,
    examples: Sequence[Mapping[str, Any]],
    evaluation: Sequence[Mapping[str, Any]] | None = None,
    *,
    lora: LoRA,
    quantization: Quantization | None = None,
    sft: Mapping[str, Any],
    eval_steps: int | None = None,
    padding: str = "longest",
    dtype: str = "float32",
    message: Callable[[str], str] = str,
    journal: Path,
    save_steps: int = 500,
    device: str = "auto",
    listener: Listener | None = None,
) -> Tuned:
    """Tune the full model in the artifact folder ``base`` on ``examples`` (``question``, ``answer``).

    ``sft`` holds values of TRL's SFTConfig by their names. ``message`` renders the user's turn from a question. ``padding`` is
    ``longest`` (of a batch) or ``max_length``. With ``evaluation`` its loss is measured before, every ``eval_steps`` steps, and after.
    Checkpoints go to ``journal``, and a killed training goes on from the last complete one, with the same curve and the same weights as if
    nothing had happened. StepError when the examples do not fit, the modules are not there, or memory runs out.
    """
    if device != "cpu":
        _see_one_gpu()
    device, listener, info = device_of(device), listener or Nobody(), describe(base, resolve)
    if sft.get("fp16") and device == "cpu":
        raise StepError("fp16 mixed precision needs a GPU", where="fp16", remedy="set fp16 to false, or bf16 to true")
    if lora.loftq_config is not None and device == "cpu":
        raise StepError(
            "PEFT computes LoftQ on a GPU only", where="method.loftq_config", remedy="set loftq_config to null, or run on a GPU"
        )
    memory.reset_peak(device)
    with quiet("datasets"), _explained(sft, quantization):
        from datasets import Dataset

        tokenizer = load_tokenizer(base, resolve)
        context, limit = info.config.get("max_position_embeddings"), sft.get("max_length")

        def prepare(rows: Sequence[Mapping[str, Any]], what: str) -> Any:
            return Dataset.from_list(select(rows_of(rows, message, info.system_prompt), tokenizer, limit, context, what, listener))

        train_rows = prepare(examples, "training examples")
        eval_rows = None if evaluation is None else prepare(evaluation, "evaluation examples")
        model = load_weights(info, device=device, dtype=dtype, quantization=quantization.settings() if quantization else None)
        check_modules(model, lora)
        trainer = _trainer(model, tokenizer, lora, train_rows, eval_rows, sft, eval_steps, padding, journal, save_steps, device)
        return _train(trainer, tokenizer, info, journal, listener, device, int(sft.get("seed", 42)))


def _trainer(
    model: Any,
    tokenizer: Any,
    lora: LoRA,
    train_rows: Any,
    eval_rows: Any,
    sft: Mapping[str, Any],
    eval_steps: int | None,
    padding: str,
    journal: Path,
    save_steps: int,
    device: str,
) -> Any:
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from runner.training import session

    values = dict(sft)
    if padding == "max_length":
        values["pad_to_multiple_of"] = sft["max_length"]  # no row is longer, so that every batch is padded to it
    if eval_rows is not None and eval_steps is not None:
        values |= {"eval_strategy": "steps", "eval_steps": eval_steps}
    logging_steps = int(values.pop("logging_steps", 10))
    config = SFTConfig(**session.arguments(journal, device, save_steps=save_steps, logging_steps=logging_steps, **values))
    adapter = lora_config(lora)
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=train_rows, eval_dataset=eval_rows, processing_class=tokenizer, peft_config=adapter
    )
    trainer.remove_callback(PrinterCallback)
    _in_float32(trainer.model, mixed=config.bf16 or config.fp16)
    if len(trainer.train_dataset) != len(train_rows):
        raise StepError(f"TRL took {len(trainer.train_dataset)} of {len(train_rows)} training examples", remedy="raise max_length")
    return trainer


def _in_float32(model: Any, *, mixed: bool) -> None:
    """Hold what is trained in float32, whatever its base is held in: the adapter, and under mixed precision the biases too.

    TRL casts the adapter of a quantised base to bfloat16, where most of Adam's small steps round to nothing and fp16 training cannot
    scale the gradients; and a resumed one would come back in float32, that is with another curve.
    """
    import torch

    for name, weight in model.named_parameters():
        if weight.requires_grad and (mixed or "lora_" in name):
            weight.data = weight.data.to(torch.float32)


def _train(trainer: Any, tokenizer: Any, info: ModelInfo, journal: Path, listener: Listener, device: str, seed: int) -> Tuned:
    from transformers import set_seed

    from runner.training import session

    checkpoint = session.last_complete(journal)
    before = _evaluate_before(trainer, journal, resumed=checkpoint is not None, listener=listener)
    set_seed(seed)  # the same training whether or not an evaluation came first; a checkpoint brings its own random state
    outcome = session.run(trainer, journal, listener, checkpoint)
    curve = outcome.curve
    after = None
    if before is not None:
        after = _last_loss(curve, outcome.steps)
        if after is None:
            after = float(trainer.evaluate()["eval_loss"])
            curve = session.joined(curve, {"step": outcome.steps, "eval_loss": after})
        curve = session.joined([{"step": 0, "epoch": 0.0, "eval_loss": before}], *curve)
    trainable, total = trainer.model.get_nb_trainable_parameters()
    peak, peak_of = memory.peak(device)
    return Tuned(
        model=trainer.model,
        tokenizer=tokenizer,
        base=info,
        curve=curve,
        steps=outcome.steps,
        resumed_at=outcome.resumed_at,
        examples=len(trainer.train_dataset),
        trainable_parameters=trainable,
        parameters=total,
        seconds=outcome.seconds,
        tokens=outcome.tokens,
        peak_memory=peak,
        peak_memory_of=peak_of,
        eval_loss_before=before,
        eval_loss_after=after,
    )


def _evaluate_before(trainer: Any, journal: Path, *, resumed: bool, listener: Listener) -> float | None:
    """The evaluation loss of the untrained adapter, that is of the base; remembered for a resume."""
    from runner.training import session

    if trainer.eval_dataset is None:
        return None
    file = journal / "before.json"
    if resumed and file.is_file():
        return float(json.loads(file.read_text())["eval_loss"])
    loss = session.checked(trainer.evaluate()["eval_loss"], 0)
    listener.metrics(0, eval_loss=loss)
    partial = file.with_suffix(".part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps({"eval_loss": loss}))
    partial.replace(file)
    return loss


def _last_loss(curve: list[dict[str, float]], step: int) -> float | None:
    return next((row["eval_loss"] for row in curve if row["step"] == step and "eval_loss" in row), None)


def _see_one_gpu() -> None:
    """One process trains on one GPU: Transformers would spread a batch over all that it sees. Works until torch first uses CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]


@contextmanager
def _explained(sft: Mapping[str, Any], quantization: Quantization | None) -> Iterator[None]:
    """Memory that ran out, and settings that the machine cannot serve, in words."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        raise StepError("memory ran out while training", remedy=_what_to_lower(sft, quantization)) from error
    except ValueError as error:
        if "bf16" not in str(error):
            raise
        raise StepError(
            "this device has no bf16", where="bf16", remedy="set bf16 to false; fp16 to true if the GPU is an older one"
        ) from error


def _what_to_lower(sft: Mapping[str, Any], quantization: Quantization | None) -> str:
    batch, accumulation = int(sft.get("per_device_train_batch_size", 8)), int(sft.get("gradient_accumulation_steps", 1))
    if batch > 1:
        lower, higher = f"from {batch} to {(batch + 1) // 2}", f"from {accumulation} to {accumulation * 2}"
        return f"lower per_device_train_batch_size {lower} and raise gradient_accumulation_steps {higher}"
    if not sft.get("gradient_checkpointing", True):
        return "set gradient_checkpointing to true"
    if sft.get("max_length") is None or int(sft["max_length"]) > 256:
        return f"lower max_length from {sft.get('max_length')}"
    if quantization is None:
        return "use the method qlora, or dtype bfloat16"
    return "use a smaller model"
