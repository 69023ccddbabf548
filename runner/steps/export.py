"""Merges a model with its adapter and writes it as a quantised GGUF that llama.cpp runs, with a script that asks it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from runner.contract import MAIN, Context, Inputs, Output, Port, PromptUse, Struct, doc

VERSION = 2
PORTS = (
    Port("model", "model", forms=("full", "adapter")),
    Port("index", "index", required=False),
)
PRELOAD = ("runner.training.preload", "gguf", "llama_cpp")


class Params(Struct):
    quantization: Annotated[
        Literal["Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32"],
        doc("llama.cpp's file type; K types mix a few tensors of more bits in"),
    ] = "Q4_K_M"
    pure: Annotated[bool, doc("give every matrix the base type of the file type, without the mix")] = False
    allow_fallback: Annotated[
        bool, doc("accept other types for tensors whose rows the quantisation's blocks do not divide; without it they fail the step")
    ] = False
    prompt: Annotated[str, doc("prompt file that the inference script renders; variables: question, passages", min_length=1)] = (
        "prompts/answer.j2"
    )
    top_k: Annotated[int, doc("passages that the inference script retrieves, where an index is bound", unit="passages", ge=1)] = 3
    max_new_tokens: Annotated[int, doc("longest answer of the inference script", unit="tokens", ge=1)] = 256


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("model", "gguf")}


def prompts(params: Params) -> Iterable[PromptUse]:
    yield PromptUse("prompt", params.prompt, frozenset({"question", "passages"}))


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.gguf.bundle import add_script
    from runner.gguf.card import Origin, add_card
    from runner.gguf.check import verify
    from runner.gguf.export import export
    from runner.prompts import load
    from runner.training import describe
    from runner.training.stored import write_record

    def resolve(ref: str) -> Path:
        return ctx.artifact(ref).path

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, "parameters")
        ctx.check_cancelled()

    model, prompt, folder = inputs["model"], load(ctx.root, params.prompt), out / MAIN
    folder.mkdir(parents=True, exist_ok=True)
    info = describe(model.path, resolve)
    base = describe(info.base, resolve) if info.base is not None else info
    report = export(
        base.weights,
        folder / "model.gguf",
        adapter=info.weights if info.form == "adapter" else None,
        tokenizer=info.tokenizer,
        quantization=params.quantization,
        pure=params.pure,
        allow_fallback=params.allow_fallback,
        threads=ctx.resources.threads,
        progress=progress,
    )
    ctx.log("checking that llama.cpp loads the file, tokenizes as the model does and generates")
    verify(folder / "model.gguf", report.tensor_count, info.tokenizer, threads=ctx.resources.threads)
    (folder / "quantization.json").write_text(
        json.dumps(report.as_data(), ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8", newline="\n"
    )
    write_record(folder, form="gguf", architecture=info.architecture, system_prompt=info.system_prompt)
    add_script(
        folder,
        prompt=prompt.file,
        templates={file: (ctx.root / file).read_text("utf-8-sig") for file in prompt.files},
        positions=info.config["max_position_embeddings"],
        index=inputs["index"].path if inputs.get("index") else None,
        system_prompt=info.system_prompt,
        top_k=params.top_k,
        max_new_tokens=params.max_new_tokens,
    )
    hub = base.record.get("hub") or {}
    adapter = json.loads((info.weights / "adapter_config.json").read_text(encoding="utf-8")) if info.form == "adapter" else None
    if not add_card(folder, Origin(info.architecture, hub.get("id", ""), hub.get("revision", ""), adapter)):
        ctx.warn("no Modelfile was written: Ollama's templates cannot say this model's chat template")
    for fallback in report.fallbacks:
        ctx.warn(f"another type than {params.quantization} gives: {fallback}")
    ctx.fact("file_bytes", report.file_bytes, "bytes")
    ctx.fact("bits_per_weight", report.bits_per_weight, "bits")
