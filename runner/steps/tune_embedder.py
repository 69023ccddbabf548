"""Tunes an embedder on questions and the chunks that answer them, by sentence-transformers' trainer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from runner import contract
from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import InputError
from runner.retrieval.settings import Name, SentenceTransformer, Texts, is_folder
from runner.steps.train.params import Optimizer, Scheduler

if TYPE_CHECKING:
    from runner.retrieval.embedders import TextEmbedder

VERSION = 1
PORTS = (
    Port("examples", "examples"),
    Port("chunks", "chunks", required=False),
    Port("evaluation", "examples", required=False),
)
_COUNTED_TOGETHER = 1024  # texts
PRELOAD = ("runner.training.preload", "runner.retrieval.preload")


class Scratch(Struct):
    """An embedder with a vector for every word of the chunks, and their mean for a text (StaticEmbedding)."""

    embedding_dim: Annotated[int, doc("length of a vector", ge=1)] = 256
    vocab_size: Annotated[int, doc("words that get a vector: those that stand in the most chunks", unit="words", ge=2)] = 8192
    seed: Annotated[int, doc("draws the vectors", ge=0)] = 0


class Params(Texts, kw_only=True):
    model: Annotated[
        Name | None, doc("hub id (`org/name`), or a local folder written with a leading `./`, `../` or `/`; this or `scratch`")
    ] = None
    scratch: Annotated[Scratch | None, doc("a small embedder built here from the texts of the chunks, without a download")] = None
    scale: Annotated[float, doc("what the cosines are multiplied by in the loss: an inverse temperature", gt=0)] = 20.0
    num_train_epochs: Annotated[float, doc("passes over the pairs; max_steps comes first", gt=0)] = 1.0
    max_steps: Annotated[int, doc("optimiser steps; -1: as many as num_train_epochs gives", ge=-1)] = -1
    per_device_train_batch_size: Annotated[
        int, doc("pairs in a batch; the passages of the others are the wrong answers, so that more is harder", unit="pairs", ge=2)
    ] = 32
    mini_batch_size: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        doc("pairs in memory at once: the same loss in pieces, by a gradient cache; null: the whole batch", unit="pairs"),
    ] = None
    learning_rate: Annotated[float, doc("peak of the schedule", ge=0)] = 2e-5
    lr_scheduler_type: Annotated[Scheduler, doc("course of the learning rate after the warm-up")] = "linear"
    warmup_steps: Annotated[float, doc("steps of warm-up; below 1: a share of all steps", ge=0)] = 0.1
    weight_decay: Annotated[float, doc("decoupled weight decay", ge=0)] = 0.0
    max_grad_norm: Annotated[float, doc("gradients are scaled down to this norm; 0: never", ge=0)] = 1.0
    optim: Annotated[Optimizer, doc("optimiser")] = "adamw_torch_fused"
    bf16: Annotated[bool, doc("mixed precision in bfloat16")] = False
    fp16: Annotated[bool, doc("mixed precision in float16; needs a GPU")] = False
    logging_steps: Annotated[int, doc("a row of the loss curve every so many steps", ge=1)] = 10
    seed: Annotated[int, doc("draws the order of the pairs and dropout", ge=0, le=2**32 - 1)] = 42


class Resources(contract.Resources):
    save_steps: Annotated[int, doc("a checkpoint every so many steps, rounded up to a multiple of logging_steps", ge=1)] = 200


#: Params that go to SentenceTransformerTrainingArguments under their own names.
ARGUMENTS = (
    "num_train_epochs", "max_steps", "per_device_train_batch_size", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay",
    "max_grad_norm", "optim", "bf16", "fp16", "logging_steps", "seed",
)  # fmt: skip


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("embedder")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return {"model": [params.model]} if params.model is not None and is_folder(params.model) else {}


def hub(params: Params) -> Iterable[HubUse]:
    if params.model is not None and not is_folder(params.model):
        yield HubUse("model", "model", params.model, params.revision)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if (params.model is None) == (params.scratch is None):
        yield Fault("model", "there is none" if params.model is None else "`scratch` is there too", "one of model and scratch")
    if params.model is not None and not is_folder(params.model) and params.model.count("/") > 1:
        yield Fault("model", f"{params.model} is no hub id", "org/name, or a folder written with a leading ./")
    if params.revision is not None and (params.model is None or is_folder(params.model)):
        what = "`scratch` makes a model that" if params.model is None else "a local folder"
        yield Fault("revision", f"{what} has no revision", "no revision, or a hub id as model")
    if params.model is None and params.max_seq_length is not None:
        yield Fault("max_seq_length", "what `scratch` builds reads texts of any length", "no max_seq_length, or a model")
    if params.bf16 and params.fp16:
        yield Fault("fp16", "bf16 is on too", "one of bf16 and fp16")
    if params.max_steps == 0:
        yield Fault("max_steps", "no step at all", "a number of steps, or -1 for num_train_epochs")
    if params.mini_batch_size is not None and params.mini_batch_size >= params.per_device_train_batch_size:
        found = f"{params.mini_batch_size} pairs at once of a batch of {params.per_device_train_batch_size}"
        yield Fault("mini_batch_size", found, "less than per_device_train_batch_size, or null")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.retrieval.pairs import Passages
    from runner.training.embedder import tune_embedder
    from runner.training.loading import device_of
    from runner.training.quiet import quiet
    from runner.training.stored import write_rows

    chunks = inputs.get("chunks")
    passages = Passages(None if chunks is None else chunks.path / "chunks.jsonl")
    taught = _questions(passages, inputs["examples"], ctx)
    tested = None if inputs.get("evaluation") is None else _questions(passages, inputs["evaluation"], ctx)
    held_out = None if tested is None else _held_out(taught, tested, ctx)
    pairs = [(question.text, passages.texts[id]) for question in taught.questions for id in question.asked_of]

    device = device_of(ctx.resources.device)
    with quiet("datasets"):
        embedder = _base(params, list(passages.texts.values()), ctx, device)
        embedder.set_prompts(params.query_prompt, params.passage_prompt)
        _count_cut(embedder, taught, tested, ctx)
        tuned = tune_embedder(
            embedder.model,
            pairs,
            held_out,
            arguments={name: getattr(params, name) for name in ARGUMENTS},
            scale=params.scale,
            mini_batch_size=params.mini_batch_size,
            journal=ctx.journal / "checkpoints",
            save_steps=ctx.resources.save_steps,
            device=device,
            listener=ctx,
        )
        embedder.save(out / MAIN)
    write_rows(out / MAIN / "log.jsonl", tuned.curve)
    described: dict[str, Any] = {
        "base": {"model": params.model, "revision": params.revision},
        "dimension": embedder.dimension,
        "pairs": len(pairs),
        "questions": len(taught.questions),
        "left_out": dict(taught.left_out),
        "steps": tuned.steps,
    }
    if held_out is not None:
        seen = {id for question in taught.questions for id in question.asked_of}
        described["held_out"] = {
            "questions": len(held_out.questions),
            "passages": len(held_out.passages),
            "of_passages_tuned_on": sum(not right.isdisjoint(seen) for right in held_out.answered_by.values()),
            "before": tuned.before,
            "after": tuned.after,
        }
    text = json.dumps(described, ensure_ascii=False, sort_keys=True) + "\n"
    (out / MAIN / "embedder.json").write_text(text, encoding="utf-8", newline="\n")
    _tell(tuned, len(pairs), ctx)


def _base(params: Params, texts: list[str], ctx: Context, device: str) -> TextEmbedder:
    from runner.retrieval.embedders import TextEmbedder, load

    settings = SentenceTransformer(model=params.model, revision=params.revision, max_seq_length=params.max_seq_length)
    if params.scratch is not None:
        from runner.retrieval.scratch import static_embedder

        scratch = params.scratch
        model = static_embedder(texts, embedding_dim=scratch.embedding_dim, vocab_size=scratch.vocab_size, seed=scratch.seed)
        return TextEmbedder(model.to(device), settings)
    assert params.model is not None
    folder = (ctx.root / params.model).resolve() if is_folder(params.model) else None
    return load(settings, folder, device=device, dtype="float32")


def _questions(passages: Any, examples: Any, ctx: Context) -> Any:
    found = passages.questions(examples.path / "examples.jsonl")
    if not found.questions:
        why = "; ".join(f"{count} of {examples.step}: {reason}" for reason, count in found.left_out.items()) or "there are none"
        raise InputError(
            f"no example has a passage that it was asked of ({why})",
            where=examples.step,
            remedy="bind the chunks that the examples were made from, as from: {chunks: STEP}",
        )
    for reason, count in found.left_out.items():
        ctx.warn(f"{count} examples of {examples.step} were left out: each {reason}")
    return found


def _held_out(taught: Any, tested: Any, ctx: Context) -> Any:
    """What is measured: questions that the embedder is not tuned on, against all passages."""
    from runner.training.embedder import HeldOut

    known = {_folded(question.text) for question in taught.questions}
    new = {question.id: question for question in tested.questions if _folded(question.text) not in known}
    if not new:
        raise InputError("every question of the evaluation is also tuned on", remedy="split the examples, and bind the held-out part")
    if left := len(tested.questions) - len(new):
        ctx.warn(f"{left} questions of the evaluation are also tuned on, or stand there twice; they are not measured")
    return HeldOut(
        {id: question.text for id, question in new.items()},
        tested.passages,
        {id: question.answered_by for id, question in new.items()},
    )


def _count_cut(embedder: Any, taught: Any, tested: Any, ctx: Context) -> None:
    """Warn of texts that the embedder reads only the beginning of: of those tuned on, and of those measured by, all passages."""
    questions = {question.text for part in (taught, tested) if part is not None for question in part.questions}
    passages = taught.passages if tested is not None else {id for question in taught.questions for id in question.asked_of}
    for noun, longest, texts, longer in (
        ("questions", embedder.longest_query, list(questions), embedder.truncated_queries),
        ("passages", embedder.longest, [taught.passages[id] for id in passages], embedder.truncated),
    ):
        cut = sum(longer(texts[start : start + _COUNTED_TOGETHER]) for start in range(0, len(texts), _COUNTED_TOGETHER))
        if cut:
            ctx.warn(
                f"{cut} of {len(texts)} {noun} are longer than the {longest} tokens that the embedder reads; it knows only their beginning"
            )


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _tell(tuned: Any, pairs: int, ctx: Context) -> None:
    if tuned.resumed_at:
        ctx.log(f"resumed at step {tuned.resumed_at} of {tuned.steps}")
    ctx.fact("pairs", pairs, "pairs")
    ctx.fact("steps", tuned.steps)
    ctx.fact("train_seconds", round(tuned.seconds, 3), "s")
    ctx.fact("peak_memory", tuned.peak_memory, "bytes")
    ctx.fact("peak_memory_of", tuned.peak_memory_of)
    for when, rates in (("before", tuned.before), ("after", tuned.after)):
        for name, value in (rates or {}).items():
            ctx.fact(f"{name}_{when}", value)
