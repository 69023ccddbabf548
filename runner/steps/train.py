"""Tunes a model on examples: LoRA or QLoRA, by PEFT and TRL's SFTTrainer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from runner import contract
from runner.contract import MAIN, Context, Fault, Inputs, Output, Port, PromptUse, Struct, Upstream, doc

VERSION = 1
PORTS = (
    Port("examples", "examples"),
    Port("model", "model", forms=("full",)),
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


Scheduler = Literal["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"]
Optimizer = Literal[
    "adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd"
]  # fmt: skip


class Params(Struct):
    method: Annotated[Lora | Qlora, doc("what is trained")] = Lora()
    prompt: Annotated[File | None, doc("template of the user's turn; variables question and passages (empty); null: the bare question")] = (
        None
    )
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], doc("type that the base is loaded in; what is trained is held in float32")
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
    completion_only_loss: Annotated[bool, doc("learn the answer only; false: the question too")] = True
    neftune_noise_alpha: Annotated[Positive | None, doc("NEFTune: noise on the embeddings while training")] = None
    gradient_checkpointing: Annotated[bool, doc("compute activations twice instead of keeping them: slower, less memory")] = True
    bf16: Annotated[bool, doc("mixed precision in bfloat16")] = False
    fp16: Annotated[bool, doc("mixed precision in float16; needs a GPU")] = False
    logging_steps: Annotated[int, doc("a row of the loss curve every so many steps", ge=1)] = 10
    eval_steps: Annotated[Count | None, doc("evaluation loss every so many steps; null: before and after only")] = None
    seed: Annotated[int, doc("draws the adapter, the order of the examples, and dropout", ge=0, le=2**32 - 1)] = 42


class Resources(contract.Resources):
    save_steps: Annotated[int, doc("a checkpoint every so many steps, rounded up to a multiple of logging_steps", ge=1)] = 50


#: Params that go to TRL's SFTConfig under their own names.
SFT = tuple(name for name in Params.__struct_fields__ if name not in ("method", "prompt", "dtype", "padding", "eval_steps"))


def outputs(params: Params) -> Mapping[str, Output]:
    """An adapter; a full model after LoftQ, which changes the base itself."""
    changed = isinstance(params.method, Lora) and params.method.loftq_config is not None
    return {MAIN: Output("model", "full" if changed else "adapter")}


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
    if params.eval_steps is not None and not upstream.get("evaluation"):
        yield Fault("eval_steps", "no evaluation examples are bound", "from: {evaluation: STEP}, or no eval_steps")
    yield from _check_modules(params.method.target_modules, upstream.get("model", ()))


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
    from runner.training.quiet import quiet
    from runner.training.rows import read_examples
    from runner.training.sft import fine_tune
    from runner.training.stored import write_rows

    folder = out / MAIN
    folder.mkdir(parents=True)
    evaluation = inputs.get("evaluation")
    template = None if params.prompt is None else ctx.prompt(params.prompt)
    lora, quantization = _method(params.method)
    tuned = fine_tune(
        inputs["model"].path,
        lambda ref: ctx.artifact(ref).path,
        list(read_examples(inputs["examples"].path)),
        None if evaluation is None else list(read_examples(evaluation.path)),
        lora=lora,
        quantization=quantization,
        sft={name: getattr(params, name) for name in SFT},
        eval_steps=params.eval_steps,
        padding=params.padding,
        dtype=params.dtype,
        message=str if template is None else lambda question: template.render(question=question, passages=[]),
        journal=ctx.journal / "checkpoints",
        save_steps=ctx.resources.save_steps,
        device=ctx.resources.device,
        listener=ctx,
    )
    with quiet():
        _save(tuned, lora, quantization, inputs["model"].ref, folder)
    write_rows(folder / "log.jsonl", tuned.curve)
    _tell(tuned, ctx)


def _method(method: Lora | Qlora) -> tuple[Any, Any]:
    """The library's settings of a method: LoRA, and the 4-bit layers of QLoRA."""
    from runner.training import adapters

    names = [name for name in adapters.LoRA.__dataclass_fields__ if name != "loftq_config"]
    lora = {name: getattr(method, name) for name in names}
    if isinstance(method, Qlora):
        return adapters.LoRA(**lora), adapters.Quantization(
            **{name: getattr(method, name) for name in adapters.Quantization.__dataclass_fields__}
        )
    loftq = method.loftq_config
    return adapters.LoRA(**lora, loftq_config=None if loftq is None else adapters.LoftQ(loftq.loftq_bits, loftq.loftq_iter)), None


def _save(tuned: Any, lora: Any, quantization: Any, base: str, folder: Path) -> None:
    from runner.training.adapters import copy_tokenizer, save_adapter
    from runner.training.stored import write_record

    record = tuned.base.record
    about = {"architecture": record["architecture"], "system_prompt": record.get("system_prompt")}
    copy_tokenizer(tuned.base.tokenizer, folder)
    if lora.loftq_config is not None:
        tuned.model.merge_and_unload().save_pretrained(str(folder))
        write_record(folder, form="full", **about)
        return
    hub = record.get("hub") or {}
    save_adapter(tuned.model, folder, base=hub.get("id"), revision=hub.get("revision"))
    write_record(folder, form="adapter", base=base, quantization=quantization and quantization.settings(), **about)


def _tell(tuned: Any, ctx: Context) -> None:
    if tuned.resumed_at:
        ctx.log(f"resumed at step {tuned.resumed_at} of {tuned.steps}")
    ctx.fact("steps", tuned.steps)
    ctx.fact("examples", tuned.examples)
    ctx.fact("trainable_parameters", tuned.trainable_parameters)
    ctx.fact("trainable_percent", round(100 * tuned.trainable_parameters / tuned.parameters, 4), "%")
    ctx.fact("train_seconds", round(tuned.seconds, 3), "s")
    if tuned.seconds:
        ctx.fact("tokens_per_second", round(tuned.tokens / tuned.seconds, 1), "tokens/s")
    ctx.fact("peak_memory", tuned.peak_memory, "bytes")
    ctx.fact("peak_memory_of", tuned.peak_memory_of)
    if tuned.eval_loss_before is not None:
        ctx.fact("eval_loss_before", tuned.eval_loss_before, "nats/token")
        ctx.fact("eval_loss_after", tuned.eval_loss_after, "nats/token")
