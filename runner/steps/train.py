"""Tunes a model on examples: all of it, by LoRA or QLoRA, or further from an adapter; by PEFT and TRL's SFTTrainer."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from runner import contract
from runner.contract import MAIN, Context, Fault, Inputs, Output, Port, PromptUse, Struct, Upstream, doc
from runner.errors import StepError

VERSION = 2
PORTS = (
    Port("examples", "examples"),
    Port("model", "model", forms=("full", "adapter")),
    Port("evaluation", "examples", required=False),
)
PRELOAD = ("runner.training.preload",)
VARIABLES = frozenset({"question", "passages"})


File = Annotated[str, msgspec.Meta(min_length=1)]
Length = Annotated[int, msgspec.Meta(ge=8)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class LoftQ(Struct):
    loftq_bits: Annotated[Literal[4, 8], doc("bits that the weights are quantised to", unit="bits")] = 4
    loftq_iter: Annotated[int, doc("alternating steps of quantisation and decomposition", ge=1)] = 1


Modules = Annotated[list[str], msgspec.Meta(min_length=1)] | Literal["all-linear"]


class Adapter(Struct):
    """What LoRA and QLoRA share: PEFT's LoraConfig."""

    r: Annotated[int, doc("rank", ge=1)] = 8
    lora_alpha: Annotated[int, doc("scale: the update is multiplied by lora_alpha / r", ge=1)] = 8
    lora_dropout: Annotated[float, doc("dropout before the adapter", ge=0, lt=1)] = 0.0
    bias: Annotated[Literal["none", "all", "lora_only"], doc("which biases are trained")] = "none"
    use_rslora: Annotated[bool, doc("scale by lora_alpha / sqrt(r) instead")] = False
    use_dora: Annotated[bool, doc("DoRA: the length of each column of weights is trained apart from its direction")] = False
    init_lora_weights: Annotated[
        Literal["default", "gaussian"], doc("how A is drawn; B begins at zero (default: Kaiming, as PEFT's true)")
    ] = "default"
    target_modules: Annotated[Modules | None, doc("linear layers that get an adapter; null: PEFT's choice for the architecture")] = None


class Lora(Adapter, tag_field="kind", tag="lora"):
    loftq_config: Annotated[LoftQ | None, doc("LoftQ; it changes the base's weights, so that the result is a full model; needs a GPU")] = (
        None
    )


class Qlora(Adapter, tag_field="kind", tag="qlora"):
    bnb_4bit_quant_type: Annotated[Literal["nf4", "fp4"], doc("4-bit type that the base is held in")] = "nf4"
    bnb_4bit_use_double_quant: Annotated[bool, doc("quantise the scales of the blocks too")] = True
    bnb_4bit_compute_dtype: Annotated[Literal["float32", "bfloat16", "float16"], doc("type that 4-bit weights are multiplied in")] = (
        "bfloat16"
    )


class Full(Struct, tag_field="kind", tag="full"):
    """Every weight of a full model is trained, and held in ``dtype``."""


class Continue(Struct, tag_field="kind", tag="continue"):
    """An adapter is trained further as it was made: its rank, its modules, its base in the same 4-bit layers."""


class Checkpoints(Struct):
    steps: Annotated[list[Count], doc("optimiser steps after which a model is kept, as the output step-N")] = []
    epochs: Annotated[list[Count], doc("epochs, from 1, at whose end a model is kept, as the output epoch-N")] = []


Scheduler = Literal["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"]
Optimizer = Literal[
    "adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd"
]  # fmt: skip


