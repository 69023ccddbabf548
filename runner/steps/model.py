"""Provides a model: from the hub, from a local folder, or built here from scratch with a tokenizer of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from runner import contract
from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc

VERSION = 2
PORTS = (
    Port("documents", "documents", required=False, about="what the tokenizer of `scratch` is trained on"),
    Port("examples", "examples", arity="many", required=False, about="the same, or besides: questions with their contexts and answers"),
)
PRELOAD = ("runner.training.preload",)


File = Annotated[str, msgspec.Meta(min_length=1)]


class Pretrained(Struct):
    id: Annotated[str, doc("model on the Hugging Face hub, owner/name", pattern=r"^[^/\s]+(/[^/\s]+)?$")]
    revision: Annotated[str | None, doc("branch, tag or commit; null: the one in the recipe's lock is put here")] = None


class Local(Struct):
    path: Annotated[str, doc("folder with config.json, safetensors and a tokenizer; it is read in place, not copied", min_length=1)]


class Pretrain(Struct):
    steps: Annotated[int, doc("optimiser steps of next-token prediction on the documents", ge=1)] = 100
    batch_size: Annotated[int, doc("sequences in a step", ge=1)] = 8
    sequence_length: Annotated[int, doc("length of a sequence", unit="tokens", ge=2)] = 128
    learning_rate: Annotated[float, doc("peak of the cosine schedule, reached after a tenth of the steps", gt=0)] = 2e-3


class Scratch(Struct):
    architecture: Annotated[Literal["qwen2", "llama"], doc("Transformers' model_type")] = "qwen2"
    hidden_size: Annotated[int, doc("width of the residual stream; a multiple of 256 lets every tensor take K-quants", ge=8)] = 256
    intermediate_size: Annotated[int, doc("width of the feed-forward layers", ge=8)] = 768
    num_hidden_layers: Annotated[int, doc("layers", ge=1)] = 2
    num_attention_heads: Annotated[int, doc("query heads; divides hidden_size", ge=1)] = 4
    num_key_value_heads: Annotated[int, doc("key and value heads; divides num_attention_heads", ge=1)] = 2
    vocab_size: Annotated[
        int, doc("entries of the byte-level BPE tokenizer; fewer where the documents are short", unit="tokens", ge=260)
    ] = 1500
    max_position_embeddings: Annotated[int, doc("longest context", unit="tokens", ge=16)] = 1024
    tie_word_embeddings: Annotated[bool, doc("share the weights of input embedding and output head")] = True
    seed: Annotated[int, doc("draws the weights and the order of the documents", ge=0, le=2**32 - 1)] = 0
    pretrain: Annotated[Pretrain | None, doc("short pre-training on the documents; null: random weights")] = None


class Params(Struct):
    pretrained: Annotated[Pretrained | None, doc("a model of the hub; its weights stay in the hub's cache")] = None
    local: Annotated[Local | None, doc("a model in a local folder")] = None
    scratch: Annotated[Scratch | None, doc("a small model built here from the texts of the documents and the examples that are bound")] = (
        None
    )
    system_prompt: Annotated[
        str | None, doc("system message of every conversation; null: none, and the chat template may put in its own, as Qwen2.5's does")
    ] = None
    chat_template: Annotated[File | None, doc("file with a Jinja chat template; null: the model's own (scratch: ChatML)")] = None


class Resources(contract.Resources):
    save_steps: Annotated[int, doc("a checkpoint of the pre-training every so many steps", ge=1)] = 200


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("model", "full")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    files = {"local.path": params.local.path if params.local else None, "chat_template": params.chat_template}
    return {field: [path] for field, path in files.items() if path is not None}


def hub(params: Params) -> Iterable[HubUse]:
    if params.pretrained is not None:
        yield HubUse("pretrained.id", "model", params.pretrained.id, params.pretrained.revision)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    given = [name for name in ("pretrained", "local", "scratch") if getattr(params, name) is not None]
    one_of = "exactly one of pretrained, local and scratch"
    if not given:
        yield Fault("", "no model is named", one_of)
    for name in given[1:]:
        yield Fault(name, f"there is {given[0]} already", f"{one_of}; an overlay removes the other by null")
    if params.scratch is not None:
        yield from _check_scratch(params.scratch)
        if not upstream.get("documents") and not upstream.get("examples"):
            found = "the tokenizer is trained on documents or examples, and none are bound"
            yield Fault("scratch", found, "from: {documents: STEP} or {examples: [STEP]}")
    else:
        for port in ("documents", "examples"):
            if upstream.get(port):
                yield Fault("", f"{port} are bound, but only scratch reads them", f"no {port}, or scratch")


def _check_scratch(scratch: Scratch) -> Iterable[Fault]:
    width, heads, groups = scratch.hidden_size, scratch.num_attention_heads, scratch.num_key_value_heads
    if width % (2 * heads):
        yield Fault(
            "scratch.num_attention_heads",
            f"{heads} heads do not divide hidden_size {width} into even widths",
            "a divisor of hidden_size / 2",
        )
    if heads % groups:
        yield Fault(
            "scratch.num_key_value_heads", f"{groups} does not divide num_attention_heads {heads}", "a divisor of num_attention_heads"
        )
    if scratch.pretrain is not None and scratch.pretrain.sequence_length > scratch.max_position_embeddings:
        yield Fault(
            "scratch.pretrain.sequence_length",
            f"{scratch.pretrain.sequence_length} tokens are more than max_position_embeddings {scratch.max_position_embeddings}",
            f"at most {scratch.max_position_embeddings}",
        )


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.training.quiet import quiet

    folder = out / MAIN
    folder.mkdir(parents=True)
    template = ctx.sources["chat_template"][0].read_text(encoding="utf-8") if params.chat_template else None
    with quiet():
        if params.pretrained is not None:
            _pretrained(params, params.pretrained, template, folder, ctx)
        elif params.local is not None:
            _local(params, params.local, template, folder, ctx)
        elif params.scratch is not None:
            _scratch(params, params.scratch, template, list(_texts(inputs)), folder, ctx)


def _pretrained(params: Params, pretrained: Pretrained, template: str | None, folder: Path, ctx: Context) -> None:
    from runner.training.hub import fetch
    from runner.training.stored import architecture_of, weight_bytes, write_record

    snapshot = fetch(pretrained.id, pretrained.revision, offline=ctx.offline, listener=ctx)
    ctx.log(f"{pretrained.id} at revision {snapshot.revision}")
    write_record(
        folder,
        form="full",
        architecture=architecture_of(snapshot.folder),
        hub={"id": pretrained.id, "revision": snapshot.revision},
        system_prompt=params.system_prompt,
    )
    ctx.fact("file_bytes", weight_bytes(snapshot.folder), "bytes")
    _store_template(template, snapshot.folder, folder)


def _local(params: Params, local: Local, template: str | None, folder: Path, ctx: Context) -> None:
    from runner.training.local import fingerprint
    from runner.training.stored import architecture_of, weight_bytes, write_record

    path = ctx.root / local.path
    files = fingerprint(path, ctx.sources["local.path"], ctx)
    write_record(folder, form="full", architecture=architecture_of(path), local=str(path), files=files, system_prompt=params.system_prompt)
    ctx.fact("file_bytes", weight_bytes(path), "bytes")
    _store_template(template, path, folder)


def _store_template(template: str | None, source: Path, folder: Path) -> None:
    """With a template of the recipe's own, the model's tokenizer is kept in the artifact together with it."""
    if template is not None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(source), trust_remote_code=False, local_files_only=True)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(str(folder))


def _texts(inputs: Inputs) -> Iterator[str]:
    from runner.datasets import read_rows

    if (documents := inputs.get("documents")) is not None:
        for row in read_rows(documents.path / "documents.jsonl"):
            yield str(row["text"])
    for bound in inputs.get("examples") or ():
        for row in read_rows(bound.path / "examples.jsonl"):
            yield "\n\n".join(filter(None, (row.get("context"), row["question"], row["answer"])))


def _scratch(params: Params, scratch: Scratch, template: str | None, texts: Sequence[str], folder: Path, ctx: Context) -> None:
    from runner.training import memory
    from runner.training.loading import device_of
    from runner.training.scratch import Pretraining, Shape, build
    from runner.training.stored import weight_bytes, write_record

    device = device_of(ctx.resources.device)
    memory.reset_peak(device)
    shape = {name: getattr(scratch, name) for name in Shape.__dataclass_fields__}
    pretrain = scratch.pretrain
    built = build(
        Shape(**shape),
        texts,
        seed=scratch.seed,
        pretraining=None
        if pretrain is None
        else Pretraining(**{name: getattr(pretrain, name) for name in Pretraining.__dataclass_fields__}),
        chat_template=template,
        device=device,
        journal=ctx.journal / "pretraining",
        save_steps=ctx.resources.save_steps,
        listener=ctx,
    )
    built.model.save_pretrained(str(folder))
    built.tokenizer.save_pretrained(str(folder))
    write_record(folder, form="full", architecture=built.model.config.architectures[0], system_prompt=params.system_prompt)
    ctx.fact("file_bytes", weight_bytes(folder), "bytes")
    ctx.fact("parameters", sum(weight.numel() for weight in built.model.parameters()))
    ctx.fact("vocabulary", len(built.tokenizer), "tokens")
    if pretrain is not None:
        _write_pretraining(built, folder, ctx)
        peak, what = memory.peak(device)
        ctx.fact("peak_memory", peak, "bytes")
        ctx.fact("peak_memory_of", what)


def _write_pretraining(built: Any, folder: Path, ctx: Context) -> None:
    from runner.training.stored import write_rows

    write_rows(folder / "log.jsonl", built.curve)
    ctx.fact("train_seconds", round(built.seconds, 3), "s")
    ctx.fact("tokens_per_second", round(built.tokens / built.seconds, 1) if built.seconds else None, "tokens/s")
