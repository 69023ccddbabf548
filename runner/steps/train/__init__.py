"""Tunes a model on examples: all of it, by LoRA or QLoRA, or further from an adapter; by PEFT and TRL's SFTTrainer."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runner.contract import MAIN, Context, Inputs, Memory, Output, Port, PromptUse, Upstream
from runner.errors import StepError
from runner.steps.train.checks import check
from runner.steps.train.params import SFT, Adapter, Continue, Full, Lora, Params, Qlora, Resources, loftq_of

__all__ = ["PORTS", "PRELOAD", "VERSION", "Params", "Resources", "check", "memory", "outputs", "prompts", "run"]

VERSION = 2
PORTS = (
    Port("examples", "examples"),
    Port("model", "model", forms=("full", "adapter")),
    Port("evaluation", "examples", required=False),
)
PRELOAD = ("runner.training.preload",)
VARIABLES = frozenset({"question", "passages"})


def outputs(params: Params) -> Mapping[str, Output]:
    """main: a full model by `full` and after LoftQ, which changes the base itself, else an adapter; step-N and epoch-N: checkpoints."""
    whole = isinstance(params.method, Full) or loftq_of(params.method) is not None
    names = [MAIN, *(f"step-{step}" for step in params.checkpoints.steps), *(f"epoch-{epoch}" for epoch in params.checkpoints.epochs)]
    return {name: Output("model", "full" if whole else "adapter") for name in names}


def prompts(params: Params) -> Iterable[PromptUse]:
    if params.prompt is not None:
        yield PromptUse("prompt", params.prompt, VARIABLES)


def memory(params: Params, upstream: Mapping[str, Sequence[Upstream]], root: Path) -> Memory | None:
    from runner.training import footprint, lineage

    model = upstream["model"][0]
    shape = lineage.shape(model, root)
    if shape is None:
        return None
    method = params.method if isinstance(params.method, Adapter) else lineage.method(model)
    return footprint.training(
        shape,
        None if method is None else lineage.adapter(method),
        **lineage.four_bits(method),
        dtype=params.dtype,
        mixed="bfloat16" if params.bf16 else "float16" if params.fp16 else None,
        optim=params.optim,
        rows=params.per_device_train_batch_size,
        length=params.max_length or footprint.PROMPT,
        gradient_checkpointing=params.gradient_checkpointing,
        dropout=method is not None and method.lora_dropout > 0,
    )


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.training.milestones import Checkpoints as Places
    from runner.training.milestones import Evaluations
    from runner.training.rows import read_examples
    from runner.training.saving import save_tuned
    from runner.training.sft import Surroundings, fine_tune
    from runner.training.stored import describe, write_rows
    from runner.training.trackers import trackers

    def resolve(ref: str) -> Path:
        return ctx.artifact(ref).path

    if ctx.offline and "wandb" in ctx.resources.report_to and ctx.resources.wandb_mode == "online":
        raise StepError("wandb would send the training, and the run is offline", where="resources.wandb_mode", remedy="set it to offline")
    evaluation, model = inputs.get("evaluation"), inputs["model"]
    template = None if params.prompt is None else ctx.prompt(params.prompt)
    lora, quantization = _method(params.method)
    save = partial(
        save_tuned,
        given=describe(model.path, resolve),
        ref=model.ref,
        resolve=resolve,
        quantization=quantization and quantization.settings(),
    )
    with trackers(ctx.resources.report_to, ctx.journal / "trackers", wandb_online=ctx.resources.wandb_mode == "online") as report_to:
        tuned = fine_tune(
            model.path,
            resolve,
            list(read_examples(inputs["examples"].path)),
            None if evaluation is None else list(read_examples(evaluation.path)),
            lora=lora,
            quantization=quantization,
            sft={name: getattr(params, name) for name in SFT},
            evaluations=Evaluations(
                params.eval_strategy,
                params.eval_steps,
                params.load_best_model_at_end,
                params.early_stopping_patience,
                params.early_stopping_threshold,
            ),
            checkpoints=Places(params.checkpoints.steps, params.checkpoints.epochs),
            save=save,
            padding=params.padding,
            assistant_only_loss=params.assistant_only_loss,
            dtype=params.dtype,
            message=str if template is None else lambda question: template.render(question=question, passages=[]),
            surroundings=Surroundings(ctx.journal / "checkpoints", ctx.resources.device, ctx.resources.save_steps, report_to, ctx),
        )
    for name in outputs(params):
        folder = out / name
        if name == MAIN:
            folder.mkdir(parents=True)
            save(tuned.model.merge_and_unload() if loftq_of(params.method) else tuned.model, folder)
            write_rows(folder / "log.jsonl", tuned.curve)
        else:
            shutil.copytree(ctx.journal / "checkpoints" / "kept" / name, folder)
    if report_to:
        shutil.copytree(ctx.journal / "trackers", out / "provenance" / "trackers")
    _tell(tuned, ctx)


def _method(method: Full | Lora | Qlora | Continue) -> tuple[Any, Any]:
    """The library's settings of a method: a new adapter, if any, and the 4-bit layers of QLoRA."""
    from runner.training import adapters

    if not isinstance(method, Adapter):
        return None, None
    names = [name for name in adapters.LoRA.__dataclass_fields__ if name != "loftq_config"]
    loftq = loftq_of(method)
    lora = adapters.LoRA(
        **{name: getattr(method, name) for name in names},
        loftq_config=None if loftq is None else adapters.LoftQ(loftq.loftq_bits, loftq.loftq_iter),
    )
    if not isinstance(method, Qlora):
        return lora, None
    return lora, adapters.Quantization(**{name: getattr(method, name) for name in adapters.Quantization.__dataclass_fields__})


def _tell(tuned: Any, ctx: Context) -> None:
    if tuned.resumed_at:
        ctx.log(f"resumed at step {tuned.resumed_at} of {tuned.steps}")
    if tuned.steps < tuned.planned_steps:
        ctx.log(f"stopped early, after {tuned.steps} of {tuned.planned_steps} steps")
    ctx.fact("steps", tuned.steps)
    ctx.fact("examples", tuned.examples)
    if tuned.sequences != tuned.examples:
        ctx.fact("packed_rows", tuned.sequences)
    ctx.fact("trainable_parameters", tuned.trainable_parameters)
    ctx.fact("trainable_percent", round(100 * tuned.trainable_parameters / tuned.parameters, 4), "%")
    ctx.fact("train_seconds", round(tuned.seconds, 3), "s")
    if tuned.seconds:
        ctx.fact("tokens_per_second", round(tuned.tokens / tuned.seconds, 1), "tokens/s")
        if tuned.flops is not None:
            ctx.fact("model_flops_per_second", round(tuned.flops / tuned.seconds), "FLOP/s")
    ctx.fact("peak_memory", tuned.peak_memory, "bytes")
    ctx.fact("peak_memory_of", tuned.peak_memory_of)
    if tuned.energy is not None:
        ctx.fact("energy", round(tuned.energy, 1), "J")
    if tuned.eval_loss_before is not None:
        ctx.fact("eval_loss_before", tuned.eval_loss_before, "nats/token")
        ctx.fact("eval_loss_after", tuned.eval_loss_after, "nats/token")
    if tuned.best_step is not None:
        ctx.fact("best_step", tuned.best_step)