class Params(Struct):
    method: Annotated[
        Full | Lora | Qlora | Continue,
        doc("what is trained: full, all weights; lora, an adapter; qlora, one on a base in 4 bits; continue, the adapter that `model` is"),
    ] = Lora()
    prompt: Annotated[File | None, doc("template of the user's turn; variables question and passages (empty); null: the bare question")] = (
        None
    )
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        doc("type that the base is loaded in; an adapter is held in float32 on any, `full` trains in it"),
    ] = "float32"
    num_train_epochs: Annotated[float, doc("passes over the examples; max_steps comes first", gt=0)] = 3.0
    max_steps: Annotated[int, doc("optimiser steps; -1: as many as num_train_epochs gives", ge=-1)] = -1
    per_device_train_batch_size: Annotated[int, doc("examples in a forward pass", ge=1)] = 8
    per_device_eval_batch_size: Annotated[
        int, doc("examples in a forward pass of evaluation; eval_loss is the mean of these passes' losses", ge=1)
    ] = 8
    gradient_accumulation_steps: Annotated[int, doc("forward passes in an optimiser step", ge=1)] = 1
    learning_rate: Annotated[float, doc("peak of the schedule", ge=0)] = 2e-5
    lr_scheduler_type: Annotated[Scheduler, doc("course of the learning rate after the warm-up")] = "linear"
    warmup_steps: Annotated[float, doc("steps of warm-up; below 1: a share of all steps", ge=0)] = 0
    weight_decay: Annotated[float, doc("decoupled weight decay", ge=0)] = 0.0
    adam_beta1: Annotated[float, doc("decay of Adam's first moment", ge=0, lt=1)] = 0.9
    adam_beta2: Annotated[float, doc("decay of Adam's second moment", ge=0, lt=1)] = 0.999
    adam_epsilon: Annotated[float, doc("added to Adam's denominator", gt=0)] = 1e-8
    max_grad_norm: Annotated[float, doc("gradients are scaled down to this norm; 0: never", ge=0)] = 1.0
    optim: Annotated[Optimizer, doc("optimiser")] = "adamw_torch_fused"
    max_length: Annotated[Length | None, doc("longer conversations are cut at the end; null: none is", unit="tokens")] = 1024
    padding: Annotated[Literal["longest", "max_length"], doc("pad to the longest of the batch, or always to max_length")] = "longest"
    packing: Annotated[
        bool, doc("put examples end to end into rows of up to max_length, each seeing itself alone; a batch then holds that many rows")
    ] = False
    completion_only_loss: Annotated[bool, doc("learn the answer and what the template puts after it; false: the question too")] = True
    assistant_only_loss: Annotated[
        bool, doc("of that, learn what the chat template marks as the assistant's ({% generation %}): the answer and the end of its turn")
    ] = False
    neftune_noise_alpha: Annotated[Positive | None, doc("NEFTune: noise on the embeddings while training")] = None
    gradient_checkpointing: Annotated[bool, doc("compute activations twice instead of keeping them: slower, less memory")] = True
    bf16: Annotated[bool, doc("mixed precision in bfloat16")] = False
    fp16: Annotated[bool, doc("mixed precision in float16; needs a GPU")] = False
    logging_steps: Annotated[int, doc("a row of the loss curve every so many steps", ge=1)] = 10
    eval_strategy: Annotated[Literal["steps", "epoch"], doc("evaluation loss every eval_steps steps, or at the end of every epoch")] = (
        "steps"
    )
    eval_steps: Annotated[Count | None, doc("evaluation loss every so many steps; null: before and after only")] = None
    load_best_model_at_end: Annotated[bool, doc("the result is the model of the lowest evaluation loss, not the last one")] = False
    early_stopping_patience: Annotated[
        Count | None, doc("evaluations in a row without improvement that end the training; null: none do")
    ] = None
    early_stopping_threshold: Annotated[
        float, doc("the loss must fall below the lowest one by more than this to be an improvement", unit="nats/token", ge=0)
    ] = 0.0
    checkpoints: Annotated[Checkpoints, doc("models to keep on the way, as outputs of their own")] = Checkpoints()
    seed: Annotated[int, doc("draws the adapter, the order of the examples, and dropout", ge=0, le=2**32 - 1)] = 42


