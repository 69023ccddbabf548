"""What a training is told: Params of the step kind ``train``, in PEFT's and SFTTrainer's own names, and its Resources."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from runner import contract
from runner.contract import Struct, doc

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
    per_device_eval_batch_size: Annotated[int, doc("examples in a forward pass of evaluation", ge=1)] = 8
    gradient_accumulation_steps: Annotated[int, doc("forward passes in an optimiser step", ge=1)] = 1
    learning_rate: Annotated[float, doc("peak of the schedule", ge=0)] = 2e-5
    lr_scheduler_type: Annotated[Scheduler, doc("course of the learning rate after the warm-up")] = "linear"
    warmup_steps: Annotated[float, doc("steps of warm-up; below 1: a share of all steps", ge=0)] = 0
    weight_decay: Annotated[float, doc("weight decay; decoupled from the gradient but under sgd", ge=0)] = 0.0
    adam_beta1: Annotated[float, doc("decay of Adam's first moment", ge=0, lt=1)] = 0.9
    adam_beta2: Annotated[float, doc("decay of Adam's second moment", ge=0, lt=1)] = 0.999
    adam_epsilon: Annotated[float, doc("added to Adam's denominator", gt=0)] = 1e-8
    max_grad_norm: Annotated[float, doc("gradients are scaled down to this norm; 0: never", ge=0)] = 1.0
    optim: Annotated[Optimizer, doc("optimiser")] = "adamw_torch_fused"
    max_length: Annotated[
        Length | None,
        doc("longer conversations lose their earliest exchanges, then the end of the answer; null: none does", unit="tokens"),
    ] = 1024
    padding: Annotated[Literal["longest", "max_length"], doc("pad to the longest of the batch, or always to max_length")] = "longest"
    packing: Annotated[
        bool, doc("put examples end to end into rows of up to max_length, each seeing itself alone; a batch then holds that many rows")
    ] = False
    completion_only_loss: Annotated[
        bool | None,
        doc("learn the last answer and what the template puts after it; false: all; null: true, unless assistant_only_loss is"),
    ] = None
    assistant_only_loss: Annotated[
        bool,
        doc(
            "learn what the chat template marks as the assistant's ({% generation %}): turns with their ends; with completion_only_loss: "
            "the last one alone"
        ),
    ] = False
    neftune_noise_alpha: Annotated[Positive | None, doc("NEFTune: noise on the embeddings while training")] = None
    gradient_checkpointing: Annotated[bool, doc("compute activations twice instead of keeping them: slower, less memory")] = True
    bf16: Annotated[bool, doc("mixed precision in bfloat16")] = False
    fp16: Annotated[bool, doc("mixed precision in float16; needs a GPU")] = False
    logging_steps: Annotated[int, doc("a row of the loss curve every so many steps, and at the last", ge=1)] = 10
    eval_strategy: Annotated[Literal["steps", "epoch"], doc("evaluation loss every eval_steps steps, or at the end of every epoch")] = (
        "steps"
    )
    eval_steps: Annotated[Count | None, doc("evaluation loss every so many steps; null: before and after only")] = None
    load_best_model_at_end: Annotated[bool, doc("the result is the tuned model of the lowest evaluation loss, not the last one")] = False
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


def loftq_of(method: Full | Lora | Qlora | Continue) -> LoftQ | None:
    """The LoftQ of a method that has it."""
    return method.loftq_config if isinstance(method, Lora) else None
