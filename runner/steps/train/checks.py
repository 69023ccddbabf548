"""What `validate` finds wrong with a training, before anything is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from runner.contract import Fault, Upstream
from runner.steps.train.params import Continue, Full, Lora, Params, Qlora, loftq_of


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
    yield from _check_optimizer(params)
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


def _check_optimizer(params: Params) -> Iterable[Fault]:
    if params.lr_scheduler_type == "constant" and params.warmup_steps:
        yield Fault("warmup_steps", "the schedule `constant` has no warm-up", "lr_scheduler_type: constant_with_warmup, or no warmup_steps")
    for name in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        if "adam" not in params.optim and getattr(params, name) != getattr(Params(), name):
            yield Fault(name, f"the optimiser {params.optim} has none", f"an Adam as optim, or no {name}")


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
    if (wanted.steps or wanted.epochs) and loftq_of(params.method) is not None:
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