class Resources(contract.Resources):
    save_steps: Annotated[int, doc("a checkpoint every so many steps, rounded up to a multiple of logging_steps", ge=1)] = 50
    report_to: Annotated[
        list[Literal["tensorboard", "wandb", "trackio"]], doc("trackers to follow the training; they write to provenance/trackers")
    ] = []
    wandb_mode: Annotated[
        Literal["offline", "online"], doc("offline: recorded, to be sent by `wandb sync`; online: sent at once, by WANDB_API_KEY")
    ] = "offline"


#: Params that are for the step itself; all others go to TRL's SFTConfig under their own names.
OWN = (
    "method", "prompt", "dtype", "padding", "assistant_only_loss", "eval_strategy", "eval_steps", "load_best_model_at_end",
    "early_stopping_patience", "early_stopping_threshold", "checkpoints",
)  # fmt: skip
SFT = tuple(name for name in Params.__struct_fields__ if name not in OWN)


def outputs(params: Params) -> Mapping[str, Output]:
    """main: a full model by `full` and after LoftQ, which changes the base itself, else an adapter; step-N and epoch-N: checkpoints."""
    whole = isinstance(params.method, Full) or _loftq(params.method) is not None
    names = [MAIN, *(f"step-{step}" for step in params.checkpoints.steps), *(f"epoch-{epoch}" for epoch in params.checkpoints.epochs)]
    return {name: Output("model", "full" if whole else "adapter") for name in names}


def _loftq(method: Any) -> LoftQ | None:
    return method.loftq_config if isinstance(method, Lora) else None


def prompts(params: Params) -> Iterable[PromptUse]:
    if params.prompt is not None:
        yield PromptUse("prompt", params.prompt, VARIABLES)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if params.bf16 and params.fp16:
        yield Fault("fp16", "bf16 is on too", "one of bf16 and fp16")
    if params.max_steps == 0:
        yield Fault("max_steps", "no step at all", "a number of steps, or -1 for num_train_epochs")
    if params.padding == "max_length" and params.max_length is None:
        yield Fault("padding", "there is no max_length to pad to", "a max_length, or padding: longest")
    if params.packing and params.max_length is None:
        yield Fault("packing", "there is no max_length to fill", "a max_length, or packing: false")
    if params.packing and params.padding == "max_length":
        yield Fault("padding", "packed rows are not padded", "padding: longest, or packing: false")
    if isinstance(params.method, Full) and params.dtype == "float16":
        yield Fault("dtype", "weights in float16 cannot be trained", "float32 with fp16: true, or bfloat16")
    yield from _check_evaluations(params, bool(upstream.get("evaluation")))
    yield from _check_checkpoints(params)
    for model in upstream.get("model", ()):
        if model.output.form == "adapter" and not isinstance(params.method, Continue):
            yield Fault(
                "method", f"`{model.step}` is an adapter", "{kind: continue} to train it further; another method needs a full model"
            )
        if model.output.form == "full" and isinstance(params.method, Continue):
            yield Fault("method", f"`{model.step}` is a full model, and continue goes on with an adapter", "full, lora or qlora")
    if isinstance(params.method, Lora | Qlora):
        yield from _check_modules(params.method.target_modules, upstream.get("model", ()))


def _check_evaluations(params: Params, evaluated: bool) -> Iterable[Fault]:
    between = params.eval_strategy == "epoch" or params.eval_steps is not None
    if params.eval_strategy == "epoch" and params.eval_steps is not None:
        yield Fault("eval_steps", "eval_strategy is epoch", "no eval_steps, or eval_strategy: steps")
    asked = {
        "eval_steps": params.eval_steps is not None,
        "eval_strategy": params.eval_strategy == "epoch",
        "load_best_model_at_end": params.load_best_model_at_end,
        "early_stopping_patience": params.early_stopping_patience is not None,
    }
    for name in (name for name, there in asked.items() if there):
        if not evaluated:
            yield Fault(name, "no evaluation examples are bound", f"from: {{evaluation: STEP}}, or no {name}")
        elif not between:
            yield Fault(name, "there is no evaluation before the end", "eval_steps, or eval_strategy: epoch")
    if params.early_stopping_threshold and params.early_stopping_patience is None:
        yield Fault("early_stopping_threshold", "nothing stops early", "an early_stopping_patience")


def _check_checkpoints(params: Params) -> Iterable[Fault]:
    wanted = params.checkpoints
    for name, places in (("steps", wanted.steps), ("epochs", wanted.epochs)):
        for index, place in enumerate(places):
            if place in places[:index]:
                yield Fault(f"checkpoints.{name}[{index}]", f"{place} stands there twice", "each once")
    for index, step in enumerate(wanted.steps):
        if 0 < params.max_steps < step:
            yield Fault(f"checkpoints.steps[{index}]", f"the training ends after {params.max_steps} steps", f"at most {params.max_steps}")
    for index, epoch in enumerate(wanted.epochs):
        if params.max_steps < 0 and epoch > params.num_train_epochs:
            yield Fault(f"checkpoints.epochs[{index}]", f"the training has {params.num_train_epochs:g} epochs", "an epoch that it reaches")
    if (wanted.steps or wanted.epochs) and params.early_stopping_patience is not None:
        yield Fault("checkpoints", "a training that stops early may not reach them", "checkpoints, or early_stopping_patience")
    if (wanted.steps or wanted.epochs) and _loftq(params.method) is not None:
        yield Fault("checkpoints", "LoftQ merges the adapter into its base at the end", "no checkpoints, or no loftq_config")


def _check_modules(modules: list[str] | str | None, models: Sequence[Upstream]) -> Iterable[Fault]:
    from runner.training.architectures import LINEAR_MODULES

    for index, module in enumerate(modules if isinstance(modules, list) else ()):
        path = f"method.target_modules[{index}]"
        if module == "lm_head":
            yield Fault(path, "TRL computes the loss from the head's weight and cannot train an adapter on lm_head", "other linear layers")
            continue
        for family in filter(None, (_family(model) for model in models)):
            known = LINEAR_MODULES[family]
            if module not in known:
                near = difflib.get_close_matches(module, known, 1)
                hint = f"did you mean `{near[0]}`? " if near else ""
                yield Fault(path, f"{family} has no linear layer `{module}`", f"{hint}It has {', '.join(known)}")


def _family(model: Upstream) -> str | None:
    """The architecture of the bound model, where its Params give it away."""
    from runner.training.architectures import family_of

    scratch, pretrained = getattr(model.params, "scratch", None), getattr(model.params, "pretrained", None)
    if scratch is not None:
        return str(scratch.architecture)
    return None if pretrained is None else family_of(pretrained.id)


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.training.milestones import Checkpoints as Places
    from runner.training.milestones import Evaluations
    from runner.training.rows import read_examples
    from runner.training.saving import save_tuned
    from runner.training.sft import fine_tune
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
            journal=ctx.journal / "checkpoints",
            save_steps=ctx.resources.save_steps,
            device=ctx.resources.device,
            report_to=report_to,
            listener=ctx,
        )
    for name in outputs(params):
        folder = out / name
        if name == MAIN:
            folder.mkdir(parents=True)
            save(tuned.model.merge_and_unload() if _loftq(params.method) else tuned.model, folder)
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
    loftq = _loftq(method)
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
    ctx.fact("peak_memory", tuned.peak_memory, "bytes")
    ctx.fact("peak_memory_of", tuned.peak_memory_of)
    if tuned.energy is not None:
        ctx.fact("energy", round(tuned.energy, 1), "J")
    if tuned.eval_loss_before is not None:
        ctx.fact("eval_loss_before", tuned.eval_loss_before, "nats/token")
        ctx.fact("eval_loss_after", tuned.eval_loss_after, "nats/token")
    if tuned.best_step is not None:
        ctx.fact("best_step", tuned.best_step)
